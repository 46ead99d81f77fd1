r"""What a message costs: :math:`\alpha` seconds to start it, and :math:`\beta` seconds per byte.

From these two numbers of a channel follows the time of every collective, because each is a chain
of messages: so many one after another, carrying so many bytes. The additions are not counted; on
one machine they go along with the copying. All ranks are taken to send and receive at once, which
p ranks on fewer than p cores do not. :func:`fit_alpha_beta` finds the two numbers from the times of
messages of several sizes; :func:`traffic` counts what each rank sends, which the counters of a
communicator (``comm.counters``) show after a real run.

Chapter: collectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer, check_number, check_numbers, shown
from course_lib.registry import lookup


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
    """

    alpha: float
    beta: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = check_number(getattr(self, name), where="AlphaBeta", name=name, at_least=0)
            object.__setattr__(self, name, value)

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
        p = _check_ranks(p)
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
        p = _check_ranks(p)
        rounds, each = CHAINS["recursive_doubling"](p)
        messages, volume = CHAINS["ring"](p)
        saved = (each - volume) * self.beta
        return (messages - rounds) * self.alpha / saved if saved > 0 else math.inf

    def _chain(self, messages: int, volume: float, n: float) -> float:
        n = check_number(n, where="AlphaBeta", name="n (bytes)", at_least=0)
        return messages * self.alpha + volume * n * self.beta


def fit_alpha_beta(measurements: Sequence[tuple[float, float]]) -> AlphaBetaFit:
    r"""Find the channel that comes nearest to measured times, in relative terms.

    .. math:: \min_{\alpha, \beta \ge 0} \; \sum_i
              \left( \frac{\alpha + \beta n_i - t_i}{t_i} \right)^2

    Without the division a 10 MB message would outweigh all small ones, and alpha, which only
    those can tell, would be noise.

    Parameters
    ----------
    measurements : sequence of (bytes, seconds)
        At least two different sizes, best from a few bytes to as large as will be sent. Of
        repeated measurements give the median: interruptions only ever make a message slower.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, or a size is negative, or a time not above 0.

    Examples
    --------
    >>> fit_alpha_beta([(0, 1e-3), (1_000_000, 3e-3), (2_000_000, 5e-3)]).model
    AlphaBeta(alpha=0.001, beta=2e-09)
    """
    sizes, times = _measured(measurements)
    scale = sizes.max()  # else the two columns would differ by a factor of millions
    columns = np.stack([np.ones_like(sizes), sizes / scale], axis=1) / times[:, None]
    # Two unknowns: if one would be negative, the best admissible point has it at zero.
    candidates = [np.linalg.lstsq(columns, np.ones_like(times))[0]]
    if candidates[0].min() < 0:
        first, second = (c.sum() / (c @ c) for c in columns.T)
        candidates = [np.array([first, 0.0]), np.array([0.0, second])]
    errors = [float(np.sqrt(np.mean((columns @ c - 1) ** 2))) for c in candidates]
    best = int(np.argmin(errors))
    alpha, beta = candidates[best] / (1.0, scale)
    return AlphaBetaFit(AlphaBeta(float(alpha), float(beta)), errors[best])


class AlphaBetaFit(NamedTuple):
    """A fitted channel, and how far the measurements are from it.

    Attributes
    ----------
    model : AlphaBeta
        The channel.
    error : float
        Root mean square of the relative errors, (model - measured) / measured: 0.1 means that
        the model is off by 10 % where it was fitted.
    """

    model: AlphaBeta
    error: float


def traffic(p: int, n: float, algorithm: str = "ordered") -> list[Traffic]:
    r"""Return what each of p ranks sends in one all-reduce of n bytes, by rank.

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
    """
    p = check_integer(p, where="traffic", name="p", at_least=1)
    n = check_number(n, where="traffic", name="n (bytes)", at_least=0)
    count = lookup("all_reduce algorithm", algorithm, _MESSAGES)
    part = n / p if algorithm == "ring" else n
    return [Traffic(m, m * part) for m in (count(rank, p) for rank in range(p))]


class Traffic(NamedTuple):
    """What one rank sends; bytes of array data only."""

    messages: int
    bytes: float


CHAINS: dict[str, Callable[[int], tuple[int, float]]] = {
    "ordered": lambda p: (2 * (p - 1), 2 * (p - 1)),
    "tree": lambda p: (2 * _rounds(p), 2 * _rounds(p)),
    "ring": lambda p: (2 * (p - 1), 2 * (p - 1) / p),
    "recursive_doubling": lambda p: (_doubling_rounds(p), _doubling_rounds(p)),
}
"""Of p: the messages in the longest chain of each all-reduce, and the bytes in it in units of n.

Examples
--------
>>> {name: chain(4) for name, chain in CHAINS.items()}
{'ordered': (6, 6), 'tree': (4, 4), 'ring': (6, 1.5), 'recursive_doubling': (2, 2)}
"""


def _rounds(p: int) -> int:
    """Return ceil(log2 p) in integers: log2 of a float may land on the wrong side."""
    return (p - 1).bit_length()


def _doubling_rounds(p: int) -> int:
    """Count rounds of pairs; ranks beyond a power of two hand in before and are told after."""
    power = 1 << (p.bit_length() - 1)
    return _rounds(power) + (2 if p > power else 0)


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


def _check_ranks(p: int) -> int:
    return check_integer(p, where="AlphaBeta", name="p (the number of ranks)", at_least=1)


def _measured(measurements: Sequence[tuple[float, float]]) -> tuple[Array, Array]:
    table = check_numbers(measurements, where="fit_alpha_beta", name="measurements").astype(float)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(
            "fit_alpha_beta: measurements must be pairs (bytes, seconds), got an array of shape "
            f"{table.shape}."
        )
    sizes, times = table.T
    if not (np.isfinite(table).all() and (sizes >= 0).all() and (times > 0).all()):
        raise ValueError(
            "fit_alpha_beta: measurements must hold sizes >= 0 and times > 0, all finite, got "
            f"{shown(table.tolist())}; a time of 0 means that the clock is too coarse: time many "
            "messages together."
        )
    if len(set(sizes.tolist())) < 2:
        raise ValueError(
            "fit_alpha_beta: measurements must be of at least two sizes, got "
            f"{shown(table.tolist())}; one size cannot tell latency from bandwidth."
        )
    return sizes, times
