"""Collectives: operations in which every rank takes part, written once on send and recv.

Every rank must call the same collectives in the same order with arrays of the same shape; a rank
that leaves one out makes the others wait until their timeout. Results are the same bits on every
rank, because each result is computed on one rank and sent to the others.

Chapter: data parallelism.
"""

from __future__ import annotations

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.algorithms import ALL_REDUCE, tree_broadcast
from course_lib.parallel.comm import Comm
from course_lib.registry import lookup


def broadcast(comm: Comm, array: Array, *, root: int = 0) -> Array:
    r"""Copy the array of rank `root` into the arrays of all others, in place.

    A binomial tree: in round k, the :math:`2^k` ranks that have the data send it on, so
    :math:`\lceil\log_2 p\rceil` rounds and p - 1 messages reach everyone.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    array : array, any shape
        The data on `root`; elsewhere, an array of the same shape and dtype to be overwritten.
    root : int
        The rank that has the data.

    Returns
    -------
    array
        `array` itself.

    Raises
    ------
    ValueError
        If a rank passed another shape or dtype, or `root` is not a rank.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: broadcast(comm, np.array([comm.rank + 5.0])))
    [array([5.]), array([5.])]

    Notes
    -----
    Chapter: data parallelism.
    """
    if not 0 <= root < comm.size:
        raise ValueError(f"broadcast: root must be a rank in 0..{comm.size - 1}, got {root}.")
    _check_buffer(array, "broadcast")
    tree_broadcast(comm, array, root)
    return array


def all_reduce(comm: Comm, array: Array, algorithm: str = "ordered") -> Array:
    r"""Replace each rank's array by the sum over all ranks, in place.

    .. math:: a_r \leftarrow \sum_{q=0}^{p-1} a_q

    Both algorithms send 2 (p - 1) messages of the whole array; they differ in who waits for whom,
    and in the order of the additions, hence in the last bits.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    array : array, any shape, C-contiguous
        Overwritten by the sum.
    algorithm : {"ordered", "tree"}
        ``"ordered"``: rank 0 adds the arrays in rank order, ((a0 + a1) + a2) + ..., and sends
        the sum to each: easy to follow, p - 1 messages through one rank. ``"tree"``: pairs add,
        then pairs of pairs, (a0 + a1) + (a2 + a3), and the sum goes back down the same tree:
        2 ceil(log2 p) rounds.

    Returns
    -------
    array
        `array` itself.

    Raises
    ------
    ValueError
        If a rank passed another shape or dtype, or the algorithm is not known.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(3, lambda comm: all_reduce(comm, np.array([10.0**comm.rank]), "tree"))
    [array([111.]), array([111.]), array([111.])]

    Notes
    -----
    Chapter: data parallelism.
    """
    reduce = lookup("all_reduce algorithm", algorithm, ALL_REDUCE)
    _check_buffer(array, "all_reduce")
    reduce(comm, array)
    return array


def all_gather(comm: Comm, array: Array) -> list[Array]:
    """Give every rank the arrays of all ranks; shapes may differ.

    Each rank sends its array to each other one: p (p - 1) messages.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    array : array, any shape
        This rank's contribution.

    Returns
    -------
    list of arrays
        By rank; this rank's own entry is a copy.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: all_gather(comm, np.arange(comm.rank + 1)))[0]
    [array([0]), array([0, 1])]

    Notes
    -----
    Chapter: data parallelism.
    """
    for offset in range(1, comm.size):
        comm.send((comm.rank + offset) % comm.size, "all_gather", array)
    return [
        array.copy() if source == comm.rank else comm.recv(source, "all_gather")
        for source in range(comm.size)
    ]


def barrier(comm: Comm) -> None:
    """Return only when every rank has called barrier: 2 (p - 1) empty messages.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, barrier)
    [None, None]

    Notes
    -----
    Chapter: data parallelism.
    """
    all_reduce(comm, np.zeros(0), "tree")


def all_agree(comm: Comm, flag: bool) -> bool:
    """Return True, on every rank, if every rank says True; else False, on every rank.

    Decisions such as stopping early must be taken by all ranks or by none: a rank that stopped
    alone would leave the others waiting for its gradient.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: all_agree(comm, comm.rank == 0))
    [False, False]

    Notes
    -----
    Chapter: data parallelism.
    """
    votes = np.array([int(flag)])
    return bool(all_reduce(comm, votes, "tree")[0] == comm.size)


def _check_buffer(array: Array, where: str) -> None:
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        kind = "a read-only array" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"{where} works in place and needs a writable NumPy array, got {kind}; pass a copy."
        )
