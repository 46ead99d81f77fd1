r"""Dense layers split over ranks: by columns, then by rows, so that a pair needs one sum each way.

.. math:: f(x W_1)\, W_2 = \sum_r f\left(x W_1^{(r)}\right) W_2^{(r)}, \quad
          W_1 = \left[W_1^{(0)}\; W_1^{(1)} \cdots\right], \quad
          W_2 = \begin{bmatrix} W_2^{(0)} \\ W_2^{(1)} \\ \vdots \end{bmatrix}

A rank computes some of the hidden units, all the way to their share of the outputs; the activation
in between acts on each unit by itself, and so needs no message.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.dropout import Dropout
from course_lib.layers import Dense, Empty, Noise, Params, fresh
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import Comm


@dataclass(frozen=True)
class Operators:
    """The operators f and g at the two ends of a pair: what one does forward, the other does back.

    =========  ==============  ==============
    operator   forward         backward
    =========  ==============  ==============
    f          nothing         sum over ranks
    g          sum over ranks  nothing
    =========  ==============  ==============

    Parameters
    ----------
    comm : Comm
        The ranks that share the layers.
    algorithm : str
        How to add, see :func:`~course_lib.parallel.collectives.all_reduce`.
    clock : Stopwatch
        Where to book compute and communication time.

    References
    ----------
    Shoeybi et al. 2019 (Megatron-LM), section 3 and figure 3.

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """

    comm: Comm
    algorithm: str = "auto"
    clock: Stopwatch = field(default_factory=Stopwatch)

    def f(self, x: Array) -> Array:
        """Let every rank use the same x."""
        return x

    def f_backward(self, dx: Array) -> Array:
        """Add, in place, what the ranks' columns say about dx: x was used by all of them."""
        return self._sum(dx)

    def g(self, z: Array) -> Array:
        """Add, in place, the ranks' shares of z."""
        return self._sum(z)

    def g_backward(self, dz: Array) -> Array:
        """Let every rank use the same dz: each share counts in full."""
        return dz

    def _sum(self, array: Array) -> Array:
        self.clock.lap("compute")
        all_reduce(self.comm, array, self.algorithm)
        self.clock.lap("communication")
        return array


@dataclass(frozen=True)
class ColumnDense(Dense):
    r"""Some columns of a Dense layer: this rank's units, from all inputs.

    .. math:: z^{(r)} = f(x)\, W^{(r)} + b^{(r)}

    Here `fan_out` is the number of this rank's columns.

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """

    operators: Operators = field(kw_only=True)

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return z of this rank's units, shape (batch, fan_out), and the cache: x itself."""
        return super().forward(p, self.operators.f(x), rng=rng, empty=empty)

    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array:
        """Return d loss / d x, shape (batch, fan_in), from the units of all ranks."""
        return self.operators.f_backward(super().backward(p, cache, dy, empty=empty))


@dataclass(frozen=True)
class RowDense(Dense):
    r"""Some rows of a Dense layer: all units, from this rank's inputs.

    .. math:: z = g\left(x^{(r)} W^{(r)}\right) + b

    The bias is held by every rank and added once, after the sum. Here `fan_in` is the number of
    this rank's rows.

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """

    operators: Operators = field(kw_only=True)

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return z of all units, shape (batch, fan_out), the same on every rank; and x itself."""
        z = np.matmul(x, p["W"], out=empty((len(x), self.fan_out), x.dtype))
        z = self.operators.g(z)
        z += p["b"]
        return z, x

    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array:
        """Return d loss / d x of this rank's inputs, shape (batch, fan_in)."""
        return super().backward(p, cache, self.operators.g_backward(dy), empty=empty)


@dataclass(frozen=True)
class ColumnDropout(Dropout):
    """Dropout on this rank's units: the serial run's noise for all units, cut to these.

    Parameters
    ----------
    rate : float
        As for :class:`~course_lib.dropout.Dropout`.
    total : int
        The number of units of all ranks.
    columns : slice
        Which of them are here.

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """

    total: int
    columns: slice

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return the surviving inputs, scaled, and the cache: the mask, or None."""
        noise = None if rng is None else _ColumnNoise(rng, self.total, self.columns)
        return super().forward(p, x, rng=noise, empty=empty)


@dataclass(frozen=True)
class _ColumnNoise:
    rng: Noise
    total: int
    columns: slice

    def random(self, size: Any, /) -> Array:
        rows, _ = size
        drawn: Array = self.rng.random((rows, self.total))
        return drawn[:, self.columns]
