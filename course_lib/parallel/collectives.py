"""Collectives: operations in which every rank takes part, written once on send and recv.

Every rank must call the same collectives in the same order with arrays of the same shape; a rank
that leaves one out makes the others wait until their timeout. Results are the same bits on every
rank.

Chapter: data parallelism.
"""

from __future__ import annotations

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.algorithms import tree_broadcast
from course_lib.parallel.comm import Comm, Reduces
from course_lib.parallel.reductions import all_reduce, check_buffer, reduce_scatter

__all__ = ["all_agree", "all_gather", "all_reduce", "barrier", "broadcast", "reduce_scatter"]


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
    check_buffer(array, "broadcast")
    tree_broadcast(comm, array, root)
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
    """Return only when every rank has called barrier.

    2 (p - 1) empty messages, unless the channel has something better.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, barrier)
    [None, None]

    Notes
    -----
    Chapter: data parallelism.
    """
    all_reduce(comm, np.zeros(0), _quickest(comm))


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
    return bool(all_reduce(comm, votes, _quickest(comm))[0] == comm.size)


def _quickest(comm: Comm) -> str:
    """Choose where the order of additions does not matter: whole numbers, or none at all."""
    return "auto" if isinstance(comm, Reduces) else "tree"
