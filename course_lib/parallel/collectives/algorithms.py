"""How a sum travels: the message patterns behind the collectives, each a few lines.

All work in place on `array`. Where every rank gets the result, it gets the same bits: either one
rank computes it and sends it to the others, or two compute a + b and b + a, which are the same.
``traffic`` (in :mod:`course_lib.parallel.cost`) says what each rank sends.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.comm import Comm, Reduces, Tag


def shard(n: int, rank: int, size: int) -> slice:
    """Return which of n rows belong to a rank: as even as can be, the first ranks get one more.

    Parameters
    ----------
    n : int
        Rows of the batch; may be fewer than ranks, then the last ranks get none.
    rank, size : int
        Which rank, of how many.

    Examples
    --------
    >>> [shard(8, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]

    Notes
    -----
    The same cut as ``np.array_split``.
    """
    rows, extra = divmod(n, size)
    start = rank * rows + min(rank, extra)
    return slice(start, start + rows + (rank < extra))


def tree_broadcast(comm: Comm, array: Array, root: int, tag: Tag = "broadcast") -> None:
    """Copy from `root`: in each round, all ranks that have the data send it to one more."""
    source, targets = tree_links(comm, root)
    if source is not None:
        array[...] = receive_like(comm, source, tag, array)
    for target in targets:
        comm.send(target, tag, array)


def tree_links(comm: Comm, root: int) -> tuple[int | None, list[int]]:
    """Return from whom a rank has what `root` sends, None for root, and to whom it sends it on."""
    position, source, targets = (comm.rank - root) % comm.size, None, list[int]()
    for distance in _doublings(comm.size):
        if distance <= position < 2 * distance:
            source = (comm.rank - distance) % comm.size
        elif position < distance and position + distance < comm.size:
            targets.append((comm.rank + distance) % comm.size)
    return source, targets


def ordered_all_reduce(comm: Comm, array: Array) -> None:
    """Add on rank 0 in rank order, ((a0 + a1) + a2) + ..., then send the sum to each."""
    if comm.rank > 0:
        comm.send(0, "all_reduce", array)
        array[...] = receive_like(comm, 0, "all_reduce", array)
        return
    for source in range(1, comm.size):
        array += receive_like(comm, source, "all_reduce", array)
    for target in range(1, comm.size):
        comm.send(target, "all_reduce", array)


def tree_all_reduce(comm: Comm, array: Array) -> None:
    """Add neighbours, then neighbouring pairs, (a0 + a1) + (a2 + a3), ..., then broadcast."""
    for distance in _doublings(comm.size):
        if comm.rank % (2 * distance):
            comm.send(comm.rank - distance, "all_reduce", array)
            break
        if comm.rank + distance < comm.size:
            array += receive_like(comm, comm.rank + distance, "all_reduce", array)
    tree_broadcast(comm, array, 0, "all_reduce")


def ring_all_reduce(comm: Comm, array: Array) -> None:
    """Add the p parts of the array on their way round a ring, then pass the sums round."""
    ring_reduce_scatter(comm, array, "all_reduce")
    parts, right, left = _parts(comm, array), (comm.rank + 1) % comm.size, comm.rank - 1
    for k in range(comm.size - 1):
        comm.send(right, "all_reduce", parts[comm.rank - k])
        part = parts[comm.rank - k - 1]
        part[...] = receive_like(comm, left % comm.size, "all_reduce", part)


def recursive_doubling_all_reduce(comm: Comm, array: Array) -> None:
    """In each round, all exchange their sums with a partner; the distances are 1, 2, 4, ....

    Ranks beyond a power of two do not fit: of the first 2 (p - 2^k) ranks, the even ones hand in
    to their neighbours before, and are told the sum after.
    """
    power = 1 << (comm.size.bit_length() - 1)
    extra = comm.size - power
    paired = comm.rank < 2 * extra
    if paired and comm.rank % 2 == 0:
        comm.send(comm.rank + 1, "all_reduce", array)
        array[...] = receive_like(comm, comm.rank + 1, "all_reduce", array)
        return
    if paired:
        array += receive_like(comm, comm.rank - 1, "all_reduce", array)
    place = comm.rank // 2 if paired else comm.rank - extra
    for distance in _doublings(power):
        other = place ^ distance
        partner = 2 * other + 1 if other < extra else other + extra
        comm.send(partner, "all_reduce", array)
        array += receive_like(comm, partner, "all_reduce", array)
    if paired:
        comm.send(comm.rank - 1, "all_reduce", array)


def auto_all_reduce(comm: Comm, array: Array) -> None:
    """Let the channel add if it can; else add in rank order."""
    if isinstance(comm, Reduces):
        comm.native_all_reduce(array)
    else:
        ordered_all_reduce(comm, array)


ALL_REDUCE: dict[str, Callable[[Comm, Array], None]] = {
    "auto": auto_all_reduce,
    "ordered": ordered_all_reduce,
    "tree": tree_all_reduce,
    "ring": ring_all_reduce,
    "recursive_doubling": recursive_doubling_all_reduce,
}


def ordered_reduce_scatter(comm: Comm, array: Array) -> None:
    """Send each rank its part; add what comes for one's own in rank order."""
    parts = _parts(comm, array)
    for offset in range(1, comm.size):
        target = (comm.rank + offset) % comm.size
        comm.send(target, "reduce_scatter", parts[target])
    own = parts[comm.rank].copy()
    for source in range(comm.size):
        mine = source == comm.rank
        part = own if mine else receive_like(comm, source, "reduce_scatter", own)
        if source == 0:
            parts[comm.rank][...] = part
        else:
            parts[comm.rank][...] += part


def ring_reduce_scatter(comm: Comm, array: Array, tag: Tag = "reduce_scatter") -> None:
    """Add the p parts of the array on their way round a ring; part r ends on rank r."""
    parts, right, left = _parts(comm, array), (comm.rank + 1) % comm.size, comm.rank - 1
    for k in range(1, comm.size):
        comm.send(right, tag, parts[comm.rank - k])
        part = parts[comm.rank - k - 1]
        part += receive_like(comm, left % comm.size, tag, part)


def auto_reduce_scatter(comm: Comm, array: Array) -> None:
    """Let the channel add everything if it can; else add in rank order. The same bits."""
    if isinstance(comm, Reduces):
        comm.native_all_reduce(array)
    else:
        ordered_reduce_scatter(comm, array)


REDUCE_SCATTER: dict[str, Callable[[Comm, Array], None]] = {
    "auto": auto_reduce_scatter,
    "ordered": ordered_reduce_scatter,
    "ring": ring_reduce_scatter,
}


def receive_like(comm: Comm, source: int, tag: Tag, array: Array) -> Array:
    """Receive an array that must have the shape and dtype of `array`."""
    other = comm.recv(source, tag)
    if other.shape != array.shape or other.dtype != array.dtype:
        raise ValueError(
            f"{tag}: rank {comm.rank} has an array of shape {array.shape}, {array.dtype}, but "
            f"rank {source} sent {other.shape}, {other.dtype}; all ranks must pass the same."
        )
    return other


def _parts(comm: Comm, array: Array) -> list[Array]:
    """Cut a contiguous array in p parts, the first ones longer by one; index -1 is the last."""
    return np.array_split(array.reshape(-1), comm.size)


def _doublings(size: int) -> Iterator[int]:
    """Yield 1, 2, 4, ... below `size`."""
    distance = 1
    while distance < size:
        yield distance
        distance *= 2
