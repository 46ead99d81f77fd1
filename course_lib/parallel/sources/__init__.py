"""Training data that is read where it is used: arrays, ``.npy`` files, shards, dask.arrays.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.sources.opened import (
    BlockShuffle,
    InBlocks,
    open_data,
    order_of,
    warn_of_blocks,
)
from course_lib.parallel.sources.rows import DaskRows, NpyRows, Rows, ShardRows, write_shards

__all__ = [
    "BlockShuffle",
    "DaskRows",
    "InBlocks",
    "NpyRows",
    "Rows",
    "ShardRows",
    "open_data",
    "order_of",
    "warn_of_blocks",
    "write_shards",
]
