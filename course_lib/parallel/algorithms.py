"""How a sum travels: the message patterns behind the collectives, each a few lines.

All work in place on `array`, send whole arrays, and leave the same bits on every rank.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from course_lib.arrays import Array
from course_lib.parallel.comm import Comm, Tag


def tree_broadcast(comm: Comm, array: Array, root: int, tag: Tag = "broadcast") -> None:
    """Copy from `root`: in each round, all ranks that have the data send it to one more."""
    position = (comm.rank - root) % comm.size
    for distance in _doublings(comm.size):
        if distance <= position < 2 * distance:
            array[...] = receive_like(comm, (comm.rank - distance) % comm.size, tag, array)
        elif position < distance and position + distance < comm.size:
            comm.send((comm.rank + distance) % comm.size, tag, array)


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


ALL_REDUCE: dict[str, Callable[[Comm, Array], None]] = {
    "ordered": ordered_all_reduce,
    "tree": tree_all_reduce,
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


def _doublings(size: int) -> Iterator[int]:
    """Yield 1, 2, 4, ... below `size`."""
    distance = 1
    while distance < size:
        yield distance
        distance *= 2
