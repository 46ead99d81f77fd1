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
from course_lib.optimizers import Optimizer, State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_reduce, shard
from course_lib.parallel.collectives.algorithms import ALL_REDUCE
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Model
from course_lib.parallel.strategies.local_gradient import LocalGradient, gradient_of
from course_lib.parallel.strategies.sessions import Replicated
from course_lib.registry import lookup

__all__ = ["SyncSGD", "SyncSession"]


@dataclass(frozen=True)
class SyncSGD:
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

    def __post_init__(self) -> None:
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> SyncSession:
        """Begin a training on one rank, see :class:`~course_lib.parallel.Strategy`."""
        return SyncSession(comm, job, clock, self.algorithm)

    def step(
        self,
        comm: Comm,
        model: Model,
        optimizer: Optimizer,
        theta: Array,
        state: State,
        x: Array,
        y: Array,
        rows: Array,
        *,
        gradient: Array,
    ) -> tuple[float, Array, State]:
        """Take a single step, for a look at it without a training around.

        Parameters
        ----------
        comm : Comm
            This rank's communicator.
        model : Network
            What computes the gradient.
        optimizer : Optimizer
            How to step.
        theta : array, shape (n_params,)
            The parameters, the same on every rank; overwritten.
        state : dict
            The optimizer's state, the same on every rank.
        x : array, shape (n, n_inputs)
            All inputs.
        y : array
            All targets.
        rows : array of int, shape (batch,)
            The rows of the global batch, the same on every rank.
        gradient : array, shape (n_params,)
            Overwritten by the gradient of the global batch; from ``comm.buffer``.

        Returns
        -------
        loss : float
            This rank's part: the sum over its rows divided by the size of the global batch.
        theta, state
            After the step, the same bits on every rank.
        """
        part = shard(len(rows), comm.rank, comm.size)
        loss = gradient_of(model, theta, x, y, rows, part, out=gradient)
        all_reduce(comm, gradient, self.algorithm)
        theta, state = optimizer.step(theta, gradient, state, out=theta)
        return loss, theta, state


class SyncSession(Replicated):
    """One rank's part of a training with :class:`SyncSGD`: a replica of theta and of the state.

    Parameters
    ----------
    comm, job, clock
        See :class:`~course_lib.parallel.Strategy`.
    algorithm : str
        How gradients are added.
    """

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, algorithm: str) -> None:
        self._comm, self._job, self._clock, self._algorithm = comm, job, clock, algorithm
        super().__init__(job)
        self._local = LocalGradient(comm, job, clock)
        self._gradient = comm.buffer(len(self._theta), self._theta.dtype)

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """See :meth:`Session.step <course_lib.parallel.strategies.job.Session.step>`."""
        loss = self._local(self._theta, rows, epoch, step, out=self._gradient)
        self._clock.lap("compute")
        all_reduce(self._comm, self._gradient, self._algorithm)
        self._clock.lap("communication")
        self._theta, self._state = self._job.optimizer.step(
            self._theta, self._gradient, self._state, out=self._theta
        )
        self._clock.lap("compute")
        return loss
