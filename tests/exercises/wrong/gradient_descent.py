"""Typical wrong answers to the exercises of the chapter on gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _curvatures(H: Any) -> Any:
    return np.sort(np.linalg.eig(H)[0].real)


def _from_diagonal(H: Any) -> Any:
    return 2 / H.diagonal().max(), 2 / (H.diagonal().max() + H.diagonal().min())


def _squares(gradients: Any) -> float:
    return float(np.mean([row @ row for row in gradients]))


def _noise_and_gradient(a: float, b: int, c: float, B: int) -> tuple[float, float]:
    noise = (a - c) * b * B / (B - b)
    return noise, c - noise / B


def _ratio(a: float, b: int, c: float, B: int) -> float:
    noise, gradient = _noise_and_gradient(a, b, c, B)
    return noise / gradient


def _of_mean(gradients: Any) -> float:
    mean = gradients.mean(axis=0)
    return float(mean @ mean)


def _of_lengths(gradients: Any) -> float:
    return float(np.mean([np.sqrt(row @ row) for row in gradients]))


def _differences_only(small: Any, b: int, large: Any, B: int) -> float:
    a, c = _squares(small), _squares(large)
    return (a - c) / _noise_and_gradient(a, b, c, B)[1]


def _diary(step: Any, *, copied: bool, start_copied: bool, size: int = 2) -> bool:
    theta, places = np.arange(1.0, size + 1), []

    def gradient(place: Any) -> Any:
        places.append(place.copy() if copied else place)
        return 2 * place

    start = theta.copy() if start_copied else theta
    step(gradient, theta, 0.1)
    first = start if copied else places[0]
    return any(not np.array_equal(place, first) for place in places)


def _counted(step: Any) -> bool:
    calls = []
    step(lambda theta: calls.append(theta) or np.ones(2), np.zeros(2), 0.1)
    return len(calls) > 1


def _formula(step: Any) -> bool:
    H = np.array([[2.0, 1.0], [1.0, 3.0]])
    theta = np.array([1.0, 1.0])
    return not np.allclose(step(lambda t: H @ t, theta.copy(), 0.1), theta - 0.1 * (H @ theta))


def _triangular(step: Any) -> bool:
    H = np.array([[1.0, 0.0], [1.0, 1.0]])
    theta = np.array([1.0, 1.0])
    moved, g = theta - step(lambda t: H @ t, theta.copy(), 0.1), H @ theta
    return abs(moved[0] * g[1] - moved[1] * g[0]) > 1e-9


def _at_rest(step: Any) -> bool:
    return bool(np.any(step(lambda t: np.array([1.0, 4.0]) * t, np.zeros(2), 0.1) != 0))


def _rates(
    rate: Callable[[float, float, float], float],
    update: Callable[[float, float, float, float], float],
    *,
    first: int = 0,
) -> Callable[..., Any]:
    def answer(curvature: float, variance: float, error: float, steps: int) -> Any:
        found = []
        for _ in range(steps + first):
            found.append(rate(curvature, variance, error))
            error = update(curvature, variance, error, found[-1])
        return np.array(found[first:])

    return answer


def _best(k: float, v: float, e: float) -> float:
    return 1 / (k + v / (k * e))


def _next(k: float, v: float, e: float, eta: float) -> float:
    return (1 - 2 * eta * k + eta**2 * k**2) * e + eta**2 * v


WRONG = {
    "gradient_descent.two_rates": {
        "diagonal-taken": _from_diagonal,
        "flattest-for-the-limit": lambda H: (2 / _curvatures(H)[0], 2 / np.trace(H)),
        "factor-zero-for-the-limit": lambda H: (
            1 / _curvatures(H)[-1],
            2 / (_curvatures(H)[0] + _curvatures(H)[-1]),
        ),
        "only-the-steepest": lambda H: (2 / _curvatures(H)[-1], 1 / _curvatures(H)[-1]),
        "in-the-other-order": lambda H: (
            2 / (_curvatures(H)[0] + _curvatures(H)[-1]),
            2 / _curvatures(H)[-1],
        ),
        "wrong-values": lambda H: (2 / _curvatures(H)[-1], 2 / np.trace(H)),
        "wrong-shape": lambda H: 2 / np.linalg.norm(H, 2),
    },
    "gradient_descent.noise_scale": {
        "upside-down": lambda s, b, large, B: 1 / _ratio(_squares(s), b, _squares(large), B),
        "large-batch-taken-for-exact": lambda s, b, large, B: (
            b * (_squares(s) - _squares(large)) / _squares(large)
        ),
        "batch-sizes-left-out": _differences_only,
        "lengths-not-squared": lambda s, b, large, B: _ratio(
            _of_lengths(s) ** 2, b, _of_lengths(large) ** 2, B
        ),
        "averaged-first": lambda s, b, large, B: _ratio(_of_mean(s), b, _of_mean(large), B),
        "not-a-number": lambda s, b, large, B: s.var(axis=0) / large.mean(axis=0) ** 2,
    },
    "gradient_descent.early_mover": {
        "false-alarm": lambda step: True,
        "compared-with-a-formula": _formula,
        "calls-counted": _counted,
        "in-place-accused": lambda step: _diary(step, copied=True, start_copied=False),
        "one-parameter-only": lambda step: _diary(step, copied=True, start_copied=True, size=1),
        "early-move-not-noticed": _at_rest,
        "copy-forgotten": lambda step: _diary(step, copied=False, start_copied=True),
        "one-order-only": _triangular,
        "not-true-or-false": lambda step: step(lambda t: t, np.ones(2), 0.1),
    },
    "gradient_descent.best_rates": {
        "error-never-updated": _rates(_best, lambda k, v, e, eta: e),
        "noise-forgotten": _rates(lambda k, v, e: 1 / k, _next),
        "one-step-ahead": _rates(_best, _next, first=1),
        "factor-two-lost": _rates(lambda k, v, e: 2 * _best(k, v, e), _next),
        "root-of-the-error": _rates(lambda k, v, e: _best(k, v, e**0.5), _next),
        "rate-not-squared": _rates(lambda k, v, e: 1 / k - v / (2 * k * k * e), _next),
        "noise-not-added": _rates(_best, lambda k, v, e, eta: (1 - eta * k) ** 2 * e),
        "wrong-shape": lambda curvature, variance, error, steps: _best(curvature, variance, error),
    },
}
