"""Typical wrong answers to the exercises of the chapter on optimizers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import numpy as np


def _two_lines(rise: Callable[..., float], fall: Callable[..., float]) -> Callable[..., Any]:
    def triangle(peak: float, up: int, steps: int) -> Callable[[int], float]:
        return lambda t: peak * (rise(t, up) if t < up else fall(t, up, steps))

    return triangle


def _counting(peak: float, up: int, steps: int) -> Callable[[int], float]:
    calls, right = count(), _two_lines(_rise, _fall)(peak, up, steps)
    return lambda t: right(next(calls))


def _rise(t: int, up: int) -> float:
    return 1 - (up - 1 - t) / up


def _fall(t: int, up: int, steps: int) -> float:
    return max(1 - (t - up) / (steps - up), 0)


def _adamax(
    *,
    largest: Callable[..., Any] = lambda old, g, eps, b: np.fmax(b * old, abs(g) + eps),
    unbiased: Callable[..., Any] = lambda m, b, t: m / (1 - b**t),
    below: Callable[..., Any] = lambda u, b, t: u,
    late: int = 0,
    keep: Callable[..., Any] = lambda old, new: new,
) -> Callable[..., Any]:
    def step(
        theta: Any,
        g: Any,
        state: Any,
        lr: float = 0.05,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> Any:
        t = state["t"] + 1
        m = state["m"] + (1 - beta1) * (g - state["m"])
        u = largest(state["u"], g, eps, beta2)
        ratio = unbiased(m, beta1, t - late) / below(u, beta2, t - late)
        return theta - lr * ratio, keep(state, {"t": t, "m": m, "u": u})

    return step


def _in_place(theta: Any, g: Any, state: Any, **options: float) -> Any:
    state["t"] += 1
    return theta, state


def _along(rates: Any, mu: float, momentum: Callable[[float, float], float]) -> Any:
    later = [momentum(new, old) for old, new in pairwise(rates)]
    return np.array([mu, *later])


WRONG = {
    "optimizers.triangle": {
        "first-step-lost": _two_lines(lambda t, up: t / up, _fall),
        "way-down-not-shifted": _two_lines(_rise, lambda t, up, steps: max(0, (steps - t) / steps)),
        "way-down-too-long": _two_lines(
            _rise, lambda t, up, steps: max(0, (steps - t + up) / steps)
        ),
        "below-zero-after-the-end": _two_lines(
            _rise, lambda t, up, steps: (steps - t) / (steps - up)
        ),
        "peak-left-out": lambda peak, up, steps: _two_lines(_rise, _fall)(1.0, up, steps),
        "calls-counted": _counting,
        "no-schedule": lambda peak, up, steps: [peak * _rise(t, up) for t in range(up)],
        "wrong-values": _two_lines(_rise, lambda t, up, steps: 1.0),
    },
    "optimizers.adamax": {
        "not-corrected": _adamax(unbiased=lambda m, b, t: m),
        "maximum-corrected": _adamax(below=lambda u, b, t: u / (1 - b**t)),
        "sign-kept": _adamax(largest=lambda old, g, eps, b: np.fmax(b * old, g + eps)),
        "never-forgets": _adamax(largest=lambda old, g, eps, b: np.fmax(old, abs(g) + eps)),
        "mean-instead-of-maximum": _adamax(
            largest=lambda old, g, eps, b: old + (1 - b) * (abs(g) - old)
        ),
        "state-forgotten": _adamax(keep=lambda old, new: old),
        "counter-too-late": _adamax(late=1),
        "epsilon-left-out": _adamax(largest=lambda old, g, eps, b: np.fmax(b * old, abs(g))),
        "no-pair": lambda *given, **options: _adamax()(*given, **options)[0],
        "input-changed": _in_place,
    },
    "optimizers.inside_form": {
        "left-as-it-was": lambda rates, mu: np.full(len(rates), mu),
        "upside-down": lambda rates, mu: _along(rates, mu, lambda new, old: mu * old / new),
        "momentum-left-out": lambda rates, mu: _along(rates, mu, lambda new, old: new / old),
        "change-added": lambda rates, mu: _along(rates, mu, lambda new, old: mu * (1 + new - old)),
        "one-step-early": lambda rates, mu: np.append(mu * rates[1:] / rates[:-1], mu),
        "first-not-finite": lambda rates, mu: (
            mu * rates / np.concatenate([[0.0], np.asarray(rates)[:-1]])
        ),
        "wrong-shape": lambda rates, mu: mu * rates[1:] / rates[:-1],
        "wrong-values": lambda rates, mu: mu * rates / rates.max(),
    },
    "optimizers.nesterov_limit": {
        "heavy-ball-instead": lambda mu, curvature: (2 + 2 * mu) / curvature,
        "plain-descent-instead": lambda mu, curvature: 2 / curvature,
        "determinant-alone": lambda mu, curvature: (mu + 1) / (mu * curvature),
        "half-of-it": lambda mu, curvature: (1 + mu) / (1 + 2 * mu) / curvature,
        "curvature-left-out": lambda mu, curvature: 2 * (1 + mu) / (1 + 2 * mu),
        "wrong-values": lambda mu, curvature: 2 / (1 + mu) / curvature,
    },
}
