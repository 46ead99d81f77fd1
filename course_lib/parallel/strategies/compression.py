r"""Send less of a gradient: its largest entries, each entry in one byte, or matrices of low rank.

:class:`TopK` and :class:`Int8` are pairs of pure functions: ``encode(vector)`` gives the arrays to
send, ``decode`` makes of them a vector that is near the first one. :class:`PowerSGD` sends a matrix
M (n, m) as :math:`\hat P Q^\top`, with r columns each: r (n + m) numbers instead of n m. One step
of a power iteration per training step is enough, because it starts where the one before ended and
gradients change slowly; and it commutes with adding: P and Q of the sum are the sums of the ranks'
P and Q, so that they can be all-reduced. What gets lost on the way need not be lost for good:
:class:`~course_lib.parallel.Compressed` adds it to the next gradient.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from course_lib.arrays import Array, check_integer, check_number
from course_lib.network import Network

# Entries that share one scale in Int8: few enough that a large one spoils the step of few others,
# so many that the scales weigh little (8 bytes on 1024).
BLOCK = 1024


@dataclass(frozen=True)
class TopK:
    r"""Send the fraction of the entries that are largest in magnitude, with their positions.

    .. math:: k = \max(1, \lceil f n \rceil)

    The entries that are sent are exact.

    Parameters
    ----------
    fraction : float
        f in (0, 1].

    Raises
    ------
    ValueError
        If the fraction is out of range.

    References
    ----------
    Aji & Heafield 2017; Lin et al. 2018 (Deep Gradient Compression, here without its corrections
    for momentum).

    Examples
    --------
    >>> codec = TopK(0.5)
    >>> positions, values = codec.encode(np.array([1.0, -4.0, 0.5, 3.0]))
    >>> positions, values
    (array([1, 3], dtype=uint32), array([-4.,  3.]))
    >>> codec.decode([positions, values], 4)
    array([ 0., -4.,  0.,  3.])
    >>> codec.message_bytes(4, float) == 2 * (4 + 8)
    True
    """

    fraction: float

    def __post_init__(self) -> None:
        share = check_number(self.fraction, where="TopK", name="fraction", above=0, at_most=1)
        object.__setattr__(self, "fraction", share)

    def encode(self, vector: Array, rng: np.random.Generator | None = None) -> list[Array]:
        """Return the positions (k,), 4 bytes each, and the values (k,); `rng` is not used."""
        k = self._count(len(vector))
        positions = np.argpartition(np.abs(vector), len(vector) - k)[len(vector) - k :]
        positions.sort()  # neighbours in memory are then written one after the other
        return [positions.astype(np.uint32), vector[positions]]

    def decode(self, message: Sequence[Array], n: int) -> Array:
        """Return the vector (n,) with the values at their positions, zero elsewhere."""
        positions, values = message
        vector = np.zeros(n, values.dtype)
        vector[positions] = values
        return vector

    def message_bytes(self, n: int, dtype: DTypeLike) -> int:
        """Return the bytes of a message for n numbers: k positions and k values."""
        return self._count(n) * (4 + np.dtype(dtype).itemsize)

    def _count(self, n: int) -> int:
        # 0.07 * 100 is 7.000000000000001: a rounding must not add an entry.
        return min(n, max(1, math.ceil(self.fraction * n * (1 - 1e-12))))


@dataclass(frozen=True)
class Int8:
    r"""Send each entry as a whole number of steps in one byte, and the step of each block.

    .. math:: q_i = \mathrm{round}(v_i / s), \quad s = \max_{\text{block}} |v| / 127

    Rounding is to the nearest without a generator, and at random with one: up with the probability
    of the fraction, so that the expected value is :math:`v_i` (unbiased).

    References
    ----------
    Seide et al. 2014 (rounding with feedback, to 1 bit); Alistarh et al. 2017 (QSGD: at random).

    Examples
    --------
    >>> codec = Int8()
    >>> q, step = codec.encode(np.array([-12.7, 0.0, 3.14]))
    >>> q, step
    (array([-127,    0,   31], dtype=int8), array([0.1]))
    >>> codec.decode([q, step], 3)
    array([-12.7,   0. ,   3.1])
    >>> codec.message_bytes(3, float) == 3 + 8
    True
    """

    def encode(self, vector: Array, rng: np.random.Generator | None = None) -> list[Array]:
        """Return the numbers of steps (n,), int8, and the steps, one per block of 1024."""
        starts = np.arange(0, len(vector), BLOCK)
        steps = np.maximum.reduceat(np.abs(vector), starts) / vector.dtype.type(127)
        every = np.repeat(steps, BLOCK)[: len(vector)]
        scaled = np.divide(vector, every, out=np.zeros_like(vector), where=every > 0)
        scaled = np.rint(scaled) if rng is None else np.floor(scaled + rng.random(len(vector)))
        # A quotient may exceed 127 by a rounding.
        return [np.clip(scaled, -127, 127).astype(np.int8), steps]

    def decode(self, message: Sequence[Array], n: int) -> Array:
        """Return the vector (n,): numbers of steps times steps."""
        numbers, steps = message
        vector: Array = numbers * np.repeat(steps, BLOCK)[:n]
        return vector

    def message_bytes(self, n: int, dtype: DTypeLike) -> int:
        """Return the bytes of a message for n numbers: n, and a step per block."""
        return n + -(-n // BLOCK) * np.dtype(dtype).itemsize


@dataclass(frozen=True)
class PowerSGD:
    r"""Send each weight matrix with r columns; biases, and what else is no matrix, as they are.

    A matrix (n, m) smaller than that gets r = min(n, m), and loses nothing.

    Parameters
    ----------
    rank : int
        r; of use where r (n + m) is much smaller than n m.

    Raises
    ------
    ValueError
        If the rank is below 1.

    References
    ----------
    Vogels, Karimireddy & Jaggi 2019.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([784, 512, 10])
    >>> 8 * net.n_params, PowerSGD(4).message_bytes(net, float)
    (3256400, 62352)
    """

    rank: int

    def __post_init__(self) -> None:
        check_integer(self.rank, where="PowerSGD", name="rank", at_least=1)

    def shapes(self, net: Network) -> list[tuple[int, int]]:
        """Return the shape (m, r) of Q for each weight matrix (n, m) of a network."""
        return [(m, min(self.rank, n, m)) for n, m in _matrices(net)]

    def start(self, net: Network, dtype: DTypeLike, seed: int) -> list[Array]:
        """Draw the first Q of each matrix: the same on every rank."""
        rng = np.random.default_rng([seed, 3])  # apart from the streams of weights, order and noise
        return [rng.normal(size=shape).astype(dtype) for shape in self.shapes(net)]

    def message_bytes(self, net: Network, dtype: DTypeLike) -> int:
        """Return the bytes all-reduced in one step: P and Q of each matrix, and all else."""
        pairs = zip(_matrices(net), self.shapes(net), strict=True)
        factors = sum((n + m) * r for (n, m), (_, r) in pairs)
        rest = net.n_params - sum(n * m for n, m in _matrices(net))
        return (factors + rest) * np.dtype(dtype).itemsize


def _matrices(net: Network) -> list[tuple[int, int]]:
    return [s for layer in net.layers for s in layer.shapes().values() if len(s) == 2]


class LowRank(NamedTuple):
    """What one exchange gives; all but `sent` is the same on every rank."""

    total: list[Array]  # near the sums of the ranks' matrices (n, m)
    sent: list[Array]  # this rank's parts: those of all ranks add up to `total`
    vectors: list[Array]  # the sums of the ranks' vectors, exact
    qs: list[Array]  # (m, r), where to start next time


def power_step(
    matrices: Sequence[Array],
    vectors: Sequence[Array],
    qs: Sequence[Array],
    add: Callable[[list[Array]], list[Array]],
) -> LowRank:
    r"""Approximate the sums of the ranks' matrices by matrices of rank r.

    .. math:: P = \sum_w M_w \hat Q, \quad \hat P = \mathrm{orth}(P), \quad
              Q = \sum_w M_w^\top \hat P, \quad \sum_w M_w \approx \hat P Q^\top

    The old Q is made orthonormal, too, which the paper does not do. It spans the same space, and
    so gives the same :math:`\hat P`; but once a gradient has had a lower rank than r (a batch of
    fewer rows), Q has dependent columns, and some of its r would be lost for good.

    Vectors are added as they are, with the P; `qs`, shapes (m, r) with r <= min(n, m), are those
    of the step before, the same on every rank, and at first random. ``add`` returns, of a list of
    arrays, the sums over all ranks.

    References
    ----------
    Vogels, Karimireddy & Jaggi 2019, Algorithm 1 (with sums where they have means).

    Examples
    --------
    >>> matrix = np.outer([1.0, 2.0, 3.0], [1.0, -1.0])  # of rank 1: nothing is lost
    >>> power_step([matrix], [], [np.array([[1.0], [0.0]])], add=list).total[0].round(12)
    array([[ 1., -1.],
           [ 2., -2.],
           [ 3., -3.]])
    """
    left = [m @ _orthonormal(q) for m, q in zip(matrices, qs, strict=True)]
    sums = add([*left, *vectors])
    ps = [_orthonormal(p) for p in sums[: len(left)]]
    right = [m.T @ p for m, p in zip(matrices, ps, strict=True)]
    new = add(right)
    return LowRank(
        total=[p @ q.T for p, q in zip(ps, new, strict=True)],
        sent=[p @ q.T for p, q in zip(ps, right, strict=True)],
        vectors=sums[len(left) :],
        qs=new,
    )


def _orthonormal(matrix: Array) -> Array:
    """Return orthonormal columns that span those of `matrix`, completed where these depend."""
    # The paper uses Gram-Schmidt; Householder's QR needs no care where columns (nearly) depend.
    return np.linalg.qr(matrix)[0]
