"""In which order rows are visited, and how a file's rows become a network's inputs and targets.

By default the order is that of :func:`course_lib.data.batches`, whatever the data lie in. Rows
that are read block by block can be shuffled in two levels instead: :class:`BlockShuffle`.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.data import batches

if TYPE_CHECKING:
    from course_lib.parallel.job import Job


@dataclass(frozen=True)
class BlockShuffle:
    """Shuffle blocks of rows, then the rows of a few neighbouring blocks among themselves.

    A batch then touches `window` blocks at most (one window more where it crosses from one to
    the next), where a shuffle of all rows would touch every block. The price: rows of blocks that
    never meet in a window never meet in a batch of that epoch; each epoch has other windows.

    Parameters
    ----------
    rows : int
        Rows per block; best as they lie in the files, or the chunks of the dask.array.
    window : int
        Blocks that are mixed, and should fit into memory together.

    Raises
    ------
    ValueError
        If one is below 1.

    Examples
    --------
    >>> order = BlockShuffle(rows=2, window=2).order(8, seed=0, epoch=0)
    >>> order // 2, np.sort(order)
    (array([0, 0, 2, 2, 1, 3, 1, 3]), array([0, 1, 2, 3, 4, 5, 6, 7]))

    Notes
    -----
    Chapter: data parallelism.
    """

    rows: int
    window: int = 4

    def __post_init__(self) -> None:
        for name in ("rows", "window"):
            check_integer(getattr(self, name), where="BlockShuffle", name=name, at_least=1)

    def order(self, n: int, *, seed: int, epoch: int) -> Array:
        """Return the row numbers in order: a pure function of the arguments."""
        rng = np.random.default_rng([seed, epoch])
        blocks = rng.permutation(-(-n // self.rows))
        parts = []
        for first in range(0, len(blocks), self.window):
            mixed = [
                np.arange(b * self.rows, min(n, (b + 1) * self.rows))
                for b in blocks[first : first + self.window]
            ]
            parts.append(rng.permutation(np.concatenate(mixed)))
        return np.concatenate(parts)


def order_of(job: Job, epoch: int) -> Iterator[Array]:
    """Return the batches of an epoch: row numbers, the same on every rank."""
    n, size, plan = len(job.x), job.batch_size, getattr(job.x, "plan", None)
    if plan is None:
        return batches(n, size, seed=job.seed, epoch=epoch)
    order = plan.order(n, seed=job.seed, epoch=epoch)
    return (order[start : start + size] for start in range(0, n, size))


@dataclass(frozen=True)
class Checked:
    """Rows that are checked and converted when they are read, because nobody has seen them all.

    Attributes
    ----------
    source : Rows
        Where they come from, see :mod:`course_lib.parallel.sources`.
    check : callable
        Takes what was read, returns what the network wants, or raises.
    dtype : floating-point type or None
        What to convert to; None to leave it to `check`.
    plan : BlockShuffle or None
        How to shuffle.
    """

    source: Any
    check: Callable[[Array], Array]
    dtype: Any = None
    plan: BlockShuffle | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return tuple(self.source.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> Array:
        found = self.check(self.source[rows])
        return found if self.dtype is None else found.astype(self.dtype, copy=False)

    def astype(self, dtype: Any, copy: bool = True) -> Checked:
        """Return the same rows, converted when they are read."""
        return Checked(self.source, self.check, dtype, self.plan)

    def fingerprint(self) -> bytes:
        """Return what tells these data, and their order, from others."""
        found: bytes = self.source.fingerprint()
        return repr(self.plan).encode() + found
