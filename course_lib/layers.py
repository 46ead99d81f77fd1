"""A network is made of layers: each turns inputs into outputs, and gradients back the other way.

A layer is a frozen description. Its parameters ``p`` come in as an argument, and what ``backward``
will need goes out of ``forward`` as the ``cache``: nothing is remembered in between. ``empty`` is
where new arrays come from: fresh memory, or the caller's :class:`~course_lib.workspace.Workspace`.
A layer checks what it is made of, and trusts what it is called with: the network's door is before.

Chapters: forward propagation, backpropagation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from course_lib.activations import Activation
from course_lib.arrays import (
    Array,
    check_callable,
    check_instance,
    check_integer,
    check_number,
)
from course_lib.weights import Initializer, he_normal

Params: TypeAlias = dict[str, Array]
"""The parameters of one layer, by name."""

Empty: TypeAlias = Callable[[tuple[int, ...], Any], Array]
"""A function (shape, dtype) that gives an array to write to."""

fresh: Empty = np.empty


class Noise(Protocol):
    """What dropout needs of a random generator: uniform numbers in [0, 1)."""

    def random(self, size: Any, /) -> Any:
        """Draw float64 numbers of the given shape."""
        ...


class Layer(Protocol):
    """What every layer can do; one that is written to this fits between any others.

    ``fan_in`` is the number of inputs it takes, None if it takes any, and ``width(fan_in)`` the
    number of outputs that it then gives. ``shapes`` and ``init`` say and draw the parameters,
    ``forward`` computes, ``backward`` and ``gradient`` send the derivative back to the inputs and
    to the parameters.

    What a layer makes of a row depends on that row only: batches are cut in pieces of rows, one for
    each rank. Each call of ``empty`` within one of ``forward`` or ``backward`` gives another array;
    what ``forward`` had is still there in ``backward``.
    """

    @property
    def fan_in(self) -> int | None: ...  # noqa: D102
    def width(self, fan_in: int) -> int: ...  # noqa: D102
    def shapes(self) -> dict[str, tuple[int, ...]]: ...  # noqa: D102
    def init(self, rng: np.random.Generator) -> Params: ...  # noqa: D102
    def forward(  # noqa: D102
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]: ...
    def gradient(self, cache: Any, dy: Array, out: Params) -> None: ...  # noqa: D102
    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array: ...  # noqa: D102


@dataclass(frozen=True)
class Dense:
    r"""Every output is a weighted sum of all inputs, plus a bias.

    .. math:: z = x W + b, \quad \frac{\partial L}{\partial W} = x^T dz, \quad
              \frac{\partial L}{\partial b} = \sum_i dz_i, \quad
              \frac{\partial L}{\partial x} = dz\, W^T

    Parameters
    ----------
    fan_in, fan_out : int
        The number of inputs and outputs.
    weights : callable
        The initialiser ``(rng, fan_in, fan_out) -> W``; biases start at zero.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer, or the initialiser is no function.

    Examples
    --------
    >>> layer = Dense(2, 3)
    >>> p = {"W": np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]), "b": np.array([0.0, 0.0, 1.0])}
    >>> z, cache = layer.forward(p, np.array([[1.0, 2.0]]))
    >>> z
    array([[1., 2., 7.]])
    >>> layer.backward(p, cache, np.array([[1.0, 0.0, 1.0]]))
    array([[3., 2.]])
    """

    fan_in: int
    fan_out: int
    weights: Initializer = he_normal

    def __post_init__(self) -> None:
        for name in ("fan_in", "fan_out"):
            size = check_integer(getattr(self, name), where="Dense", name=name, at_least=1)
            object.__setattr__(self, name, size)
        arguments = ("rng", "fan_in", "fan_out")
        check_callable(self.weights, where="Dense", name="weights", takes=arguments)

    def __repr__(self) -> str:
        # The name of the initialiser, not its address, which changes from run to run.
        start = getattr(self.weights, "__name__", self.weights)
        return f"Dense(fan_in={self.fan_in}, fan_out={self.fan_out}, weights={start})"

    def width(self, fan_in: int) -> int:
        """Return the number of outputs."""
        return self.fan_out

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter, in the order in which they lie in theta."""
        return {"W": (self.fan_in, self.fan_out), "b": (self.fan_out,)}

    def init(self, rng: np.random.Generator) -> Params:
        """Draw W; b is zero."""
        return {"W": self.weights(rng, self.fan_in, self.fan_out), "b": np.zeros(self.fan_out)}

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return z, shape (batch, fan_out), and the cache: x itself."""
        z = np.matmul(x, p["W"], out=empty((len(x), self.fan_out), x.dtype))
        z += p["b"]
        return z, x

    def gradient(self, cache: Any, dy: Array, out: Params) -> None:
        """Write the gradients of W and b into `out`; both are sums over the batch."""
        np.matmul(cache.T, dy, out=out["W"])
        dy.sum(axis=0, out=out["b"])

    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array:
        """Return d loss / d x, shape (batch, fan_in)."""
        return np.matmul(dy, p["W"].T, out=empty(cache.shape, dy.dtype))


class Elementwise:
    """A layer without parameters that keeps the width, whatever it is; to be derived from.

    The derived layer may mix the units of a row, as a normalisation does: tensor parallelism, where
    a rank has only some of them, takes :class:`Activate` and :class:`Dropout` only.
    """

    fan_in: int | None = None

    def width(self, fan_in: int) -> int:
        """Return the number of outputs: as many as inputs."""
        return fan_in

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return no shapes: there is nothing to learn here."""
        return {}

    def init(self, rng: np.random.Generator) -> Params:
        """Return no parameters."""
        return {}

    def gradient(self, cache: Any, dy: Array, out: Params) -> None:
        """Do nothing: there are no parameters."""


