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
import operator
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from course_lib.arrays import Array, as_array, check_pair, shown
from course_lib.atomic import write_bytes
from course_lib.paths import check_path, check_shared_path, writing
from course_lib.registry import lookup

KEPT = 8
"""Blocks of a dask.array that are kept, once they are computed."""

# Rows of a file that make a part of its fingerprint.
_SAMPLED = 1024


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

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.

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
        self.path = check_shared_path(path, where="train", name="the path of a .npy file")
        self._map: Array | None = None
        self.shape: tuple[int, ...] = self._opened().shape
        self.dtype = self._opened().dtype

    def _opened(self) -> Array:
        if self._map is None:
            self._map = _mapped(self.path)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}  # pickled, a memory map is all of its rows

    def __getitem__(self, rows: Any) -> Array:
        return np.array(self._opened()[rows])

    def fingerprint(self) -> bytes:
        """Return the size of the file, when it was written, and some of the rows."""
        return _written(self.path) + sample(self)


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
    ValueError, TypeError
        If the directory has no manifest that can be understood, or there is no such part.
    """

    def __init__(self, directory: str | os.PathLike[str], name: str) -> None:
        self._folder = check_shared_path(directory, where="train", name="the path of shards")
        self._name = lookup("part of shards", name, {"x": "x", "y": "y"})
        try:
            facts = json.loads((Path(self._folder) / "shards.json").read_text(encoding="utf-8"))
            shape, kind = facts[name]
            self._rows, self.dtype = np.array(facts["rows"]), np.dtype(kind)
            known = self._rows.dtype.kind == "i" and self._rows.ndim == 1
            if not known or self.dtype.kind not in "biuf" or min(*self._rows, 0, *shape) < 0:
                raise ValueError(f"rows {facts['rows']!r}, dtype {kind!r}")
            self._ends = np.cumsum(self._rows)
            self.shape = (int(self._ends[-1]), *map(operator.index, shape))
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise ValueError(
                f"train: {self._folder} is not a directory of shards ({type(error).__name__}: "
                f"{error}); write one with course_lib.parallel.write_shards."
            ) from error

    def _path(self, shard: int) -> str:
        return os.path.join(self._folder, f"{self._name}-{shard:05d}.npy")

    def __getitem__(self, rows: Any) -> Array:
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        shards = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shards):
            here = shards == shard
            start = self._ends[shard - 1] if shard else 0
            # Opened each time: thousands of shards would be thousands of open maps.
            found = _mapped(self._path(shard))
            form = (int(self._rows[shard]), *self.shape[1:]), self.dtype
            if (found.shape, found.dtype) != form:
                raise ValueError(
                    f"train: {self._path(shard)} holds {found.dtype} of shape {found.shape}, and "
                    f"shards.json says {form[1]} of shape {form[0]}; write the shards again."
                )
            out[here] = found[rows[here] - start]
        return out

    def __len__(self) -> int:
        return int(self.shape[0])

    def fingerprint(self) -> bytes:
        """Return of each file the size and when it was written, and some of the rows."""
        files = (_written(self._path(shard)) for shard in range(len(self._ends)))
        return b"".join(files) + sample(self)


def write_shards(
    directory: str | os.PathLike[str], blocks: Iterable[tuple[Array, Array]]
) -> list[int]:
    """Write blocks of rows as ``x-00000.npy``, ``y-00000.npy``, ... and a manifest.

    One block is in memory at a time. Files of ``.npy``, not ``.npz``: only those can be mapped. A
    link that bears the name of such a file is replaced, and where it leads nothing is written.

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
    ValueError, TypeError
        If blocks do not fit together or hold no real numbers, there are none, or the directory is
        taken.
    OSError
        If the directory cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_shards(folder, [(np.ones((n, 2)), np.zeros(n, int)) for n in (3, 2)])
    ...     ShardRows(folder, "x").shape
    [3, 2]
    (5, 2)
    """
    folder = check_path(directory, where="write_shards", name="directory")
    if not isinstance(blocks, Iterable):
        raise TypeError(
            f"write_shards: blocks must be pairs (x, y), one after the other, got {shown(blocks)}."
        )
    rows, seen, where = list[int](), dict[str, list[Any]](), "write_shards"
    with writing(folder, where=where):
        folder.mkdir(parents=True, exist_ok=True)
    if (folder / "shards.json").exists():
        raise ValueError(f"write_shards: {folder} already holds shards; give another directory.")
    for block in blocks:
        pair = _pair(block, len(rows))
        form = {name: [list(a.shape[1:]), a.dtype.str] for name, a in pair.items()}
        if len(pair["x"]) != len(pair["y"]) or (seen and form != seen):
            raise ValueError(
                f"write_shards: block {len(rows)} does not fit: x has shape {pair['x'].shape} and "
                f"y {pair['y'].shape}; expected as many rows in both, and otherwise the form "
                f"{seen or form}."
            )
        seen = form
        for name, array in pair.items():
            path = folder / f"{name}-{len(rows):05d}.npy"
            with writing(folder, where=where):
                path.unlink(missing_ok=True)
                with path.open("xb") as file:
                    np.save(file, array, allow_pickle=False)
        rows.append(len(pair["x"]))
    if not rows:
        raise ValueError("write_shards: expected at least one block, got none.")
    with writing(folder, where=where):  # last: a directory without it is not complete
        write_bytes(folder / "shards.json", json.dumps({"rows": rows, **seen}).encode())
    return rows


def _pair(block: Any, number: int) -> dict[str, Array]:
    """Return a block of :func:`write_shards` as arrays of real numbers with rows."""
    where, pair = f"write_shards, block {number}", dict[str, Array]()
    for name, part in zip("xy", check_pair(block, where=where, name="it"), strict=True):
        pair[name] = as_array(part, where=where, name=name)
        if pair[name].dtype.kind not in "biuf" or pair[name].ndim == 0:
            raise TypeError(
                f"{where}: {name} must hold rows of real numbers, got {shown(pair[name])}."
            )
    return pair


class DaskRows:
    """The rows of a dask.array; the last few blocks that were computed are kept.

    Its blocks should be made by functions that read them, as ``dask.array.from_delayed`` takes;
    ``from_array`` of a memory map carries all rows with it. Shuffle it with a
    :class:`~course_lib.parallel.BlockShuffle` whose window is at most 8 blocks, or each
    batch computes nearly all blocks again, which ``train`` warns of.

    Parameters
    ----------
    array : dask.array
        Chunked along the rows only, of known shape, not persisted on a cluster.

    Raises
    ------
    ValueError, TypeError
        If it is chunked in another way, persisted, or rows are not known; if it is none.
    """

    def __init__(self, array: Any) -> None:
        if not is_dask(array) or array.ndim == 0:
            raise TypeError(
                f"train: expected a dask.array with rows, got {type(array).__name__} of shape "
                f"{np.shape(array)}."
            )
        tasks = array.__dask_graph__().values()
        if any(type(task).__module__.startswith("distributed") for task in tasks):
            raise ValueError(
                "train: a dask.array that was persisted on a cluster lies in the memory of its "
                "workers, which the ranks of a training cannot ask for blocks. Give the array as "
                "it was before persist(), or, if it fits into memory here, array.compute()."
            )
        if np.isnan(array.shape[0]) or any(len(chunks) > 1 for chunks in array.chunks[1:]):
            raise ValueError(
                "train: a dask.array must have a known number of rows and be chunked along the "
                f"rows only, got chunks {array.chunks}; see compute_chunk_sizes() and rechunk()."
            )
        self._array = array
        self.chunks: tuple[int, ...] = array.chunks[0]
        self._ends = np.cumsum(self.chunks)
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
                self._kept[number] = self._computed(number)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    def _computed(self, number: int) -> Array:
        block = np.asarray(self._array.blocks[number].compute(scheduler="synchronous"))
        shape = (self.chunks[number], *self.shape[1:])
        if block.shape != shape or not np.can_cast(block.dtype, self.dtype, "same_kind"):
            raise ValueError(
                f"train: block {number} of a dask.array says that it holds {self.dtype} of shape "
                f"{shape}, and holds {block.dtype} of shape {block.shape}."
            )
        return block

    def __getitem__(self, rows: Any) -> Array:
        rows = np.arange(self.shape[0])[rows] if isinstance(rows, slice) else np.asarray(rows)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        blocks = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(blocks):
            here = blocks == number
            start = self._ends[number - 1] if number else 0
            out[here] = self._block(int(number))[rows[here] - start]
        return out

    def fingerprint(self) -> bytes:
        """Return the chunks and three blocks, first to last: all would be all of the work."""
        last = len(self._ends) - 1
        blocks = [self._block(number).tobytes() for number in sorted({0, last // 2, last})]
        return repr(self.chunks).encode() + b"".join(blocks)


def is_dask(part: Any) -> bool:
    """Say whether something is a dask.array, without loading Dask.

    Examples
    --------
    >>> is_dask(np.zeros(3))
    False
    """
    return type(part).__module__.startswith("dask.array")


def _mapped(path: str) -> Array:
    """Map a ``.npy`` file into memory, or say what is wrong with it."""
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"train: {path} does not exist; each worker must see it under this name."
        ) from None
    except (OSError, ValueError, EOFError) as error:
        found = error
    if not isinstance(found, np.ndarray):
        raise ValueError(
            f"train: {path} must be a .npy file of numbers, as numpy.save writes it, got "
            f"{type(found).__name__}: {found}"
        )
    return found


def _written(path: str) -> bytes:
    facts = os.stat(path)
    return f"{facts.st_size} {facts.st_mtime_ns} ".encode()


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
