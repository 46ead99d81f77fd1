"""Dropout's noise for some rows of a batch: the very numbers that the whole batch would get.

A serial run draws one matrix (rows, width) per dropout layer and step. A rank that holds rows
start..stop must draw exactly those rows, or the run would depend on the number of ranks. The
generator can jump: one float64 consumes one step of PCG64, and ``advance`` skips any number of
steps at once.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.arrays import Array


class RowNoise:
    """A generator that yields rows start..stop of what `rng` would yield for all rows.

    Parameters
    ----------
    rng : numpy.random.Generator
        The serial run's generator; must be a PCG64, as ``np.random.default_rng`` makes it.
    rows : slice
        The rows of this rank.
    total : int
        The number of rows of the whole batch.

    Raises
    ------
    TypeError
        If the generator cannot jump this way.

    Examples
    --------
    >>> whole = np.random.default_rng(0).random((5, 2))
    >>> part = RowNoise(np.random.default_rng(0), slice(1, 3), 5).random((2, 2))
    >>> bool(np.all(part == whole[1:3]))
    True

    Notes
    -----
    Chapter: data parallelism.
    """

    def __init__(self, rng: np.random.Generator, rows: slice, total: int) -> None:
        if not isinstance(rng.bit_generator, np.random.PCG64):
            raise TypeError(
                f"RowNoise: expected a generator made by np.random.default_rng (PCG64), got one "
                f"on {type(rng.bit_generator).__name__}, which consumes its numbers differently."
            )
        self._rng, self._bits = rng, rng.bit_generator
        self._rows, self._total = rows, total

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
