"""Data as ``train`` takes them, made ready to be read where they are used, and in which order.

By default the order of rows is that of :func:`course_lib.data.batches`, whatever the data lie in.
Rows that are read block by block can be shuffled in two levels instead: :class:`BlockShuffle`.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer, check_matrix, check_pair, shown
from course_lib.data import Split, batches
from course_lib.network import Network
from course_lib.parallel.sources.rows import KEPT, DaskRows, NpyRows, ShardRows, is_dask


def open_data(net: Network, data: Any, *, where: str = "train") -> tuple[Any, Any]:
    """Return inputs and targets: checked arrays, or what the workers read and check themselves.

    Parameters
    ----------
    net : Network
        What will be trained: it decides what rows must look like.
    data : Split, (x, y), path or InBlocks
        As :func:`~course_lib.parallel.train` takes it.
    where : str
        Who asks, for the error sentence.

    Raises
    ------
    ValueError, TypeError
        If data are of another kind, the numbers of rows differ, or there are none, or x is not a
        matrix of real numbers.

    Examples
    --------
    >>> from course_lib import mlp
    >>> open_data(mlp([2, 3]), ([[1, 2]], [0]))
    (array([[1., 2.]]), array([0]))
    """
    data, plan = (data.data, data.plan) if isinstance(data, InBlocks) else (data, None)
    if isinstance(data, Split):
        data = data.x_train, data.y_train
    if isinstance(data, (str, os.PathLike)):
        data = (ShardRows(data, "x"), ShardRows(data, "y"))
    x, y = (_source(part, where) for part in check_pair(data, where=where, name="data"))
    read = [hasattr(part, "fingerprint") for part in (x, y)]
    if not any(read) and plan is None:
        return net.check_data(x, y, where=where)
    if not all(read):
        raise ValueError(
            f"{where}: inputs and targets must be two sources of rows, or two arrays; to shuffle "
            "arrays in blocks, or to mix, save them with numpy.save and give their paths."
        )
    if len(x.shape) != 2 or not x.shape[0] or x.shape[:1] != y.shape[:1]:
        raise ValueError(
            f"{where}: expected a source of inputs of shape (n, features) and one of n targets, n "
            f"at least 1, got shapes {x.shape} and {y.shape}."
        )
    check = _Check(net, x.shape[1], where)
    check.inputs(x[np.array([0])])  # on the driver: better here than on every worker
    return Checked(x, check.inputs, plan=plan), Checked(y, check.targets, plan=plan)


def warn_of_blocks(*parts: Any, stacklevel: int) -> None:
    """Warn if each batch would compute most blocks of a dask.array again.

    Parameters
    ----------
    *parts : Checked or array
        What :func:`open_data` returned.
    stacklevel : int
        Of the warning, counted from the caller of this function.

    Examples
    --------
    >>> warn_of_blocks(np.zeros((3, 2)), np.zeros(3), stacklevel=1)
    """
    sources = [part.source for part in parts if isinstance(part, Checked) and part.plan is None]
    chunks = max((s.chunks for s in sources if isinstance(s, DaskRows)), key=len, default=())
    if len(chunks) > KEPT:
        warnings.warn(
            f"train: each batch takes rows of nearly all of the {len(chunks)} blocks of a "
            f"dask.array, of which {KEPT} are kept; the others are computed again and again, which "
            "may take 20 times as long. Shuffle block by block: "
            f"train(net, InBlocks(data, BlockShuffle({max(chunks)})), ...).",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )


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

    def __post_init__(self) -> None:
        if not hasattr(self.plan, "order"):
            raise TypeError(f"InBlocks: plan must be a BlockShuffle, got {shown(self.plan)}.")


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
        for name, value, least in (("n", n, 1), ("seed", seed, 0), ("epoch", epoch, 0)):
            check_integer(value, where="BlockShuffle", name=name, at_least=least)
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


def order_of(x: Any, size: int, *, seed: int, epoch: int, shuffle: bool = True) -> Iterator[Array]:
    """Return the batches of an epoch: row numbers of `x`, the same on every rank."""
    n, plan = len(x), getattr(x, "plan", None)
    if plan is None or not shuffle:
        return batches(n, size, seed=seed, epoch=epoch, shuffle=shuffle)
    check_integer(size, where="batches", name="size", at_least=1)
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
    where: str

    def inputs(self, x: Array) -> Array:
        where = f"{self.where}, rows read from the source"
        return check_matrix(x, self.net.n_inputs, where=where)

    def targets(self, y: Array) -> Array:
        outputs = self.net.widths(self.columns)[-1]
        return self.net.loss.check(y, (len(y), outputs), where=f"{self.where}, rows read")


def _source(part: Any, where: str) -> Any:
    """Return what can be read by rows: a source, or what NumPy makes an array of."""
    if isinstance(part, (str, os.PathLike)):
        return NpyRows(part)
    if is_dask(part):
        return DaskRows(part)
    if type(part).__module__.startswith("scipy.sparse"):
        raise TypeError(
            f"{where}: a sparse matrix ({type(part).__name__}) cannot be trained on; give "
            "x.toarray(), or write it block by block with write_shards if that is too large."
        )
    if hasattr(part, "detach"):  # a tensor of PyTorch
        try:
            return part.detach().cpu().numpy()
        except TypeError as error:
            raise TypeError(f"{where}: NumPy has no {part.dtype}; give tensor.float().") from error
    return part
