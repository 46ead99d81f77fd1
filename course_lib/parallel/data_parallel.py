"""Synchronous data parallelism: every rank takes some rows of each batch, and gradients are added.

The gradient of a sum is the sum of the gradients, so p ranks that compute the gradients of their
rows, all divided by the size of the WHOLE batch, need only add them to have the gradient of the
batch. All then take the same step from the same parameters, and stay replicas of each other. The
result is that of the serial run, up to the rounding of a sum taken in another order.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from course_lib.arrays import Array
from course_lib.optimizers import Optimizer, State
from course_lib.parallel.algorithms import ALL_REDUCE
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.noise import RowNoise
from course_lib.registry import lookup


class Model(Protocol):
    """What computes gradients: a Network, or its twin in another library."""

    @property
    def loss_and_grad(self) -> Callable[..., tuple[float, Array]]:
        """As :meth:`Network.loss_and_grad <course_lib.network.Network.loss_and_grad>`."""
        ...


def shard(n: int, rank: int, size: int) -> slice:
    """Return which of n rows belong to a rank: as even as can be, the first ranks get one more.

    Parameters
    ----------
    n : int
        Rows of the batch; may be fewer than ranks, then the last ranks get none.
    rank, size : int
        Which rank, of how many.

    Examples
    --------
    >>> [shard(8, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]

    Notes
    -----
    The same cut as ``np.array_split``. Chapter: data parallelism.
    """
    rows, extra = divmod(n, size)
    start = rank * rows + min(rank, extra)
    return slice(start, start + rows + (rank < extra))


@dataclass(frozen=True)
class SyncSGD:
    r"""Synchronous data-parallel steps: add all gradients, then step alike.

    .. math:: g = \sum_{r=0}^{p-1} g_r, \quad
              g_r = \frac{1}{N} \sum_{i \in \text{rows of } r} \nabla \ell_i

    with N the size of the global batch. (The mean of the ranks' mean gradients is *not* this, when
    their numbers of rows differ.) Works with any optimizer; the name is that of the literature.

    Parameters
    ----------
    algorithm : {"ordered", "tree"}
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
    SyncSGD(algorithm='ordered')

    Notes
    -----
    Chapter: data parallelism.
    """

    algorithm: str = "ordered"

    def __post_init__(self) -> None:
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)

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
        rng: np.random.Generator | None = None,
        clock: Stopwatch | None = None,
        **options: Any,
    ) -> tuple[float, Array, State]:
        """Take one step on the batch ``x[rows], y[rows]``, of which this rank computes its part.

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
        rng : Generator, optional
            The serial run's noise for dropout.
        clock : Stopwatch, optional
            Where to book compute and communication time.
        **options
            Passed on to ``model.loss_and_grad``.

        Returns
        -------
        loss : float
            This rank's part: the sum over its rows divided by the size of the global batch.
        theta, state
            After the step, the same bits on every rank.
        """
        clock = clock or Stopwatch()
        part = shard(len(rows), comm.rank, comm.size)
        mine, loss = rows[part], 0.0
        gradient[:] = 0.0  # a rank without rows still takes part in the sum
        if len(mine):
            noise = None if rng is None else RowNoise(rng, part, len(rows))
            loss, _ = model.loss_and_grad(
                theta, x[mine], y[mine], denominator=len(rows), out=gradient, rng=noise, **options
            )
        clock.lap("compute")
        all_reduce(comm, gradient, self.algorithm)
        clock.lap("communication")
        theta, state = optimizer.step(theta, gradient, state, out=theta)
        clock.lap("compute")
        return loss, theta, state
