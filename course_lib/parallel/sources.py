"""Data larger than memory: rows that each worker reads for itself, when it needs them.

A source of rows has ``shape``, ``dtype`` and ``source[row_numbers]``, as an array has. What is sent
to a worker is where the rows are, never the rows. Inputs and targets are two sources of equally
many rows; anything else that offers this and ``fingerprint()`` can take their place.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from course_lib.arrays import Array, check_matrix
from course_lib.network import Network
from course_lib.parallel.data_plan import BlockShuffle, Checked
from course_lib.parallel.sources_dask import DaskRows, is_dask
from course_lib.parallel.sources_shards import ShardRows, sample


class Rows(Protocol):
    """Rows that can be read by their numbers.

    Notes
    -----
    Chapter: data parallelism.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        ...

    @property
    def dtype(self) -> Any:
        """Of the numbers."""
        ...

    def __getitem__(self, rows: Any) -> Array:
        """Return rows, by an array of their numbers."""
        ...

    def fingerprint(self) -> bytes:
        """Return bytes that differ for other data."""
        ...


class NpyRows:
    """The rows of a ``.npy`` file, which each process maps into its own memory.

    Parameters
    ----------
    path : path
        Seen by every worker under this name.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.arange(8.0).reshape(4, 2))
    ...     NpyRows(f"{folder}/x.npy")[np.array([3, 0])]
    array([[6., 7.],
           [0., 1.]])

    Notes
    -----
    Chapter: data parallelism.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(Path(path).absolute())  # a worker may have another working directory
        self._map: Array | None = None
        self.shape: tuple[int, ...] = self._opened().shape
        self.dtype = self._opened().dtype

    def _opened(self) -> Array:
        if self._map is None:
            self._map = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}  # pickled, a memory map is all of its rows

    def __getitem__(self, rows: Any) -> Array:
        return np.array(self._opened()[rows])

    def fingerprint(self) -> bytes:
        """Return some of the rows."""
        return sample(self)


@dataclass(frozen=True)
class InBlocks:
    """Data that are shuffled block by block: ``train(net, InBlocks(data, BlockShuffle(4096)))``.

    Attributes
    ----------
    data : path or (x, y)
        As :func:`~course_lib.parallel.train` takes them.
    plan : BlockShuffle
        How to shuffle.

    Notes
    -----
    Chapter: data parallelism.
    """

    data: Any
    plan: BlockShuffle


class _Check(NamedTuple):
    net: Network
    width: int

    def inputs(self, x: Array) -> Array:
        return check_matrix(x, self.net.n_inputs, where="train, rows read from the source")

    def targets(self, y: Array) -> Array:
        return self.net.loss.check(y, (len(y), self.width), where="train, rows read")


def open_data(net: Network, data: Any) -> tuple[Any, Any] | None:
    """Return inputs and targets if they are to be read by the workers, None if they are arrays.

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
    width = x.shape[1]
    for layer in net.layers:
        width = layer.width(width)
    check = _Check(net, width)
    check.inputs(x[np.array([0])])  # on the driver: better here than on every worker
    return Checked(x, check.inputs, plan=plan), Checked(y, check.targets, plan=plan)


def _source(part: Any) -> Any:
    if isinstance(part, (str, os.PathLike)):
        return NpyRows(part)
    return DaskRows(part) if is_dask(part) else part
