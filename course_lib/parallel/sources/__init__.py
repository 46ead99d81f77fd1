"""Training data that is read where it is used: arrays, ``.npy`` files, shards, dask.arrays.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.sources.opened import BlockShuffle, InBlocks, NpyRows, Rows, open_data
from course_lib.parallel.sources.rows import DaskRows, ShardRows, write_shards

__all__ = [
    "BlockShuffle",
    "DaskRows",
    "InBlocks",
    "NpyRows",
    "Rows",
    "ShardRows",
    "open_data",
    "write_shards",
]
