r"""Send a matrix as the product of a tall and a wide one: PowerSGD.

A gradient matrix M (n, m) is sent as :math:`\hat P Q^\top` with r columns each: r (n + m) numbers
instead of n m. One step of a power iteration per training step is enough, because it starts where
the one before ended and gradients change slowly. Unlike other codecs this one commutes with
adding: P and Q of the sum are the sums of the ranks' P and Q, so that they can be all-reduced.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from course_lib.arrays import Array, check_integer
from course_lib.network import Network


class LowRank(NamedTuple):
    """What one exchange gives.

    Attributes
    ----------
    total : list of arrays, shapes (n, m)
        Near the sums of the ranks' matrices; the same on every rank.
    sent : list of arrays, shapes (n, m)
        This rank's parts: those of all ranks add up to `total`.
    vectors : list of arrays
        The sums of the ranks' vectors, exact.
    qs : list of arrays, shapes (m, r)
        Where to start next time; the same on every rank.
    """

    total: list[Array]
    sent: list[Array]
    vectors: list[Array]
    qs: list[Array]


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

    Parameters
    ----------
    matrices : sequence of arrays, shapes (n, m)
        This rank's :math:`M_w`.
    vectors : sequence of arrays
        What is added as it is, with the P: biases.
    qs : sequence of arrays, shapes (m, r)
        From the step before, the same on every rank; at first random. r <= min(n, m).
    add : callable
        Returns, of a list of arrays, the sums over all ranks. Called twice.

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

    Notes
    -----
    Chapter: asynchronous, local and compressed training.
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


@dataclass(frozen=True)
class PowerSGD:
    r"""Send each weight matrix with r columns; biases as they are.

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

    Notes
    -----
    Chapter: asynchronous, local and compressed training.
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
        """Return the bytes that are all-reduced in one step: P and Q of each matrix, and biases."""
        pairs = zip(_matrices(net), self.shapes(net), strict=True)
        factors = sum((n + m) * r for (n, m), (_, r) in pairs)
        biases = net.n_params - sum(n * m for n, m in _matrices(net))
        return (factors + biases) * np.dtype(dtype).itemsize


def _matrices(net: Network) -> list[tuple[int, int]]:
    return [s for layer in net.layers for s in layer.shapes().values() if len(s) == 2]


def _orthonormal(matrix: Array) -> Array:
    """Return orthonormal columns that span those of `matrix`, completed where these depend."""
    # The paper uses Gram-Schmidt; Householder's QR needs no care where columns (nearly) depend.
    return np.linalg.qr(matrix)[0]
