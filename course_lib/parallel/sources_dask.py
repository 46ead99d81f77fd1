"""A dask.array as data: each worker computes the blocks it needs, by itself.

A rank must not hand work to the cluster that it is a task of: on a worker of one thread it would
wait for itself. So blocks are computed by Dask's synchronous scheduler, in the rank.

Chapter: data parallelism.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from course_lib.arrays import Array

_KEPT = 8


def is_dask(part: Any) -> bool:
    """Say whether something is a dask.array, without loading Dask.

    Examples
    --------
    >>> is_dask(np.zeros(3))
    False
    """
    return type(part).__module__.startswith("dask.array")


class DaskRows:
    """The rows of a dask.array; the last few blocks that were computed are kept.

    Its blocks should be made by functions that read them, as ``dask.array.from_delayed`` takes;
    ``from_array`` of a memory map carries all rows with it. Shuffle it with a
    :class:`~course_lib.parallel.data_plan.BlockShuffle` whose window is at most 8 blocks, or each
    batch computes nearly all blocks again.

    Parameters
    ----------
    array : dask.array
        Chunked along the rows only, of known shape, not persisted on a cluster.

    Raises
    ------
    ValueError
        If it is chunked in another way, or rows are not known.

    Notes
    -----
    Chapter: data parallelism.
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
