"""A sum over leaves whose order follows the leaves, and not the ranks that own them.

(a0 + a1) + (a2 + a3) + ...: whether one rank owns all leaves or each rank one, the same numbers are
added in the same order, and the sum is the same to the bit.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives.algorithms import receive_like, shard, tree_broadcast
from course_lib.parallel.collectives.operations import all_reduce
from course_lib.parallel.comm import Comm


class AlignedTree:
    """Adds one vector (n,) per leaf along a binary tree over the leaves, whoever owns which.

    The number of leaves is a power of two, not below that of the ranks; rank r owns the leaves
    ``shard(leaves, r, comm.size)``.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> def ones(comm):
    ...     tree = AlignedTree(comm, 4, 1, float, Stopwatch())
    ...     return float(tree.sum(lambda index, out: out.fill(10.0**index))[0])
    >>> run_threads(3, ones)
    [1111.0, 1111.0, 1111.0]
    """

    def __init__(self, comm: Comm, leaves: int, n: int, dtype: Any, clock: Stopwatch) -> None:
        if comm.size > leaves:
            raise ValueError(
                f"{comm.size} ranks cannot share {leaves} virtual shards: some would have none. "
                f"Use workers={leaves} at most, or more virtual shards (which changes the bits)."
            )
        self._comm, self._leaves, self._clock = comm, leaves, clock
        self._own = shard(leaves, comm.rank, comm.size)
        cuts = [shard(leaves, rank, comm.size) for rank in range(comm.size)]
        self._owner = [rank for rank, cut in enumerate(cuts) for _ in range(cut.stop - cut.start)]
        # One sum under way per level of the tree; only the lowest is reduced over the ranks.
        levels = leaves.bit_length()
        self._sums = [comm.buffer(n, dtype), *(np.empty(n, dtype) for _ in range(1, levels))]

    def sum(self, leaf: Callable[[int, Array], None]) -> Array:
        """Return, on every rank, the sum; ``leaf(index, out)`` writes one of this rank's leaves."""
        size, total = self._comm.size, self._sums[0]
        if size & (size - 1) == 0:
            # Every rank owns a whole subtree, and what is left is a tree over the ranks; of two
            # ranks, any algorithm adds the same two vectors.
            self._add(self._own.start, self._own.stop, 0, leaf)
            self._clock.lap("compute")
            all_reduce(self._comm, total, "tree" if size > 2 else "auto")
        else:
            self._add(0, self._leaves, 0, leaf)
            tree_broadcast(self._comm, total, 0, "virtual shards")
        self._clock.lap("communication")
        return total

    def _add(self, start: int, stop: int, level: int, leaf: Callable[[int, Array], None]) -> None:
        """Sum the leaves start..stop at `level`, on the rank that owns the first of them."""
        mine = self._owner[start] == self._comm.rank
        if stop - start == 1:
            if mine:
                leaf(start, self._sums[level])
            return
        middle = (start + stop) // 2
        if self._own.start < middle:
            self._add(start, middle, level, leaf)
        if self._own.stop > middle:
            self._add(middle, stop, level + 1, leaf)
        left, right = self._owner[start], self._owner[middle]
        if left == right and mine:
            self._sums[level] += self._sums[level + 1]
        elif left != right and mine:
            self._clock.lap("compute")
            self._sums[level] += receive_like(
                self._comm, right, "virtual shards", self._sums[level]
            )
            self._clock.lap("communication")
        elif left != right and right == self._comm.rank:
            self._clock.lap("compute")
            self._comm.send(left, "virtual shards", self._sums[level + 1])
            self._clock.lap("communication")


def tree_sum(parts: Sequence[Array]) -> Array:
    """Return the sum of a power of two of arrays, in the order of :class:`AlignedTree`.

    Examples
    --------
    >>> tree_sum([np.array([1.0]), np.array([2.0]), np.array([3.0]), np.array([4.0])])
    array([10.])
    """
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return tree_sum(parts[:middle]) + tree_sum(parts[middle:])
