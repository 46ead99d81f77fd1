"""Data larger than memory: rows that each worker reads for itself, when it needs them.

A source of rows has ``shape``, ``dtype`` and ``source[row_numbers]``, as an array has. What is sent
to a worker is where the rows are, never the rows. Inputs and targets are two sources of equally
many rows; anything else that offers this and ``fingerprint()`` can take their place.

Here rows lie in one ``.npy`` file, in a directory of many, the shards, or in a dask.array. A rank
must not hand work to the cluster that it is a task of: on a worker of one thread it would wait for
itself. So the blocks of a dask.array are computed by Dask's synchronous scheduler, in the rank.

Chapter: data parallelism.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from course_lib.arrays import Array

# Rows that make a fingerprint, and blocks of a dask.array that are kept.
_SAMPLED, _KEPT = 1024, 8


class Rows(Protocol):
    """Rows that can be read by their numbers."""

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


class ShardRows:
    """The rows of all shards of a directory, numbered through.

    Parameters
    ----------
    directory : path
        Written by :func:`write_shards`; seen by every worker under this name.
    name : {"x", "y"}
        Inputs or targets.

    Raises
    ------
    ValueError
        If the directory has no manifest.
    """

    def __init__(self, directory: str | os.PathLike[str], name: str) -> None:
        folder = Path(directory).absolute()
        try:
            facts = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
            shape, kind = facts[name]
            self._ends = np.cumsum(facts["rows"])
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"train: {folder} is not a directory of shards ({type(error).__name__}: {error}); "
                "write one with course_lib.parallel.write_shards."
            ) from error
        self._folder, self._name = str(folder), name
        self.shape = (int(self._ends[-1]), *shape)
        self.dtype = np.dtype(kind)

    def __getitem__(self, rows: Any) -> Array:
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards):
            here = shards == shard
            start = self._ends[shard - 1] if shard else 0
            path = Path(self._folder) / f"{self._name}-{shard:05d}.npy"
            # Opened each time: thousands of shards would be thousands of open maps.
            out[here] = np.load(path, mmap_mode="r", allow_pickle=False)[rows[here] - start]
        return out

    def __len__(self) -> int:
        return int(self.shape[0])

    def fingerprint(self) -> bytes:
        """Return some of the rows."""
        return sample(self)


def write_shards(
    directory: str | os.PathLike[str], blocks: Iterable[tuple[Array, Array]]
) -> list[int]:
    """Write blocks of rows as ``x-00000.npy``, ``y-00000.npy``, ... and a manifest.

    One block is in memory at a time. Files of ``.npy``, not ``.npz``: only those can be mapped.

    Parameters
    ----------
    directory : path
        Made if it is not there; must not hold shards.
    blocks : iterable of (x, y)
        Of the same number of features and the same types.

    Returns
    -------
    list of int
        Rows per shard.

    Raises
    ------
    ValueError
        If blocks do not fit together, there are none, or the directory is taken.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_shards(folder, [(np.ones((n, 2)), np.zeros(n, int)) for n in (3, 2)])
    ...     ShardRows(folder, "x").shape
    [3, 2]
    (5, 2)
    """
    folder, rows = Path(directory), list[int]()
    seen: dict[str, list[Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "shards.json").exists():
        raise ValueError(f"write_shards: {folder} already holds shards; give another directory.")
    for x, y in blocks:
        form = {name: [list(a.shape[1:]), a.dtype.str] for name, a in (("x", x), ("y", y))}
        if len(x) != len(y) or (seen and form != seen):
            raise ValueError(
                f"write_shards: block {len(rows)} does not fit: x has shape {x.shape} and y "
                f"{y.shape}; expected as many rows in both, and otherwise the form {seen or form}."
            )
        seen = form
        for name, array in (("x", x), ("y", y)):
            np.save(folder / f"{name}-{len(rows):05d}.npy", array, allow_pickle=False)
        rows.append(len(x))
    if not rows:
        raise ValueError("write_shards: expected at least one block, got none.")
    # Last: a directory without it is not complete.
    (folder / "shards.json").write_text(json.dumps({"rows": rows, **seen}), encoding="utf-8")
    return rows


class DaskRows:
    """The rows of a dask.array; the last few blocks that were computed are kept.

    Its blocks should be made by functions that read them, as ``dask.array.from_delayed`` takes;
    ``from_array`` of a memory map carries all rows with it. Shuffle it with a
    :class:`~course_lib.parallel.BlockShuffle` whose window is at most 8 blocks, or each
    batch computes nearly all blocks again.

    Parameters
    ----------
    array : dask.array
        Chunked along the rows only, of known shape, not persisted on a cluster.

    Raises
    ------
    ValueError
        If it is chunked in another way, or rows are not known.
    """

    def __init__(self, array: Any) -> None:
        if np.isnan(array.shape[0]) or any(len(chunks) > 1 for chunks in array.chunks[1:]):
            raise ValueError(
                "train: a dask.array must have a known number of rows and be chunked along the "
                f"rows only, got chunks {array.chunks}; see compute_chunk_sizes() and rechunk()."
            )
        self._array = array
        self._ends = np.cumsum(array.chunks[0])
        self.shape: tuple[int, ...] = tuple(map(int, array.shape))
        self.dtype = array.dtype
        self._fresh()

    def _fresh(self) -> None:
        self._kept: OrderedDict[int, Array] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_kept", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fresh()

    def _block(self, number: int) -> Array:
        with self._lock:  # ranks may be threads of one process
            if number not in self._kept:
                block = self._array.blocks[number]
                self._kept[number] = np.asarray(block.compute(scheduler="synchronous"))
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    def __getitem__(self, rows: Any) -> Array:
        rows = np.asarray(rows)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        blocks = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(blocks):
            here = blocks == number
            start = self._ends[number - 1] if number else 0
            out[here] = self._block(int(number))[rows[here] - start]
        return out

    def fingerprint(self) -> bytes:
        """Return the chunks and the first block: all blocks would be all of the work."""
        return repr(self._array.chunks).encode() + np.ascontiguousarray(self._block(0)).tobytes()


def is_dask(part: Any) -> bool:
    """Say whether something is a dask.array, without loading Dask.

    Examples
    --------
    >>> is_dask(np.zeros(3))
    False
    """
    return type(part).__module__.startswith("dask.array")


def sample(source: Any) -> bytes:
    """Return the bytes of rows that are spread evenly over a source.

    Examples
    --------
    >>> len(sample(np.zeros((5000, 2))))
    16384
    """
    n = source.shape[0]
    rows = np.linspace(0, n - 1, min(n, _SAMPLED)).astype(np.intp)
    return np.ascontiguousarray(source[rows]).tobytes()
