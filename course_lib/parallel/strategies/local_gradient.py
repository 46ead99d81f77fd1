"""A piece of a batch, and the gradient of its rows, dropout's noise included.

Sums are divided by the size of the whole batch, so that the gradients of all pieces, of whatever
sizes, only need to be added.

A serial run draws one matrix of noise (rows, width) per dropout layer and step. Who computes rows
start..stop must draw exactly those rows, or the run would depend on the number of ranks. The
generator can jump: one float64 consumes one step of PCG64, and ``advance`` skips any number of
steps at once.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import shard
from course_lib.parallel.strategies.job import Job, Model


class LocalGradient:
    """The gradient of one of so many pieces of a batch; for most strategies one per rank.

    The time that reading rows takes is booked on the clock.
    """

    def __init__(self, job: Job, clock: Stopwatch, pieces: int) -> None:
        self._job, self._clock, self._pieces = job, clock, pieces
        # No piece is larger than the first.
        self._model, self._options = job.model(self.part(min(job.batch_size, len(job.x)), 0).stop)

    def part(self, n: int, piece: int) -> slice:
        """Return which rows of a batch of n are in a piece."""
        return shard(n, piece, self._pieces)

    def __call__(
        self,
        theta: Array,
        rows: Array,
        epoch: int,
        step: int,
        piece: int,
        *,
        out: Array,
        denominator: float | None = None,
    ) -> float:
        """Write the gradient to `out`, zeros if the piece has no rows; return its part of the loss.

        Parameters
        ----------
        theta, out : array, shape (n_params,)
            Where the gradient is taken, and what it overwrites.
        rows : array of int, shape (batch,)
            The rows of the global batch.
        epoch, step, piece : int
            The first two decide the noise.
        denominator : number, optional
            What sums are divided by; unless given, the rows of the global batch or, if rows have
            weights, the sum of these.
        """
        job, part = self._job, self.part(len(rows), piece)
        return gradient_of(
            self._model, theta, job.x, job.y, rows, part,
            out=out, rng=job.noise(epoch, step), denominator=denominator or job.weight(rows) or 1.0,
            weights=job.weights_of(rows[part]), clock=self._clock, **self._options,
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
    denominator: float | None = None,
    weights: Array | None = None,
    clock: Stopwatch | None = None,
    **options: Any,
) -> float:
    """Compute the loss and gradient of ``rows[part]`` as a part of the batch `rows`.

    `rng` draws the noise of the whole batch, of which the part takes its rows; `weights` are those
    of the part, and `denominator` is then the sum of those of the whole batch; `clock` books the
    time that reading takes as "input", and what came before as "compute"; the options are passed on
    to ``model.loss_and_grad``.
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
        denominator=denominator or len(rows), out=out, rng=own, weights=weights, **options,
    )  # fmt: skip
    return loss


class RowNoise:
    """A generator that yields rows start..stop of what `rng` would yield for all `total` rows.

    `rng` must be a PCG64, as ``np.random.default_rng`` makes it; `skip` is how many numbers per row
    others draw before.

    Examples
    --------
    >>> whole = np.random.default_rng(0).random((5, 2))
    >>> part = RowNoise(np.random.default_rng(0), slice(1, 3), 5).random((2, 2))
    >>> bool(np.all(part == whole[1:3]))
    True
    """

    def __init__(self, rng: np.random.Generator, rows: slice, total: int, *, skip: int = 0) -> None:
        if not isinstance(rng.bit_generator, np.random.PCG64):
            raise TypeError(
                f"RowNoise: expected a generator made by np.random.default_rng (PCG64), got one "
                f"on {type(rng.bit_generator).__name__}, which consumes its numbers differently."
            )
        self._rng, self._bits = rng, rng.bit_generator
        self._rows, self._total = rows, total
        self._bits.advance(total * skip)

    def random(self, size: Any, /) -> Array:
        """Draw this rank's rows of a matrix of uniform numbers; `size` is (rows, width)."""
        rows, width = size
        start, stop = self._rows.start, self._rows.stop
        if rows != stop - start:
            raise ValueError(f"RowNoise: made for {stop - start} rows, asked for {rows}.")
        self._bits.advance(start * width)
        drawn = self._rng.random((rows, width))
        self._bits.advance((self._total - stop) * width)
        return drawn
