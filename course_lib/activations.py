"""An activation bends the line: it is applied to each pre-activation z, one number at a time.

Each activation is a pair, value and derivative side by side: ``f(z)`` gives a, ``df(z, a)`` gives
da/dz. The derivative receives both z and a because each is the cheaper start for some of them.
Both take ``out=`` to write into an array that the caller owns, keep the dtype, and are written so
that no intermediate result overflows.

Chapter: activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_lib.arrays import Array, check_callable, check_instance, check_like, check_numbers
from course_lib.registry import lookup


@dataclass(frozen=True)
class Activation:
    """A differentiable function of one number, applied to every element of an array.

    Parameters
    ----------
    name : str
        The name under which :func:`get` finds it.
    f : callable
        ``f(z, out=None) -> a``, shape in = shape out, dtype in = dtype out.
    df : callable
        ``df(z, a, out=None) -> da/dz``, elementwise, with ``a = f(z)``.

    Examples
    --------
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    >>> square = Activation("square", lambda z, out=None: z * z, lambda z, a, out=None: 2 * z)
    >>> square.df(np.array([3.0]), np.array([9.0]))
    array([6.])
    """

    name: str
    f: Callable[..., Array] = field(repr=False)
    df: Callable[..., Array] = field(repr=False)

    def __post_init__(self) -> None:
        check_instance(self.name, str, where="Activation", name="name")
        check_callable(self.f, where="Activation", name="f", takes=("z",))
        check_callable(self.df, where="Activation", name="df", takes=("z", "a"))

    def __call__(self, z: Any) -> Array:
        """Apply ``f`` to numbers or an array of any shape."""
        return self.f(check_numbers(z, where=self.name, name="z"))


def _identity(z: Array, out: Array | None = None) -> Array:
    return np.positive(z, out=out)


def _identity_df(z: Array, a: Array, out: Array | None = None) -> Array:
    out = np.empty_like(z) if out is None else out
    out.fill(1.0)
    return out


identity = Activation("identity", _identity, _identity_df)
r"""The linear activation :math:`f(z) = z`, :math:`f'(z) = 1`.

Examples
--------
>>> identity(np.array([-1.5, 2.0]))
array([-1.5,  2. ])
"""


def _sigmoid(z: Array, out: Array | None = None) -> Array:
    # exp is only ever taken of a number <= 0, so it cannot overflow.
    e: Array = np.exp(-np.abs(z))
    above = np.where(z >= 0, np.ones_like(e), e)
    result: Array = np.divide(above, 1 + e, out=out)
    return result


def _sigmoid_df(z: Array, a: Array, out: Array | None = None) -> Array:
    result: Array = np.multiply(a, 1 - a, out=out)
    return result


sigmoid = Activation("sigmoid", _sigmoid, _sigmoid_df)
r"""The logistic function :math:`\sigma(z) = 1 / (1 + e^{-z})`; derivative :math:`a (1 - a)`.

Range (0, 1); computed without overflow for any z.

Examples
--------
>>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
array([0. , 0.5, 1. ])
"""


def _tanh(z: Array, out: Array | None = None) -> Array:
    return np.tanh(z, out=out)


def _tanh_df(z: Array, a: Array, out: Array | None = None) -> Array:
    out = np.empty_like(a) if out is None else out
    np.multiply(a, a, out=out)
    return np.subtract(1, out, out=out)


tanh = Activation("tanh", _tanh, _tanh_df)
r"""The hyperbolic tangent, :math:`\tanh' = 1 - \tanh^2`; range (-1, 1).

Examples
--------
>>> tanh(np.array([0.0]))
array([0.])
"""


def _relu(z: Array, out: Array | None = None) -> Array:
    return np.maximum(z, 0, out=out)


def _relu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    # At z = 0, where there is no derivative, we take 0, as PyTorch does.
    return np.greater(a, 0, out=np.empty_like(z) if out is None else out)


relu = Activation("relu", _relu, _relu_df)
r"""The rectifier :math:`\max(z, 0)`; derivative 1 for z > 0 and 0 otherwise (0 at z = 0).

References: Nair & Hinton 2010; Glorot, Bordes & Bengio 2011.

Examples
--------
>>> relu(np.array([-2.0, 0.0, 3.0]))
array([0., 0., 3.])
"""


SLOPE = 0.01  # of leaky_relu below zero (Maas et al. 2013)


def _leaky_relu(z: Array, out: Array | None = None) -> Array:
    # For a slope below 1 the larger of the two lines is the right one on either side.
    return np.maximum(z, SLOPE * z, out=out)


def _leaky_relu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    out = np.greater(z, 0, out=np.empty_like(z) if out is None else out)
    out *= 1 - SLOPE
    out += SLOPE
    return out


leaky_relu = Activation("leaky_relu", _leaky_relu, _leaky_relu_df)
r""":math:`z` for z > 0 and :math:`0.01 z` otherwise, derivative 1 and 0.01: no unit is ever dead.

