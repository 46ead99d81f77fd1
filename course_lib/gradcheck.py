"""Is the gradient right? Compare it with differences of the loss, which need no calculus.

A network with a wrong gradient often still learns, only worse, so a falling loss proves nothing.

Chapter: backpropagation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from course_lib.arrays import (
    Array,
    as_array,
    check_callable,
    check_instance,
    check_number,
    check_numbers,
    check_theta,
    shown,
)
from course_lib.network import Network

# Rounding of 1e-11 against a gradient of length 0.1 then gives 1e-8, below what a right one may;
# an array that is wrong altogether still shows, as 0.01 even if it is 10,000 times shorter.
_FLOOR = 0.01


def numerical_gradient(f: Callable[[Array], float], theta: Array, h: float = 1e-5) -> Array:
    r"""Estimate the gradient of f by central differences, one parameter at a time.

    .. math:: g_i = \frac{f(\theta + h e_i) - f(\theta - h e_i)}{2 h}

    The formula is wrong by about :math:`h^2 f''' / 6`, and rounding adds about
    :math:`\varepsilon |f| / h`. In float64 (:math:`\varepsilon = 2 \cdot 10^{-16}`) the best h
    is near 1e-5 and the error near 1e-10. In float32 (:math:`\varepsilon = 10^{-7}`) even the
    best h leaves an error near 1e-4, which would let real mistakes pass: it is refused.

    Parameters
    ----------
    f : callable
        A function of a vector of shape (n,); called 2 n times with a copy of `theta`.
    theta : array of float64, shape (n,)
        Where to take the gradient. At a kink (ReLU at exactly 0) there is none.
    h : float
        The step, positive.

    Returns
    -------
    array of float64, shape (n,)

    Raises
    ------
    TypeError
        If `theta` is not float64, or `f` no function that returns a number.
    ValueError
        If `theta` is not a finite vector or `h` is not positive.

    Examples
    --------
    >>> numerical_gradient(lambda t: float(t @ t), np.array([1.0, -2.0])).round(6)
    array([ 2., -4.])
    """
    check_callable(f, where="numerical_gradient", name="f", takes=("theta",))
    theta = as_array(theta, where="numerical_gradient", name="theta")
    if theta.dtype != np.float64:
        raise TypeError(
            f"numerical_gradient: theta must be float64, got {theta.dtype}; differences in a "
            "shorter type are too inexact to judge a gradient: use theta.astype(np.float64)."
        )
    if theta.ndim != 1:
        raise ValueError(f"numerical_gradient: theta must be a vector, got shape {theta.shape}.")
    check_theta(theta, where="numerical_gradient", finite=True)
    h = check_number(h, where="numerical_gradient", name="h", above=0)

    def value(point: Array) -> float:
        found: Any = f(point)
        if not (isinstance(found, Real) or (isinstance(found, np.ndarray) and found.ndim == 0)):
            raise TypeError(
                f"numerical_gradient: f must return a number, got {shown(found)}; a gradient is "
                "that of one number, such as a sum."
            )
        return float(found)

    point, gradient = theta.copy(), np.empty_like(theta)
    for i, start in enumerate(theta):
        point[i] = start + h
        above = value(point)
        point[i] = start - h
        gradient[i] = (above - value(point)) / (2 * h)
        point[i] = start
    return gradient


def relative_error(a: Array, n: Array, *, floor: float = 0.0) -> float:
    r"""Return the distance of two gradients relative to the longer one.

    .. math:: \frac{\|a - n\|}{\max(\|a\|, \|n\|, \mathrm{floor})}

    0 means equal, about 1 unrelated, 2 opposite. Whole vectors are compared because a single
    component that happens to be near 0 has no meaningful relative error. Two zero vectors are
    equal.

    Parameters
    ----------
    a, n : arrays of the same shape
        The gradient by the formula, and the estimate.
    floor : float
        The least length to compare with: without one, an estimate that is nothing but rounding
        has the error 1 against a gradient that is exactly 0.

    Returns
    -------
    float
        Infinite if a gradient holds NaN or infinity.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, -4.0]))
    1.6
    >>> rounding = np.array([1e-11])
    >>> relative_error(np.zeros(1), rounding), relative_error(np.zeros(1), rounding, floor=0.01)
    (1.0, 1e-09)
    """
    a = check_numbers(a, where="relative_error", name="a").astype(np.float64)
    n = check_numbers(n, where="relative_error", name="n").astype(np.float64)
    floor = check_number(floor, where="relative_error", name="floor", at_least=0)
    if a.shape != n.shape:
        raise ValueError(
            f"relative_error: the gradients must have the same shape, got {a.shape} and {n.shape}."
        )
    if not (np.isfinite(a).all() and np.isfinite(n).all()):
        return math.inf  # not NaN, which no comparison would catch
    largest = max(float(np.abs(a).max(initial=0)), float(np.abs(n).max(initial=0)), floor)
    # Squares of numbers below 1e-162 would be 0, of those above 1e154 infinite. A power of two
    # changes no digit.
    power = -math.frexp(largest)[1]
    a, n, floor = np.ldexp(a, power), np.ldexp(n, power), math.ldexp(floor, power)
    scale = max(float(np.linalg.norm(a)), float(np.linalg.norm(n)), floor)
    return float(np.linalg.norm(a - n)) / scale if scale else 0.0


def check(net: Network, theta: Array, x: Any, y: Any) -> dict[str, float]:
    """Compare the network's gradient with differences of its loss, parameter by parameter.

    Judge the numbers yourself: with float64 a right gradient gives less than 1e-7, a wrong one
    rarely less than 1e-2. Which parameters are wrong tells where to look: what fails in one
    layer and in all layers before it, but not after it, is that layer's backward pass.

    An array whose gradient is less than a hundredth as long as the longest of the network is
    compared with that hundredth: the estimate of a gradient that is exactly 0 is nothing but
    rounding, about 1e-11, which must not count as an error of 1.

    Parameters
    ----------
    net : Network
        Any network; dropout is off.
    theta : array of float64, shape (n_params,)
        Parameters away from kinks; biases that are not zero make the check sharper.
    x, y : array
        A small batch, of more than one row so that missing sums show.

    Returns
    -------
    dict
        ``{"<layer>.<parameter>": relative error}``, for example ``{"0.W": 3e-10, "0.b": ...}``.

    Raises
    ------
    TypeError, ValueError
        If `theta` is not float64 and finite, or the data does not fit the network.

    Examples
    --------
    >>> from course_lib import mlp
    >>> rng = np.random.default_rng(0)
    >>> net = mlp([3, 4, 2], hidden="tanh")
    >>> errors = check(net, net.init(rng), rng.normal(size=(5, 3)), rng.integers(0, 2, 5))
    >>> {name: error < 1e-7 for name, error in errors.items()}
    {'0.W': True, '0.b': True, '2.W': True, '2.b': True}
    """
    check_instance(net, Network, where="gradcheck.check", name="net", hint="such as mlp([2, 3, 1])")
    numerical = numerical_gradient(lambda t: net.loss_value(t, x, y), theta)
    _, analytic = net.loss_and_grad(theta, x, y)
    pairs = {
        f"{layer}.{name}": (ours[name], differences[name])
        for layer, (ours, differences) in enumerate(
            zip(net.unpack(analytic), net.unpack(numerical), strict=True)
        )
        for name in ours
    }
    longest = max((float(np.linalg.norm(n)) for _, n in pairs.values()), default=0.0)
    return {name: relative_error(a, n, floor=_FLOOR * longest) for name, (a, n) in pairs.items()}
