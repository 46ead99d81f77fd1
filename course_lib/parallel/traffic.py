"""Who sends how much: the messages and bytes of each rank in an all-reduce, counted, not timed.

The counters of a communicator (``comm.counters``) show these numbers after a real run.

Chapter: collectives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from course_lib.arrays import check_integer
from course_lib.registry import lookup


class Traffic(NamedTuple):
    """What one rank sends; bytes of array data only."""

    messages: int
    bytes: float


def traffic(p: int, n: float, algorithm: str = "ordered") -> list[Traffic]:
    r"""Return what each of p ranks sends in one all-reduce of n bytes.

    Parameters
    ----------
    p : int
        The number of ranks.
    n : float
        The bytes of each rank's array.
    algorithm : {"ordered", "tree", "ring", "recursive_doubling"}
        As for :func:`~course_lib.parallel.collectives.all_reduce`. A ring sends parts, of
        :math:`n / p` bytes each if p divides the number of elements; else single ranks differ
        from this by an element or so, and only the sum over all ranks is exact.

    Returns
    -------
    list of Traffic
        By rank.

    Raises
    ------
    ValueError
        If the algorithm is not known.

    References
    ----------
    Thakur, Rabenseifner & Gropp 2005; Patarasuk & Yuan 2009 (ring).

    Examples
    --------
    >>> [rank.messages for rank in traffic(4, 800, "ordered")]  # rank 0 answers all
    [3, 1, 1, 1]
    >>> [rank.bytes for rank in traffic(4, 800, "ring")]  # all alike: 2 (p - 1) / p of the array
    [1200.0, 1200.0, 1200.0, 1200.0]

    Notes
    -----
    Chapter: collectives.
    """
    check_integer(p, where="traffic", name="p", at_least=1)
    count = lookup("all_reduce algorithm", algorithm, _MESSAGES)
    part = n / p if algorithm == "ring" else n
    return [Traffic(m, m * part) for m in (count(rank, p) for rank in range(p))]


def _ordered(rank: int, p: int) -> int:
    return p - 1 if rank == 0 else 1


def _tree(rank: int, p: int) -> int:
    """Count one message up (not for rank 0), and down one to each child of the broadcast."""
    children = sum(rank < 1 << k and rank + (1 << k) < p for k in range(p.bit_length()))
    return (rank > 0) + children


def _ring(rank: int, p: int) -> int:
    return 2 * (p - 1)


def _recursive_doubling(rank: int, p: int) -> int:
    """Count one message per round; the ranks beyond a power of two only hand in to a partner."""
    rounds = p.bit_length() - 1
    extra = p - (1 << rounds)
    # As in Thakur et al.: of the first 2 * extra ranks, the even ones hand in to the odd ones.
    if rank >= 2 * extra:
        return rounds
    return 1 if rank % 2 == 0 else rounds + 1


_MESSAGES: dict[str, Callable[[int, int], int]] = {
    "ordered": _ordered,
    "tree": _tree,
    "ring": _ring,
    "recursive_doubling": _recursive_doubling,
}
