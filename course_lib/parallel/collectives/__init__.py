"""Collectives: operations in which every rank takes part, written once on send and recv.

Every rank must call the same collectives in the same order with arrays of the same shape; a rank
that leaves one out makes the others wait until their timeout. Results are the same bits on every
rank. Small objects (who runs where, on what) travel as JSON.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.collectives.algorithms import ALL_REDUCE, REDUCE_SCATTER, shard
from course_lib.parallel.collectives.aligned_tree import AlignedTree, tree_sum
from course_lib.parallel.collectives.operations import (
    all_agree,
    all_gather,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object,
    reduce_scatter,
)

__all__ = [
    "ALL_REDUCE",
    "REDUCE_SCATTER",
    "AlignedTree",
    "all_agree",
    "all_gather",
    "all_gather_object",
    "all_reduce",
    "barrier",
    "broadcast",
    "broadcast_object",
    "reduce_scatter",
    "shard",
    "tree_sum",
]