References: Maas, Hannun & Ng 2013.

Examples
--------
>>> leaky_relu(np.array([-2.0, 3.0]))
array([-0.02,  3.  ])
"""


def _elu(z: Array, out: Array | None = None) -> Array:
    # expm1 keeps the digits of exp(z) - 1 near z = 0; minimum keeps it from overflowing.
    negative = np.expm1(np.minimum(z, 0))
    return np.add(np.maximum(z, 0), negative, out=out)


def _elu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    return np.exp(np.minimum(z, 0), out=out)


elu = Activation("elu", _elu, _elu_df)
r""":math:`z` for z > 0, else :math:`e^z - 1` (alpha = 1); derivative 1, else :math:`e^z`: smooth.

References: Clevert, Unterthiner & Hochreiter 2016.

Examples
--------
>>> elu(np.array([-1000.0, 2.0]))
array([-1.,  2.])
"""


# NumPy has no erf and importing SciPy costs more than the rest of the package, so the C library's
# erf is called per element (about 0.1 microseconds each): exact, and slower than tanh.
_erf_each = np.frompyfunc(math.erf, 1, 1)


def _normal_cdf(z: Array) -> Array:
    return 0.5 * (1 + np.asarray(_erf_each(z / math.sqrt(2)), dtype=np.asarray(z).dtype))


def _gelu(z: Array, out: Array | None = None) -> Array:
    return np.multiply(z, _normal_cdf(z), out=out)


def _gelu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.add(_normal_cdf(z), z * density, out=out)


gelu = Activation("gelu", _gelu, _gelu_df)
r""":math:`z\,\Phi(z)` with the standard normal distribution function, in its exact (erf) form.

Derivative :math:`\Phi(z) + z\,\varphi(z)`, with the normal density :math:`\varphi`.

References: Hendrycks & Gimpel 2016.

Examples
--------
>>> gelu(np.array([0.0, 1.0])).round(4)
array([0.    , 0.8413])
"""


def _silu(z: Array, out: Array | None = None) -> Array:
    return np.multiply(z, _sigmoid(z), out=out)


def _silu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    s = _sigmoid(z)
    result: Array = np.add(s, a * (1 - s), out=out)
    return result


silu = Activation("silu", _silu, _silu_df)
r""":math:`z\,\sigma(z)`, also called swish; derivative :math:`\sigma(z) + a (1 - \sigma(z))`.

References: Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph & Le 2017.

Examples
--------
>>> silu(np.array([0.0, 1.0])).round(4)
array([0.    , 0.7311])
"""


def _softplus(z: Array, out: Array | None = None) -> Array:
    return np.add(np.maximum(z, 0), np.log1p(np.exp(-np.abs(z))), out=out)


def _softplus_df(z: Array, a: Array, out: Array | None = None) -> Array:
    return _sigmoid(z, out=out)


softplus = Activation("softplus", _softplus, _softplus_df)
r""":math:`\log(1 + e^z)`, a smooth rectifier whose derivative is the sigmoid.

References: Dugas et al. 2001.

Examples
--------
>>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(4)
array([0.000e+00, 6.931e-01, 1.000e+03])
"""


def softmax(z: Array, out: Array | None = None) -> Array:
    r"""Turn each row of scores into probabilities.

    .. math:: p_{ij} = \frac{e^{z_{ij}}}{\sum_k e^{z_{ik}}}

    It is no :class:`Activation`, because it couples the outputs of one row,
    :math:`\partial p_i / \partial z_j = p_i (\delta_{ij} - p_j)`; that derivative lives in the loss
    :data:`~course_lib.losses.softmax_cross_entropy`. Each row is shifted by its own maximum:
    the result is the same, and nothing overflows.

    Parameters
    ----------
    z : array, shape (..., classes)
        Scores (logits); whole numbers become float64.
    out : array, same shape, optional
        Where to write the result.

    Returns
    -------
    array, shape (..., classes)
        Non-negative, each row sums to 1.

    Raises
    ------
    ValueError, TypeError
        If there are no scores, they are no numbers, or `out` is not like `z`.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    z = check_numbers(z, where="softmax", name="z")
    if z.ndim == 0 or z.shape[-1] == 0:
        raise ValueError(f"softmax: z must have at least one score per row, got shape {z.shape}.")
    if out is not None:
        check_like(out, z, where="softmax", name="out", like="z")
    out = np.subtract(z, np.max(z, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= np.sum(out, axis=-1, keepdims=True)
    return out


ALL: dict[str, Activation] = {
    act.name: act for act in (identity, sigmoid, tanh, relu, leaky_relu, elu, gelu, silu, softplus)
}


def get(activation: str | Activation) -> Activation:
    """Return the activation of that name; an :class:`Activation` is returned as it is.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> get("relu") is relu
    True
    """
    if isinstance(activation, Activation):
        return activation
    return lookup("activation", activation, ALL)
