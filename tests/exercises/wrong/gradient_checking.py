"""Typical wrong answers to the exercises of the chapter on gradient checking."""

from __future__ import annotations

from typing import Any

import numpy as np


def _by_entry(f: Any, theta: Any, h: float, up: float, down: float, width: float) -> Any:
    found = []
    for i in range(len(theta)):
        e = np.arange(len(theta)) == i
        found.append((f(theta + up * h * e) - f(theta - down * h * e)) / (width * h))
    return np.array(found)


def _not_back(f: Any, theta: Any, h: float) -> Any:
    t, found = theta.copy(), []
    for i in range(len(t)):
        low, high = t.copy(), t.copy()
        low[i] -= h
        high[i] += h
        found.append((f(high) - f(low)) / (2 * h))
        t[i] += h
    return np.array(found)


def _overwrite(f: Any, theta: Any, h: float) -> Any:
    found = _by_entry(f, theta, h, 1, 1, 2)
    theta += h
    return found


def _central(f: Any, t: float, h: float) -> Any:
    return (f(t + h) - f(t - h)) / (2 * h)


def _pair(f: Any, t: float, h: float, p: float, q: float, wide: float = 2) -> Any:
    return p * _central(f, t, h) + q * _central(f, t, wide * h)


def _by_length(g: Any, n: Any, rows: int, outputs: int, short: bool = True) -> str:
    ratio = np.linalg.norm(g) / np.linalg.norm(n)
    names = {1: "right", rows: "rows", outputs: "outputs"}
    names |= {1 / rows: "rows", 1 / outputs: "outputs"} if short else {}
    if np.isclose(ratio, 1) and g @ n < 0:
        return "sign"
    return next((name for c, name in names.items() if np.isclose(ratio, c)), "other")


def _by_vector(g: Any, n: Any, rows: int, outputs: int, **change: Any) -> str:
    names = {1: "right", -1: "sign", rows: "rows", outputs: "outputs"}
    names |= {1 / rows: "rows", 1 / outputs: "outputs"}
    for c in change.get("without", ()):
        names.pop(c)
    for c, name in names.items():
        if np.allclose(g, c * n, rtol=0, atol=change.get("atol", 1e-7)):
            return name
    return "other"


def _long_only(g: Any, n: Any, rows: int, outputs: int) -> str:
    return _by_vector(g, n, rows, outputs, without=[1 / rows, 1 / outputs])


def _divides(g: Any, n: Any, rows: int, outputs: int) -> str:
    if not g.any():
        raise ZeroDivisionError("ratio of zeros")
    return _by_vector(g, n, rows, outputs)


def _estimate(loss: Any, g: Any, theta: Any, rng: Any, K: int, **change: Any) -> Any:
    misses = []
    for _ in range(K):
        v = change.get("draw", lambda: rng.standard_normal(len(theta)))()
        if change.get("unit"):
            v = v / np.linalg.norm(v)
        rise = loss(theta + 1e-5 * v) - loss(theta - 1e-5 * v)
        misses.append(rise / change.get("width", 2e-5) - np.dot(g, v))
    size = change.get("size", lambda m: np.sqrt(np.mean(np.square(m))))(np.array(misses))
    return size / change.get("length", np.linalg.norm(g))


WRONG = {
    "gradient_checking.slopes": {
        "one-sided": lambda f, theta, h: _by_entry(f, theta, h, 1, 0, 1),
        "width-of-one-step": lambda f, theta, h: _by_entry(f, theta, h, 1, 1, 1),
        "all-moved-at-once": lambda f, theta, h: np.full(3, _central(f, theta, h)),
        "not-moved-back": _not_back,
        "input-changed": _overwrite,
        "wrong-values": lambda f, theta, h: _by_entry(f, theta, h / 10, 1, 1, 2),
        "wrong-shape": _central,
    },
    "gradient_checking.extrapolate": {
        "no-extrapolation": _central,
        "plain-mean": lambda f, t, h: _pair(f, t, h, 0.5, 0.5),
        "error-taken-as-h": lambda f, t, h: _pair(f, t, h, 2, -1),
        "exchanged": lambda f, t, h: _pair(f, t, h, -1 / 3, 4 / 3),
        "other-points": lambda f, t, h: _central(f, t, 1e-6),
        "wrong-values": lambda f, t, h: _pair(f, t, h, 4, -3),
    },
    "gradient_checking.diagnose": {
        "rounding-taken-for-a-fault": lambda *v: _by_vector(*v, atol=1e-14),
        "factor-not-seen": lambda g, n, rows, outputs: _by_vector(g, n, -5, -6),
        "one-direction-only": _long_only,
        "too-tolerant": lambda *v: _by_vector(*v, atol=1e-3),
        "sign-not-seen": lambda g, n, rows, outputs: _by_vector(g, n, rows, outputs, without=[-1]),
        "length-alone": _by_length,
        "zero-not-handled": _divides,
        "not-a-diagnosis": lambda g, n, rows, outputs: g @ n / (n @ n),
    },
    "gradient_checking.estimate": {
        "directions-of-length-one": lambda *v: _estimate(*v, unit=True),
        "not-relative": lambda *v: _estimate(*v, length=1.0),
        "root-missing": lambda *v: _estimate(
            *v, size=lambda m: np.mean(m**2), length=np.linalg.norm(v[1]) ** 2
        ),
        "not-normal": lambda *v: _estimate(*v, draw=lambda: v[3].uniform(-1, 1, len(v[2]))),
        "mean-of-sizes": lambda *v: _estimate(*v, size=lambda m: np.mean(np.abs(m))),
        "misses-cancel": lambda *v: _estimate(*v, size=lambda m: abs(np.mean(m))),
        "too-many-passes": lambda *v: _estimate(*v[:4], 2 * v[4]),
        "width-of-one-step": lambda *v: _estimate(*v, width=1e-5),
        "wrong-size": lambda *v: _estimate(*v, width=4e-5),
    },
}
