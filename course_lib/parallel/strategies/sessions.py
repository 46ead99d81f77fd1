"""What several strategies' sessions have in common.

In most of them every rank has all parameters and the whole state of the optimizer. What belongs to
single ranks is brought together for a checkpoint, and dealt out when a run goes on.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from course_lib.arrays import Array
from course_lib.optimizers import State
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Session


class Replicated(Session):
    """A session in which every rank has theta and the optimizer's whole state; to derive from."""

    def __init__(self, job: Job) -> None:
        self._optimizer, self._theta = job.optimizer, job.theta.copy()
        self._state: State = (
            job.optimizer.init(self._theta) if job.state is None else deepcopy(job.state)
        )

    def gather(self) -> tuple[Array, State]:
        """Return theta and the state: every rank has all of both, so nothing is sent."""
        return self._theta, self._state

    def _descend(self, gradient: Array) -> None:
        """Take the optimizer's step, in place."""
        self._theta, self._state = self._optimizer.step(
            self._theta, gradient, self._state, out=self._theta
        )


def gather_by_rank(comm: Comm, name: str, array: Array) -> dict[str, Array]:
    """Return ``{"name.0": array of rank 0, "name.1": ...}`` on rank 0, elsewhere {}; collective.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: gather_by_rank(comm, "a", np.array([comm.rank])))
    [{'a.0': array([0]), 'a.1': array([1])}, {}]
    """
    if comm.rank > 0:
        comm.send(0, "gather_by_rank", array)
        return {}
    arrays = [array.copy(), *(comm.recv(r, "gather_by_rank") for r in range(1, comm.size))]
    return {f"{name}.{rank}": array for rank, array in enumerate(arrays)}


def arrays_by_rank(extra: Mapping[str, Array], name: str) -> list[Array]:
    """Return the arrays of :func:`gather_by_rank`, by rank; none if there is no such name.

    Examples
    --------
    >>> arrays_by_rank({"a.0": 5, "a.1": 7, "b.0": 9}, "a")
    [5, 7]
    """
    arrays: list[Array] = []
    while (key := f"{name}.{len(arrays)}") in extra:
        arrays.append(extra[key])
    return arrays
