r"""What a message costs: :math:`\alpha` seconds to start it, and :math:`\beta` seconds per byte.

From these two numbers of a channel follows the time of every collective, because each is a chain
of messages: so many one after another, carrying so many bytes. The additions are not counted; on
one machine they go along with the copying. All ranks are taken to send and receive at once, which
p ranks on fewer than p cores do not.

Chapter: collectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from course_lib.arrays import check_integer
from course_lib.registry import lookup


def _rounds(p: int) -> int:
    """Return ceil(log2 p) in integers: log2 of a float may land on the wrong side."""
    return (p - 1).bit_length()


def _doubling_rounds(p: int) -> int:
    """Count rounds of pairs; ranks beyond a power of two hand in before and are told after."""
    power = 1 << (p.bit_length() - 1)
    return _rounds(power) + (2 if p > power else 0)


# Name -> p -> (messages in the longest chain, bytes along it in units of n). p ranks, n bytes.
CHAINS: dict[str, Callable[[int], tuple[int, float]]] = {
    "ordered": lambda p: (2 * (p - 1), 2 * (p - 1)),
    "tree": lambda p: (2 * _rounds(p), 2 * _rounds(p)),
    "ring": lambda p: (2 * (p - 1), 2 * (p - 1) / p),
    "recursive_doubling": lambda p: (_doubling_rounds(p), _doubling_rounds(p)),
}
"""How long the longest chain of messages of each all-reduce is.

Examples
--------
>>> {name: chain(4) for name, chain in CHAINS.items()}
{'ordered': (6, 6), 'tree': (4, 4), 'ring': (6, 1.5), 'recursive_doubling': (2, 2)}
"""


@dataclass(frozen=True)
class AlphaBeta:
    r"""A channel by its latency and its time per byte.

    .. math:: T(n) = \alpha + \beta n

    Parameters
    ----------
    alpha : float
        Latency in seconds: the time of an empty message.
    beta : float
        Seconds per byte: 1 / bandwidth.

    Raises
    ------
    ValueError
        If one is negative or not finite.

    References
    ----------
    Hockney 1994 (the model); Thakur, Rabenseifner & Gropp 2005 (collectives from it).

    Examples
    --------
    >>> channel = AlphaBeta(alpha=1e-3, beta=1e-9)  # a millisecond, 1 GB/s
    >>> channel.message(1_000_000)
    0.002
    >>> [round(1e3 * channel.all_reduce(8, 8_000_000, name), 2) for name in CHAINS]
    [126.0, 54.0, 28.0, 27.0]

    Notes
    -----
    Chapter: collectives.
    """

    alpha: float
    beta: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"AlphaBeta: {name} must be a finite number >= 0, got {value!r}.")

    def message(self, n: float) -> float:
        """Return the seconds that one message of n bytes takes."""
        return self._chain(1, 1, n)

    def broadcast(self, p: int, n: float) -> float:
        r"""Return the seconds to copy n bytes from one rank to all p, by a binomial tree.

        .. math:: \lceil\log_2 p\rceil\, (\alpha + \beta n)
        """
        rounds = _rounds(_check_ranks(p))
        return self._chain(rounds, rounds, n)

    def reduce_scatter(self, p: int, n: float) -> float:
        r"""Return the seconds to add p arrays of n bytes and leave rank r with the r-th part.

        .. math:: (p - 1)\, \alpha + \frac{p - 1}{p}\, \beta n
        """
        _check_ranks(p)
        return self._chain(p - 1, (p - 1) / p, n)

    def all_gather(self, p: int, n: float) -> float:
        r"""Return the seconds to give every rank all p parts, n bytes together.

        The same whether the parts travel round a ring or each goes straight to each rank.

        .. math:: (p - 1)\, \alpha + \frac{p - 1}{p}\, \beta n
        """
        return self.reduce_scatter(p, n)

    def all_reduce(self, p: int, n: float, algorithm: str = "ordered") -> float:
        r"""Return the seconds to add p arrays of n bytes and leave the sum on every rank.

        ==================== ==========================================================
        ordered              :math:`2 (p - 1) (\alpha + \beta n)`
        tree                 :math:`2 \lceil\log_2 p\rceil\, (\alpha + \beta n)`
        ring                 :math:`2 (p - 1)\, \alpha + 2 \frac{p - 1}{p}\, \beta n`
        recursive_doubling   :math:`\log_2 p\, (\alpha + \beta n)`; 2 rounds more than
                             :math:`\lfloor\log_2 p\rfloor` if p is not a power of two
        ==================== ==========================================================

        Raises
        ------
        ValueError
            If the algorithm is not known.
        """
        chain = lookup("all_reduce algorithm", algorithm, CHAINS)
        return self._chain(*chain(_check_ranks(p)), n)

    def crossover(self, p: int) -> float:
        r"""Return from how many bytes on a ring is the faster all-reduce, not recursive doubling.

        .. math:: n^* = \frac{\alpha}{\beta} \cdot
                  \frac{2 (p - 1) - R}{R - 2 (p - 1) / p}

        with the R rounds of recursive doubling, :math:`\log_2 p` if p is a power of two. Infinite
        where the ring never wins: for p up to 2, and on a channel whose bytes cost nothing.

        Examples
        --------
        >>> AlphaBeta(alpha=50e-6, beta=0.8e-9).crossover(8)  # 10 Gbit/s
        550000.0
        """
        rounds, each = CHAINS["recursive_doubling"](_check_ranks(p))
        messages, volume = CHAINS["ring"](p)
        saved = (each - volume) * self.beta
        return (messages - rounds) * self.alpha / saved if saved > 0 else math.inf

    def _chain(self, messages: int, volume: float, n: float) -> float:
        if not 0 <= n < math.inf:
            raise ValueError(f"AlphaBeta: n must be a number of bytes >= 0, got {n!r}.")
        return messages * self.alpha + volume * n * self.beta


def _check_ranks(p: int) -> int:
    return check_integer(p, where="AlphaBeta", name="p (the number of ranks)", at_least=1)
