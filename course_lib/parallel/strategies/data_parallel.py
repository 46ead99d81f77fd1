"""Synchronous data parallelism: every rank takes some rows of each batch, and gradients are added.

The gradient of a sum is the sum of the gradients, so p ranks that compute the gradients of their
rows, all divided by the size of the WHOLE batch, need only add them to have the gradient of the
batch. All then take the same step from the same parameters, and stay replicas of each other. The
result is that of the serial run, up to the rounding of a sum taken in another order.

Chapter: data parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.arrays import Array
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import ALL_REDUCE, all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Replicated, Strategy
from course_lib.parallel.strategies.local_gradient import LocalGradient
from course_lib.registry import lookup


@dataclass(frozen=True)
class SyncSGD(Strategy):
    r"""Synchronous data-parallel steps: add all gradients, then step alike.

    .. math:: g = \sum_{r=0}^{p-1} g_r, \quad
              g_r = \frac{1}{N} \sum_{i \in \text{rows of } r} \nabla \ell_i

    with N the size of the global batch. (The mean of the ranks' mean gradients is *not* this, when
    their numbers of rows differ.) Works with any optimizer; the name is that of the literature.

    Parameters
    ----------
    algorithm : {"auto", "ordered", "tree", ...}
        How gradients are added, see :func:`~course_lib.parallel.collectives.all_reduce`.

    Raises
    ------
    ValueError
        If the algorithm is not known.

    References
    ----------
    Goyal et al. 2017, section 2; Li et al. 2020.

    Examples
    --------
    >>> SyncSGD()
    SyncSGD(algorithm='auto')
    """

    algorithm: str = "auto"

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> SyncSession:
        """Begin, or go on with, a training on one rank."""
        return SyncSession(comm, job, clock, self.algorithm)


class SyncSession(Replicated):
    """One rank's part of a training with :class:`SyncSGD`."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, algorithm: str) -> None:
        super().__init__(job)
        self._comm, self._clock, self._algorithm = comm, clock, algorithm
        self._local = LocalGradient(job, clock, comm.size)
        self._gradient = comm.buffer(len(self._theta), self._theta.dtype)

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Add the gradients of all ranks' rows, then step."""
        loss = self._local(self._theta, rows, epoch, step, self._comm.rank, out=self._gradient)
        self._clock.lap("compute")
        all_reduce(self._comm, self._gradient, self._algorithm)
        self._clock.lap("communication")
        self._descend(self._gradient)
        self._clock.lap("compute")
        return loss