@dataclass(frozen=True)
class Activate(Elementwise):
    r"""Apply an activation to every element: :math:`a = f(z)`, :math:`dz = da \odot f'(z)`.

    Examples
    --------
    >>> from course_lib.activations import relu
    >>> layer = Activate(relu)
    >>> a, cache = layer.forward({}, np.array([[-1.0, 2.0]]))
    >>> layer.backward({}, cache, np.array([[5.0, 5.0]]))
    array([[0., 5.]])

    Notes
    -----
    Chapter: activations.
    """

    activation: Activation

    def __post_init__(self) -> None:
        check_instance(
            self.activation, Activation, where="Activate", name="activation",
            hint="activations.get(name) finds one by its name",
        )  # fmt: skip

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return a, and the cache (z, a)."""
        a = self.activation.f(x, out=empty(x.shape, x.dtype))
        return a, (x, a)

    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array:
        """Return dz. Leaving this factor out is the first fault of the source article."""
        dz = self.activation.df(*cache, out=empty(dy.shape, dy.dtype))
        dz *= dy
        return dz


@dataclass(frozen=True)
class Dropout(Elementwise):
    r"""While training, drop each input with probability `rate` and scale up the rest.

    .. math:: y = \frac{m}{1 - r} \odot x, \quad m_{ij} \sim \mathrm{Bernoulli}(1 - r)

    Without noise (``rng=None``, prediction) it does nothing. One float64 number is drawn per
    element, row by row, whatever the dtype: whoever holds only some rows can skip the others.

    References: Srivastava et al. 2014 (here in its "inverted" form, scaled while training).

    Parameters
    ----------
    rate : float
        The probability r of dropping, 0 <= r < 1.

    Raises
    ------
    ValueError
        If the rate is outside [0, 1).

    Examples
    --------
    >>> y, mask = Dropout(0.5).forward({}, np.ones((1, 4)), rng=np.random.default_rng(1))
    >>> y
    array([[2., 2., 0., 2.]])

    Notes
    -----
    Chapter: challenges.
    """

    rate: float

    def __post_init__(self) -> None:
        rate = check_number(self.rate, where="Dropout", name="rate", at_least=0, below=1)
        object.__setattr__(self, "rate", rate)

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return the surviving inputs, scaled, and the cache: the mask, or None."""
        if rng is None:
            return x, None
        mask = (rng.random(x.shape) >= self.rate).astype(x.dtype)
        mask /= 1 - self.rate
        return np.multiply(x, mask, out=empty(x.shape, x.dtype)), mask

    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array:
        """Return the gradient of the inputs: zero for the dropped ones."""
        return dy if cache is None else np.multiply(dy, cache, out=empty(dy.shape, dy.dtype))


def noise(seed: int, epoch: int, step: int) -> np.random.Generator:
    """Return the generator of one training step's noise: a pure function of its arguments.

    Examples
    --------
    >>> bool((noise(0, 3, 1).random(4) == noise(0, 3, 1).random(4)).all())
    True
    """
    # The 1 at the end keeps it apart from the generators of [seed] and [seed, epoch], which decide
    # the first weights and the order of the rows: NumPy ignores zeros at the end of a seed.
    return np.random.default_rng([seed, epoch, step, 1])
