"""Typical wrong answers to the exercises of the chapter on neurons."""

from __future__ import annotations

from typing import Any

import numpy as np


def _normal(p: Any, q: Any) -> Any:
    d = q - p
    return np.array([d[1], -d[0]]) / np.hypot(*d)


def _line(p: Any, q: Any, r: Any, *, turn: Any = lambda w, b: (-w, -b)) -> Any:
    w = _normal(p, q)
    b = -w @ q
    return (w, b) if w @ r + b > 0 else turn(w, b)


def _by_slope(p: Any, q: Any, r: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (q[1] - p[1]) / (q[0] - p[0])
        w = np.array([slope, -1.0]) / np.sqrt(1 + slope**2)
        b = -w @ p
    return (w, b) if w @ r + b > 0 else (-w, -b)


def _along(p: Any, q: Any, r: Any) -> Any:
    w = (q - p) / np.linalg.norm(q - p)
    return w, -w @ p


def _perceptron(x: Any, y: Any, *, bias: int = 1, limit: int = 10**6, still: bool = False) -> Any:
    rows = np.column_stack([x, np.full(len(x), bias)])
    v, seen = np.zeros(rows.shape[1], int), {(0,) * rows.shape[1]}
    for _ in range(limit):
        wrong = 0
        for row, label in zip(rows, y, strict=True):
            right = (row @ v >= 0) == label
            if not right:
                wrong += 1
                v = v + (row if label else -row)
            if not right or still:
                if tuple(v) in seen:
                    return False
                seen.add(tuple(v))
        if wrong == 0:
            return True
    return False


WRONG = {
    "neurons.gate": {
        "fires-at-the-origin": (1, -1, 0),
        "inputs-exchanged": (-1, 1, -0.5),
        "and": (1, 1, -1.5),
        "second-input-ignored": (1, -0.2, -0.5),
        "or": (1, 1, -1),
        "never-fires": (1, -1, -2),
        "first-input-ignored": (0.1, 1, -0.5),
        "wrong-shape": (1, -1),
    },
    "neurons.line": {
        "along-the-line": _along,
        "not-of-length-one": lambda p, q, r: tuple(3.0 * np.array(x) for x in _line(p, q, r)),
        "other-side": lambda p, q, r: tuple(-np.array(x) for x in _line(p, q, r)),
        "line-is-shifted": lambda p, q, r: _line(p, q, r, turn=lambda w, b: (-w, b)),
        "upright-line": _by_slope,
        "no-weights": lambda p, q, r: (np.zeros(2), 0.0),
        "another-line": lambda p, q, r: (np.ones(2), 1.0),
        "not-a-pair": lambda p, q, r: np.append(*_line(p, q, r)),
    },
    "neurons.scaling": {
        "multiplied-by-the-spread": lambda w, b, m, s: (w * s, b + w @ m),
        "bias-not-moved": lambda w, b, m, s: (w / s, b),
        "shift-added": lambda w, b, m, s: (w / s, b + (w / s) @ m),
        "shift-not-divided": lambda w, b, m, s: (w / s, b - w @ m),
        "wrong-values": lambda w, b, m, s: (w, b - w @ m),
        "not-a-pair": lambda w, b, m, s: w / s,
    },
    "neurons.circle": {
        "bias-not-learned": lambda x, y: _perceptron(x, y, bias=0),
        "impossible-is-called-possible": lambda x, y: True,
        "possible-is-called-impossible": lambda x, y: _perceptron(x, y, still=True),
        "gave-up-too-early": lambda x, y: _perceptron(x, y, limit=10_000),
        "not-true-or-false": lambda x, y: int(_perceptron(x, y)),
    },
}
