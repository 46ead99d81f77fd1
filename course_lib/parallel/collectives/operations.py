"""The collectives: sums, copies, votes, and small objects, on the patterns in `algorithms`.

Chapter: data parallelism.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.collectives.algorithms import (
    ALL_REDUCE,
    REDUCE_SCATTER,
    tree_broadcast,
    tree_links,
)
from course_lib.parallel.comm import Comm, Reduces
from course_lib.registry import lookup


def all_reduce(comm: Comm, array: Array, algorithm: str = "auto") -> Array:
    r"""Replace each rank's array by the sum over all ranks, in place; return it.

    .. math:: a_r \leftarrow \sum_{q=0}^{p-1} a_q

    The algorithms differ in who waits for whom, in what each rank sends
    (:func:`~course_lib.parallel.cost.traffic`), and in the order of the additions, hence in the
    last bits.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    array : array, any shape
        Overwritten by the sum. Fastest, on a channel of shared memory: from ``comm.buffer``.
    algorithm : {"auto", "ordered", "tree", "ring", "recursive_doubling"}
        ``"ordered"``: rank 0 adds the arrays in rank order, ((a0 + a1) + a2) + ..., and sends
        the sum to each: easy to follow, p - 1 messages through one rank. ``"tree"``: pairs add,
        then pairs of pairs, (a0 + a1) + (a2 + a3), and the sum goes back down the same tree:
        2 ceil(log2 p) rounds. ``"ring"``: the p parts of the array go round a ring, first to be
        added, then as sums: 2 (p - 1) small messages per rank, the least bytes.
        ``"recursive_doubling"``: in round k, ranks at distance 2^k exchange their sums: the
        fewest rounds, log2 p. ``"auto"``: whatever the channel can do faster than by messages
        (:class:`~course_lib.parallel.comm.Reduces`); else as "ordered".

    Raises
    ------
    ValueError
        If a rank passed another size or dtype, or the algorithm is not known. Where whole arrays
        are sent (not in a ring, nor in shared memory), shapes are compared too.

    References
    ----------
    Thakur, Rabenseifner & Gropp 2005; Patarasuk & Yuan 2009 (ring).

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(3, lambda comm: all_reduce(comm, np.array([10.0**comm.rank]), "tree"))
    [array([111.]), array([111.]), array([111.])]
    """
    reduce = lookup("all_reduce algorithm", algorithm, ALL_REDUCE)
    _check_buffer(array, "all_reduce")
    contiguous = np.asarray(array, order="C")
    reduce(comm, contiguous)
    if contiguous is not array:
        array[...] = contiguous
    return array


def reduce_scatter(comm: Comm, array: Array, algorithm: str = "auto") -> Array:
    r"""Add the arrays of all ranks, and leave each rank with its part of the sum.

    .. math:: a_r[\text{part } r] \leftarrow \sum_{q=0}^{p-1} a_q[\text{part } r]

    Followed by an :func:`~course_lib.parallel.collectives.all_gather` of the parts it is an
    all-reduce; between the two, each rank can work on its part alone
    (:class:`~course_lib.parallel.ZeRO1`). Each rank sends p - 1
    messages, which are (p - 1) / p of the array together.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    array : array, any shape, C-contiguous
        This rank's summand; overwritten, and worthless outside of the part that is returned.
    algorithm : {"auto", "ordered", "ring"}
        ``"ordered"``: each part is sent to its rank, which adds in rank order: the same bits as
        in an ordered all-reduce. ``"ring"``: the parts go round a ring. ``"auto"``: as for
        :func:`all_reduce`.

    Returns
    -------
    array, shape (part,)
        This rank's part of the sum: a view of `array`, flattened and cut as ``np.array_split``
        cuts, so the first parts may be longer by one.

    Raises
    ------
    ValueError
        If a rank passed another size or dtype, or the algorithm is not known.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: reduce_scatter(comm, np.array([1.0, 2.0, 3.0])))
    [array([2., 4.]), array([6.])]
    """
    reduce = lookup("reduce_scatter algorithm", algorithm, REDUCE_SCATTER)
    _check_buffer(array, "reduce_scatter")
    if not array.flags.c_contiguous:
        raise ValueError(
            f"reduce_scatter: the array of shape {array.shape} must be C-contiguous, because a "
            "view of it is returned; pass array.copy()."
        )
    reduce(comm, array)
    return np.array_split(array.reshape(-1), comm.size)[comm.rank]


def broadcast(comm: Comm, array: Array, *, root: int = 0) -> Array:
    r"""Copy the array of rank `root` into the arrays of all others, in place; return it.

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

    Raises
    ------
    ValueError
        If a rank passed another shape or dtype, or `root` is not a rank.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: broadcast(comm, np.array([comm.rank + 5.0])))
    [array([5.]), array([5.])]
    """
    _check_root(comm, root, "broadcast")
    _check_buffer(array, "broadcast")
    tree_broadcast(comm, array, root)
    return array


def all_gather(comm: Comm, array: Array) -> list[Array]:
    """Give every rank the arrays of all ranks, by rank and copied; shapes may differ.

    Each rank sends its array to each other one: p (p - 1) messages.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: all_gather(comm, np.arange(comm.rank + 1)))[0]
    [array([0]), array([0, 1])]
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
    """
    votes = np.array([int(flag)])
    return bool(all_reduce(comm, votes, _quickest(comm))[0] == comm.size)


def all_gather_object(comm: Comm, thing: Any) -> list[Any]:
    """Give every rank the objects of all ranks, by rank; they travel as JSON.

    The messages are those of :func:`all_gather`, which is for what is large: arrays.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    thing : object
        None, booleans, numbers, strings, and lists and dictionaries of them, with strings as keys;
        a tuple arrives as a list.

    Raises
    ------
    TypeError
        If an object has no form in JSON.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: all_gather_object(comm, {"host": "ab"[comm.rank]}))[0]
    [{'host': 'a'}, {'host': 'b'}]
    """
    return [_decoded(data) for data in all_gather(comm, _encoded(thing, "all_gather_object"))]


def broadcast_object(comm: Comm, thing: Any = None, *, root: int = 0) -> Any:
    """Give every rank a copy of the object of rank `root`; it travels as JSON.

    The messages are those of :func:`broadcast`, but only `root` need know how long they are.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    thing : object
        On `root`, as for :func:`all_gather_object`; not looked at elsewhere.
    root : int
        The rank that has the object.

    Raises
    ------
    TypeError
        If the object has no form in JSON.
    ValueError
        If `root` is not a rank.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> def tell(comm):
    ...     return broadcast_object(comm, ["localhost", 8786] if comm.rank == 0 else None)
    >>> run_threads(3, tell)
    [['localhost', 8786], ['localhost', 8786], ['localhost', 8786]]
    """
    _check_root(comm, root, "broadcast_object")
    source, targets = tree_links(comm, root)
    if source is None:
        data = _encoded(thing, "broadcast_object")
    else:
        data = comm.recv(source, "broadcast_object")
    for target in targets:
        comm.send(target, "broadcast_object", data)
    return _decoded(data)


def _check_buffer(array: Array, where: str) -> None:
    """Raise unless `array` can be overwritten."""
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        kind = "a read-only array" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"{where} works in place and needs a writable NumPy array, got {kind}; pass a copy."
        )


def _check_root(comm: Comm, root: int, where: str) -> None:
    if not 0 <= root < comm.size:
        raise ValueError(f"{where}: root must be a rank in 0..{comm.size - 1}, got {root}.")


def _encoded(thing: Any, where: str) -> Array:
    """Return an object's JSON, as bytes in an array."""
    try:
        return np.frombuffer(json.dumps(thing).encode(), np.uint8)
    except (TypeError, ValueError) as error:  # ValueError: it contains itself
        raise TypeError(
            f"{where}: the object can not be sent as JSON ({error}); expected None, booleans, "
            "numbers, strings, and lists and dictionaries of them. Send arrays with all_gather "
            "or broadcast."
        ) from error


def _decoded(data: Array) -> Any:
    return json.loads(data.tobytes())


def _quickest(comm: Comm) -> str:
    """Choose where the order of additions does not matter: whole numbers, or none at all."""
    return "auto" if isinstance(comm, Reduces) else "tree"
