"""A rank's share of a batch, and the gradient of these rows.

Sums are divided by the size of the whole batch, so that the gradients of all shares, of whatever
sizes, only need to be added.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.dropout import noise
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm
from course_lib.parallel.job import Job
from course_lib.parallel.noise import RowNoise
from course_lib.parallel.strategy import Model


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


class LocalGradient:
    """The gradient of one rank's rows of a batch, dropout's noise included.

    Parameters
    ----------
    comm : Comm
        Tells which rows are this rank's, see :func:`shard`.
    job : Job
        The training run.
    clock : Stopwatch
        Where to book the time that reading rows takes.
    """

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch) -> None:
        self._comm, self._job, self._clock = comm, job, clock
        # Rank 0 never has fewer rows than another.
        largest = shard(min(job.batch_size, len(job.x)), 0, comm.size).stop
        self._model, self._options = job.model(largest)

    def __call__(
        self,
        theta: Array,
        rows: Array,
        epoch: int,
        step: int,
        *,
        out: Array,
        denominator: int | None = None,
    ) -> float:
        """Write the gradient to `out`; return this rank's part of the loss.

        Parameters
        ----------
        theta : array, shape (n_params,)
            Where the gradient is taken.
        rows : array of int, shape (batch,)
            The rows of the global batch; this rank takes its part of them.
        epoch, step : int
            Decide the noise.
        out : array, shape (n_params,)
            Overwritten; zero if this rank has no rows.
        denominator : int, optional
            What sums are divided by; the rows of the global batch unless given.
        """
        job = self._job
        part = shard(len(rows), self._comm.rank, self._comm.size)
        rng = noise(job.seed, epoch, step) if job.net.has_noise else None
        return gradient_of(
            self._model, theta, job.x, job.y, rows, part,
            out=out, rng=rng, denominator=denominator, clock=self._clock, **self._options,
        )  # fmt: skip


def gradient_of(
    model: Model,
    theta: Array,
    x: Array,
    y: Array,
    rows: Array,
    part: slice,
    *,
    out: Array,
    rng: np.random.Generator | None = None,
    denominator: int | None = None,
    clock: Stopwatch | None = None,
    **options: Any,
) -> float:
    """Compute the loss and gradient of ``rows[part]`` as a part of the batch `rows`.

    Parameters
    ----------
    model : Network
        What computes the gradient.
    theta : array, shape (n_params,)
        Where it is taken.
    x, y : array
        All inputs, all targets.
    rows : array of int, shape (batch,)
        The rows of the global batch.
    part : slice
        Which of them.
    out : array, shape (n_params,)
        Overwritten by the gradient; by zeros if there are no rows.
    rng : Generator, optional
        The noise of the whole batch, of which the part takes its rows.
    denominator : int, optional
        What sums are divided by; ``len(rows)`` unless given.
    clock : Stopwatch, optional
        Where to book the time that reading the rows takes, as "input"; what came before is booked
        as "compute".
    **options
        Passed on to ``model.loss_and_grad``.
    """
    mine = rows[part]
    if not len(mine):  # a rank without rows still takes part in the sum
        out[:] = 0.0
        return 0.0
    own = None if rng is None else RowNoise(rng, part, len(rows))
    if clock is not None:
        clock.lap("compute")
    inputs, targets = x[mine], y[mine]
    if clock is not None:
        clock.lap("input")
    loss, _ = model.loss_and_grad(
        theta, inputs, targets,
        denominator=denominator or len(rows), out=out, rng=own, **options,
    )  # fmt: skip
    return loss
