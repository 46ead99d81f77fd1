"""The arithmetic of the activations: each value next to its derivative.

``name(z)`` gives a; ``name_df(z, a)`` gives da/dz. All take ``out=``, keep the dtype, and are
written so that no intermediate result overflows.

Chapter: activations.
"""

from __future__ import annotations

import math

import numpy as np

from course_lib.arrays import Array


def identity(z: Array, out: Array | None = None) -> Array:
    """Return a = z."""
    return np.positive(z, out=out)


def identity_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = 1."""
    out = np.empty_like(z) if out is None else out
    out.fill(1.0)
    return out


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """Return a = 1 / (1 + exp(-z))."""
    # exp is only ever taken of a number <= 0, so it cannot overflow.
    e: Array = np.exp(-np.abs(z))
    above = np.where(z >= 0, np.ones_like(e), e)
    result: Array = np.divide(above, 1 + e, out=out)
    return result


def sigmoid_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = a (1 - a)."""
    result: Array = np.multiply(a, 1 - a, out=out)
    return result


def tanh(z: Array, out: Array | None = None) -> Array:
    """Return a = tanh z."""
    return np.tanh(z, out=out)


def tanh_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = 1 - a²."""
    out = np.multiply(a, a, out=out)
    return np.subtract(1, out, out=out)


def relu(z: Array, out: Array | None = None) -> Array:
    """Return a = max(z, 0)."""
    return np.maximum(z, 0, out=out)


def relu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = 1 for z > 0, else 0."""
    # At z = 0, where there is no derivative, we take 0, as PyTorch does.
    return np.greater(a, 0, out=np.empty_like(z) if out is None else out)


SLOPE = 0.01  # of leaky_relu below zero (Maas et al. 2013)


def leaky_relu(z: Array, out: Array | None = None) -> Array:
    """Return a = z for z > 0, else SLOPE z."""
    # For a slope below 1 the larger of the two lines is the right one on either side.
    out = np.multiply(z, SLOPE, out=out)
    return np.maximum(z, out, out=out)


def leaky_relu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = 1 for z > 0, else SLOPE."""
    out = np.greater(z, 0, out=np.empty_like(z) if out is None else out)
    out *= 1 - SLOPE
    out += SLOPE
    return out


def elu(z: Array, out: Array | None = None) -> Array:
    """Return a = z for z > 0, else exp(z) - 1."""
    # expm1 keeps the digits of exp(z) - 1 near z = 0; minimum keeps it from overflowing.
    negative = np.expm1(np.minimum(z, 0))
    return np.add(np.maximum(z, 0), negative, out=out)


def elu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = 1 for z > 0, else exp(z)."""
    return np.exp(np.minimum(z, 0), out=out)


# NumPy has no erf and importing SciPy costs more than the rest of the package, so the C library's
# erf is called per element (about 0.1 microseconds each): exact, and slower than tanh.
_erf_each = np.frompyfunc(math.erf, 1, 1)


def _normal_cdf(z: Array) -> Array:
    return 0.5 * (1 + np.asarray(_erf_each(z / math.sqrt(2)), dtype=z.dtype))


def gelu(z: Array, out: Array | None = None) -> Array:
    """Return a = z Φ(z)."""
    return np.multiply(z, _normal_cdf(z), out=out)


def gelu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = Φ(z) + z φ(z), φ the normal density."""
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.add(_normal_cdf(z), z * density, out=out)


def silu(z: Array, out: Array | None = None) -> Array:
    """Return a = z σ(z)."""
    return np.multiply(z, sigmoid(z), out=out)


def silu_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = σ(z) + a (1 - σ(z))."""
    s = sigmoid(z)
    result: Array = np.add(s, a * (1 - s), out=out)
    return result


def softplus(z: Array, out: Array | None = None) -> Array:
    """Return a = log(1 + exp(z))."""
    return np.add(np.maximum(z, 0), np.log1p(np.exp(-np.abs(z))), out=out)


def softplus_df(z: Array, a: Array, out: Array | None = None) -> Array:
    """Return da/dz = σ(z)."""
    return sigmoid(z, out=out)
