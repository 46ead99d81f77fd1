"""A session in which every rank has all parameters and the whole state of the optimizer.

Chapter: data parallelism.
"""

from __future__ import annotations

from copy import deepcopy

from course_lib.arrays import Array
from course_lib.optimizers import State
from course_lib.parallel.job import Job


class Replicated:
    """What such sessions have in common, see :class:`~course_lib.parallel.strategy.Session`.

    Parameters
    ----------
    job : Job
        Where the training begins, or goes on.
    """

    def __init__(self, job: Job) -> None:
        self._theta = job.theta.copy()
        self._state: State = (
            job.optimizer.init(self._theta) if job.state is None else deepcopy(job.state)
        )

    def gather(self) -> tuple[Array, State]:
        """Return theta and the state: every rank has all of both, so nothing is sent."""
        return self._theta, self._state

    def extra(self) -> dict[str, Array]:
        """Return nothing: theta and the state are all there is."""
        return {}
