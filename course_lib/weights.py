r"""Where a network starts: weights that are neither equal, nor too large, nor too small.

Every function here is called as ``initializer(rng, fan_in, fan_out)``: a
:class:`numpy.random.Generator`, the number of inputs and the number of units of a layer
(whole numbers from 1). It returns ``W``, shape ``(fan_in, fan_out)``, float64, mean 0, for
``z = x @ W + b``. A ``rng`` or a size of another type raises TypeError, a size below 1 ValueError.

What matters is the variance. A layer multiplies the variance of its input by
:math:`n_{in} \mathrm{Var}[W]` (by half of that behind a ReLU) and that of the gradient by
:math:`n_{out} \mathrm{Var}[W]`, so through many layers a wrong variance makes both vanish or
explode. Below, :math:`n_{in}` is ``fan_in`` and :math:`n_{out}` is ``fan_out``.

Chapter: weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from course_lib.arrays import (
    Array,
    check_callable,
    check_generator,
    check_integer,
    check_number,
)
from course_lib.registry import lookup

Initializer: TypeAlias = Callable[[np.random.Generator, int, int], Array]
"""A function ``(rng, fan_in, fan_out) -> W``."""


def zeros(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """All weights zero, variance 0: the start from which a hidden layer cannot learn.

    The units of a layer compute the same, get the same gradient and stay equal for ever: the
    symmetry is never broken. Right for biases, kept for weights as a warning.

    Examples
    --------
    >>> zeros(np.random.default_rng(0), 1, 3)
    array([[0., 0., 0.]])
    """
    return np.zeros(_shape("zeros", rng, fan_in, fan_out))


def normal(rng: np.random.Generator, fan_in: int, fan_out: int, *, std: float = 0.01) -> Array:
    r"""Small Gaussian numbers, whatever the size of the layer.

    .. math:: W \sim N(0, s^2)

    The signal changes by :math:`s \sqrt{n_{in}}` a layer, which only shallow networks survive.
    References: Krizhevsky, Sutskever & Hinton 2012, section 5 (0.01).

    Parameters
    ----------
    rng, fan_in, fan_out
        As for every initialiser.
    std : float
        The standard deviation s, positive; ValueError otherwise.

    Examples
    --------
    >>> print(f"{normal(np.random.default_rng(0), 300, 400).std():.4f}")
    0.0100
    """
    shape = _shape("normal", rng, fan_in, fan_out)
    return rng.normal(0.0, check_number(std, where="normal", name="std", above=0), shape)


def uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int, *, limit: float | None = None
) -> Array:
    r"""Uniform numbers around zero: the common rule before 2010.

    .. math:: W \sim U(-l, l), \quad \mathrm{Var}[W] = l^2 / 3

    With :math:`l = 1 / \sqrt{n_{in}}` the variance is :math:`1 / (3 n_{in})`: each linear layer
    shrinks the signal by :math:`\sqrt 3`.
    References: Glorot & Bengio 2010, equation 1.

    Parameters
    ----------
    rng, fan_in, fan_out
        As for every initialiser.
    limit : float, optional
        The bound l, positive (ValueError otherwise); ``1 / sqrt(fan_in)`` if not given.

    Examples
    --------
    >>> print(f"{uniform(np.random.default_rng(0), 400, 300).max():.4f}")
    0.0500
    """
    shape = _shape("uniform", rng, fan_in, fan_out)
    bound = 1 / math.sqrt(fan_in)
    if limit is not None:
        bound = check_number(limit, where="uniform", name="limit", above=0)
    return rng.uniform(-bound, bound, shape)


def glorot_normal(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    r"""Gaussian, for linear and tanh layers: a compromise between signal and gradient.

    .. math:: W \sim N(0,\ 2 / (n_{in} + n_{out}))

    :math:`1 / n_{in}` would keep the signal's variance, :math:`1 / n_{out}` the gradient's.
    References: Glorot & Bengio 2010, equation 12.

    Examples
    --------
    >>> print(f"{glorot_normal(np.random.default_rng(0), 300, 500).std():.3f}")
    0.050
    """
    shape = _shape("glorot_normal", rng, fan_in, fan_out)
    return rng.normal(0.0, math.sqrt(2 / (fan_in + fan_out)), shape)


def glorot_uniform(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    r"""Uniform, with the variance of :func:`glorot_normal`.

    .. math:: W \sim U(-l, l), \quad l = \sqrt{6 / (n_{in} + n_{out})}

    References: Glorot & Bengio 2010, equation 16.

    Examples
    --------
    >>> print(f"{glorot_uniform(np.random.default_rng(0), 300, 300).max():.3f}")
    0.100
    """
    shape = _shape("glorot_uniform", rng, fan_in, fan_out)
    limit = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape)


def he_normal(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    r"""Gaussian, for ReLU layers: the 2 makes up for the half that ReLU sets to zero.

    .. math:: W \sim N(0,\ 2 / n_{in})

    References: He, Zhang, Ren & Sun 2015, equation 10.

    Examples
    --------
    >>> print(f"{he_normal(np.random.default_rng(0), 200, 600).std():.3f}")
    0.100
    """
    shape = _shape("he_normal", rng, fan_in, fan_out)
    return rng.normal(0.0, math.sqrt(2 / fan_in), shape)


def he_uniform(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    r"""Uniform, with the variance of :func:`he_normal`.

    .. math:: W \sim U(-l, l), \quad l = \sqrt{6 / n_{in}}

    References: He, Zhang, Ren & Sun 2015, equation 10 (the variance).

    Examples
    --------
    >>> print(f"{he_uniform(np.random.default_rng(0), 600, 200).max():.3f}")
    0.100
    """
    shape = _shape("he_uniform", rng, fan_in, fan_out)
    limit = math.sqrt(6 / fan_in)
    return rng.uniform(-limit, limit, shape)


def orthogonal(rng: np.random.Generator, fan_in: int, fan_out: int, *, gain: float = 1.0) -> Array:
    r"""Rotate without stretching: orthonormal columns (rows, if W is wider than tall).

    .. math:: W^T W = g^2 I \ (n_{in} \ge n_{out}), \quad W W^T = g^2 I \ (n_{in} \le n_{out})

    Variance :math:`g^2 / \max(n_{in}, n_{out})`. A product of many square ones keeps every
    length, where a product of Gaussian ones keeps it only on average. References: Saxe,
    McClelland & Ganguli 2014; Mezzadri 2007, section 5 (the signs).

    Parameters
    ----------
    rng, fan_in, fan_out
        As for every initialiser.
    gain : float
        The factor g, positive (ValueError otherwise); ``sqrt(2)`` suits ReLU.

    Examples
    --------
    >>> w = orthogonal(np.random.default_rng(0), 5, 3)
    >>> bool(np.allclose(w.T @ w, np.eye(3)))
    True
    """
    rows, columns = _shape("orthogonal", rng, fan_in, fan_out)
    gain = check_number(gain, where="orthogonal", name="gain", above=0)
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    # QR fixes the signs of q by convention. Multiplied by the signs of r's diagonal, all
    # orthogonal matrices become equally likely (the Haar measure).
    q *= gain * np.copysign(1.0, np.diag(r))
    return q if rows >= columns else np.ascontiguousarray(q.T)


def _shape(where: str, rng: np.random.Generator, fan_in: int, fan_out: int) -> tuple[int, int]:
    """Check the three arguments that all initialisers share; return the shape of W."""
    check_generator(rng, where=where)
    rows = check_integer(fan_in, where=where, name="fan_in", at_least=1)
    return rows, check_integer(fan_out, where=where, name="fan_out", at_least=1)


ALL: dict[str, Initializer] = {
    function.__name__: function
    for function in (
        zeros, normal, uniform, glorot_normal, glorot_uniform, he_normal, he_uniform, orthogonal
    )
}  # fmt: skip


def get(weights: str | Initializer) -> Initializer:
    """Return the initialiser of that name; a function is returned as it is.

    Raises
    ------
    ValueError
        If there is no such name; the message lists those that exist.

    Examples
    --------
    >>> get("he_normal") is he_normal
    True
    """
    if not callable(weights):
        return lookup("initialiser", weights, ALL)
    initializer: Initializer = check_callable(
        weights, where="weights", name="an initialiser", takes=("rng", "fan_in", "fan_out")
    )
    return initializer
