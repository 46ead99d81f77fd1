"""Collectives: operations in which every rank takes part, written once on send and recv.

Every rank must call the same collectives in the same order with arrays of the same shape; a rank
that leaves one out makes the others wait until their timeout. Results are the same bits on every
rank.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.collectives.algorithms import shard
from course_lib.parallel.collectives.operations import (
    all_agree,
    all_gather,
    all_reduce,
    barrier,
    broadcast,
    reduce_scatter,
)

__all__ = [
    "all_agree",
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "reduce_scatter",
    "shard",
]
