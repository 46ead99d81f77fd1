r"""Dense layers split over ranks: by columns, then by rows, so that a pair needs one sum each way.

.. math:: f(x W_1)\, W_2 = \sum_r f\left(x W_1^{(r)}\right) W_2^{(r)}, \quad
          W_1 = \left[W_1^{(0)}\; W_1^{(1)} \cdots\right], \quad
          W_2 = \begin{bmatrix} W_2^{(0)} \\ W_2^{(1)} \\ \vdots \end{bmatrix}

A rank computes some of the hidden units, all the way to their share of the outputs; the activation
in between acts on each unit by itself, and so needs no message. :func:`tensor_plan` says as plain
data which layers are split, :func:`tensor_indices` which weights a rank holds, and
:func:`tensor_chain` makes the layers that compute on them.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.chain import Chain
from course_lib.layers import Activate, Dense, Dropout, Empty, Layer, Noise, Params, fresh
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_reduce, shard
from course_lib.parallel.comm import Comm


def tensor_plan(chain: Chain) -> list[str]:
    """Say for each layer how it is shared out.

    Dense layers are taken in pairs: the first by ``"columns"``, the second by ``"rows"``; the
    layers between them act on each rank's own ``"units"``. All else is done by every rank in full,
    ``"whole"``: also the last Dense layer when their number is odd. That is often the small one
    with the outputs, and to split it as well would cost one more message round each way.

    Examples
    --------
    >>> from course_lib import mlp
    >>> tensor_plan(mlp([4, 8, 8, 3]))  # Dense, Activate, Dense, Activate, Dense
    ['columns', 'units', 'rows', 'whole', 'whole']
    """
    # A class that derives from Dense may compute something else.
    dense = [i for i, layer in enumerate(chain.layers) if type(layer) is Dense]
    plan = ["whole"] * len(chain.layers)
    for first, second in zip(dense[0::2], dense[1::2], strict=False):
        plan[first : second + 1] = ["columns", *["units"] * (second - first - 1), "rows"]
    return plan


def tensor_indices(chain: Chain, rank: int, size: int) -> Array:
    """Return where in theta the parameters of a rank lie, in the order in which it holds them.

    ``theta[indices]`` is what a rank starts from, ``theta[indices] = part`` puts it back. Raises
    ValueError for a network that can not be split on so many ranks.

    Examples
    --------
    >>> chain = Chain((Dense(1, 3), Dense(3, 1)))  # W 0 1 2, b 3 4 5; W 6 7 8, b 9
    >>> tensor_indices(chain, 0, 2), tensor_indices(chain, 1, 2)
    (array([0, 1, 3, 4, 6, 7, 9]), array([2, 5, 8, 9]))
    """
    tree = chain.unpack(np.arange(chain.n_params))
    for i, (how, layer, p) in enumerate(zip(tensor_plan(chain), chain.layers, tree, strict=True)):
        if how == "units" and size > 1 and type(layer) not in (Activate, Dropout):
            raise ValueError(
                f"tensor parallelism: layer {i}, {layer!r}, stands between two Dense layers whose "
                "units are shared out, and of a layer that is neither Activate nor Dropout nobody "
                "knows whether it treats each unit by itself. Use another strategy for this "
                "network, such as 'sync' or 'pipeline:2:4'."
            )
        if isinstance(layer, Dense) and how == "columns":
            columns = _units(layer.fan_out, rank, size, i)
            tree[i] = {"W": p["W"][:, columns], "b": p["b"][columns]}
        elif isinstance(layer, Dense) and how == "rows":
            tree[i] = {"W": p["W"][_units(layer.fan_in, rank, size, i)], "b": p["b"]}
    return chain.pack(tree).astype(np.intp, copy=False)


def tensor_chain(chain: Chain, operators: Operators) -> Chain:
    """Return the layers of this rank, which compute on their share of the weights.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> chain = Chain((Dense(1, 3), Dense(3, 1)))
    >>> theta = np.arange(10.0)
    >>> def forward(comm):
    ...     part = theta[tensor_indices(chain, comm.rank, comm.size)]
    ...     return tensor_chain(chain, Operators(comm)).forward(part, np.ones((1, 1)))[0].item()
    >>> run_threads(2, forward), chain.forward(theta, np.ones((1, 1)))[0].item()
    ([118.0, 118.0], 118.0)
    """
    rank, size = operators.comm.rank, operators.comm.size
    layers: list[Layer] = []
    columns, total = slice(0), 0
    for i, (how, layer) in enumerate(zip(tensor_plan(chain), chain.layers, strict=True)):
        if isinstance(layer, Dense) and how == "columns":
            columns, total = _units(layer.fan_out, rank, size, i), layer.fan_out
            here = columns.stop - columns.start
            layers.append(ColumnDense(layer.fan_in, here, layer.weights, operators=operators))
        elif isinstance(layer, Dense) and how == "rows":
            here = columns.stop - columns.start
            layers.append(RowDense(here, layer.fan_out, layer.weights, operators=operators))
        elif isinstance(layer, Dropout) and how == "units":
            layers.append(ColumnDropout(layer.rate, total, columns))
        else:
            layers.append(layer)
    return Chain(tuple(layers))


def _units(width: int, rank: int, size: int, layer: int) -> slice:
    if width < size:
        raise ValueError(
            f"tensor parallelism: layer {layer} has {width} hidden units to be shared out, fewer "
            f"than the {size} ranks; use fewer ranks for it or wider layers."
        )
    return shard(width, rank, size)


@dataclass(frozen=True)
class Operators:
    """The operators f and g at the two ends of a pair: what one does forward, the other does back.

    =========  ==============  ==============
    operator   forward         backward
    =========  ==============  ==============
    f          nothing         sum over ranks
    g          sum over ranks  nothing
    =========  ==============  ==============

    References
    ----------
    Shoeybi et al. 2019 (Megatron-LM), section 3 and figure 3.
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
    """Some columns of a Dense layer, `fan_out` of them: the rank's own units, from all inputs."""

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
    """Some rows of a Dense layer, `fan_in` of them; the bias is added once, after the sum."""

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
    """Dropout on this rank's units: the serial run's noise for all units, cut to these columns."""

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
