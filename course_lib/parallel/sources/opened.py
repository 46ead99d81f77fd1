"""Data as ``train`` takes them, made ready to be read where they are used, and in which order.

By default the order of rows is that of :func:`course_lib.data.batches`, whatever the data lie in.
Rows that are read block by block can be shuffled in two levels instead: :class:`BlockShuffle`.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer, check_matrix
from course_lib.data import batches
from course_lib.network import Network
from course_lib.parallel.sources.rows import DaskRows, NpyRows, ShardRows, is_dask


def open_data(net: Network, data: Any) -> tuple[Any, Any] | None:
    """Return inputs and targets if they are to be read by the workers, None if they are arrays.

    Parameters
    ----------
    net : Network
        What will be trained: it decides what rows must look like.
    data : Split, (x, y), path or InBlocks
        As :func:`~course_lib.parallel.train` takes it.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or there are none, or x is not a matrix.
    """
    data, plan = (data.data, data.plan) if isinstance(data, InBlocks) else (data, None)
    if isinstance(data, (str, os.PathLike)):
        data = (ShardRows(data, "x"), ShardRows(data, "y"))
    if not isinstance(data, tuple) or len(data) != 2:
        return None  # a Split; or what check_data will complain about
    x, y = (_source(part) for part in data)
    if not (hasattr(x, "fingerprint") and hasattr(y, "fingerprint")):
        if plan is not None or hasattr(x, "fingerprint") or hasattr(y, "fingerprint"):
            raise ValueError(
                "train: inputs and targets must be two sources of rows, or two arrays; to shuffle "
                "arrays in blocks, or to mix, save them with numpy.save and give their paths."
            )
        return None
    if len(x.shape) != 2 or not x.shape[0] or x.shape[0] != y.shape[0]:
        raise ValueError(
            "train: expected a source of inputs of shape (n, features) and one of n targets, n at "
            f"least 1, got shapes {x.shape} and {y.shape}."
        )
    check = _Check(net, x.shape[1])
    check.inputs(x[np.array([0])])  # on the driver: better here than on every worker
    return Checked(x, check.inputs, plan=plan), Checked(y, check.targets, plan=plan)


@dataclass(frozen=True)
class InBlocks:
    """Data that are shuffled block by block: ``train(net, InBlocks(data, BlockShuffle(4096)))``.

    Attributes
    ----------
    data : path or (x, y)
        As :func:`~course_lib.parallel.train` takes them.
    plan : BlockShuffle
        How to shuffle.
    """

    data: Any
    plan: BlockShuffle


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


def order_of(x: Any, size: int, *, seed: int, epoch: int) -> Iterator[Array]:
    """Return the batches of an epoch: row numbers of `x`, the same on every rank."""
    n, plan = len(x), getattr(x, "plan", None)
    if plan is None:
        return batches(n, size, seed=seed, epoch=epoch)
    order = plan.order(n, seed=seed, epoch=epoch)
    return (order[start : start + size] for start in range(0, n, size))


@dataclass(frozen=True)
class Checked:
    """Rows that are checked and converted when they are read, because nobody has seen them all."""

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


class _Check(NamedTuple):
    net: Network
    columns: int

    def inputs(self, x: Array) -> Array:
        return check_matrix(x, self.net.n_inputs, where="train, rows read from the source")

    def targets(self, y: Array) -> Array:
        outputs = self.net.widths(self.columns)[-1]
        return self.net.loss.check(y, (len(y), outputs), where="train, rows read")


def _source(part: Any) -> Any:
    if isinstance(part, (str, os.PathLike)):
        return NpyRows(part)
    return DaskRows(part) if is_dask(part) else part
