"""Typical wrong answers to the exercises of the chapter on initialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NODES, BELL = np.polynomial.hermite_e.hermegauss(80)
BELL = BELL / BELL.sum()


def _backward(z: Any, gamma: Any, dy: Any, eps: float, axis: int, mean: int, var: int) -> Any:
    centred = z - np.mean(z, axis, keepdims=True)
    std = (np.mean(centred**2, axis, keepdims=True) + eps) ** 0.5
    hat, d = centred / std, dy * gamma
    dz = d - mean * d.mean(axis, keepdims=True)
    return (dz - var * hat * (d * hat).mean(axis, keepdims=True)) / std, hat


def _wrong_dz(axis: int = 0, mean: int = 1, var: int = 1) -> Callable[..., Any]:
    def answer(z: Any, gamma: Any, dy: Any, eps: float = 1e-5) -> Any:
        dz, hat = _backward(z, gamma, dy, eps, axis, mean, var)
        return dz, (dy * hat).sum(0), dy.sum(0)

    return answer


def _wrong_parameters(dgamma: Callable[..., Any], dbeta: Callable[..., Any]) -> Callable[..., Any]:
    def answer(z: Any, gamma: Any, dy: Any, eps: float = 1e-5) -> Any:
        dz, hat = _backward(z, gamma, dy, eps, 0, 1, 1)
        return dz, dgamma(z, hat, dy), dbeta(dy)

    return answer


def _without_gamma(z: Any, gamma: Any, dy: Any, eps: float = 1e-5) -> Any:
    return _wrong_dz()(z, np.ones_like(gamma), dy, eps)


def _sample_variance(z: Any, gamma: Any, dy: Any, eps: float = 1e-5) -> Any:
    n = len(z)
    std = (z.var(0, ddof=1) + eps) ** 0.5
    hat, d = (z - z.mean(0)) / std, dy * gamma
    dz = (d - d.mean(0) - hat * (d * hat).sum(0) / (n - 1)) / std
    return dz, (dy * hat).sum(0), dy.sum(0)


def _ratio(start: Any, fan_in: int, fan_out: int, *, positive: bool = True) -> float:
    rng, found = np.random.default_rng(5), []
    for _ in range(4):
        x = rng.normal(size=(15, fan_in))
        x = x * (x > 0) if positive else x
        z = x @ start(rng, fan_in, fan_out)
        found.append(np.sum(z[z > 0] ** 2) / z.size / np.mean(x**2))
    return float(np.mean(found))


def _all_near_one(*layers: tuple[int, int], positive: bool = True) -> Callable[[Any], bool]:
    return lambda start: all(0.7 < _ratio(start, *s, positive=positive) < 1.4 for s in layers)


def _no_outliers(start: Any) -> bool:
    W = start(np.random.default_rng(0), 200, 400) * 10
    kurtosis = np.mean(W**4) / np.mean(W**2) ** 2
    return bool(abs(kurtosis - 3) < 0.2)


def _mean(h: Callable[[Any], Any], q: float = 1.0) -> float:
    return float(BELL @ h(NODES * q**0.5))


def _settled(g: float, variance: float) -> float:
    q = 0.5
    for _ in range(300):
        q = g * g * _mean(lambda z: np.tanh(z) ** 2, q) + variance
    return q


def _searched(variance: Callable[[float], float], power: int) -> Callable[[float], float]:
    def answer(bias: float) -> float:
        low, high = 0.5, 3.0
        for _ in range(40):
            g = (low + high) / 2
            q = _settled(g, variance(bias))
            chi = g * g * _mean(lambda z: np.cosh(z) ** (-2.0 * power), q)
            low, high = (g, high) if chi < 1 else (low, g)
        return low

    return answer


WRONG = {
    "initialisation.branch_scale": {
        "added-instead-of-multiplied": lambda depth, growth: ((growth - 1) / depth) ** 0.5,
        "scale-not-squared": lambda depth, growth: np.exp(np.log(growth) / depth) - 1,
        "sizes-instead-of-squares": lambda depth, growth: (growth ** (2 / depth) - 1) ** 0.5,
        "depth-left-out": lambda depth, growth: (growth - 1) ** 0.5,
        "input-forgotten": lambda depth, growth: growth ** (0.5 / depth),
        "wrong-values": lambda depth, growth: depth**-0.5,
    },
    "initialisation.batch_norm": {
        "statistics-taken-for-constants": _wrong_dz(mean=0, var=0),
        "variance-taken-for-constant": _wrong_dz(var=0),
        "mean-taken-for-constant": _wrong_dz(mean=0),
        "rows-instead-of-units": _wrong_dz(axis=1),
        "gamma-left-out": _without_gamma,
        "divided-by-n-minus-one": _sample_variance,
        "dgamma-from-z": _wrong_parameters(
            lambda z, hat, dy: np.einsum("nu,nu->u", z, dy), lambda dy: dy.sum(0)
        ),
        "averaged-over-rows": _wrong_parameters(
            lambda z, hat, dy: np.mean(hat * dy, 0), lambda dy: np.mean(dy, 0)
        ),
        "not-three": lambda z, gamma, dy, eps=1e-5: _wrong_dz()(z, gamma, dy, eps)[0],
        "wrong-shape": _wrong_parameters(lambda z, hat, dy: dy * hat, lambda dy: dy),
    },
    "initialisation.keeps_size": {
        "half-lost-not-noticed": lambda start: True,
        "square-layers-only": _all_near_one((400, 400)),
        "narrowing-layers-only": _all_near_one((800, 300)),
        "widening-layers-only": _all_near_one((300, 800)),
        "signal-too-symmetric": _all_near_one((300, 800), (800, 300), positive=False),
        "false-alarm": lambda start: abs(_ratio(start, 20, 30) - 1) < 1e-3,
        "only-normal-allowed": _no_outliers,
        "not-true-or-false": lambda start: _ratio(start, 100, 200),
    },
    "initialisation.critical_gain": {
        "bias-forgotten": lambda bias: 1.0,
        "chi-at-one": lambda bias: _mean(lambda z: np.cosh(z) ** -4.0) ** -0.5,
        "size-kept-at-one": lambda bias: ((1 - bias**2) / _mean(lambda z: np.tanh(z) ** 2)) ** 0.5,
        "variance-for-gain": lambda bias: _searched(lambda b: b * b, 2)(bias) ** 2,
        "bias-not-squared": _searched(lambda b: b, 2),
        "slope-not-squared": _searched(lambda b: b * b, 1),
        "wrong-values": lambda bias: 1 + bias,
    },
}
