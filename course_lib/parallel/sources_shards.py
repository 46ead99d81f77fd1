"""Data in a directory of many files, the shards: written block by block, read row by row.

Chapter: data parallelism.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from course_lib.arrays import Array

_SAMPLED = 1024


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

    Notes
    -----
    Chapter: data parallelism.
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

    Notes
    -----
    Chapter: data parallelism.
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
                "write one with course_lib.parallel.sources_shards.write_shards."
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
