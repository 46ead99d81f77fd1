"""Typical wrong answers to the exercises of the chapter on the concepts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from course_lib import mlp


def _train(samples: Any, w: float, b: float, lr: float, epochs: int, size: int, **bugs: Any) -> Any:
    dw = db = 0.0
    for _ in range(epochs):
        if bugs.get("emptied") == "epoch":
            dw = db = 0.0
        for first in range(0, len(samples), size):
            batch = samples[first : first + size]
            if bugs.get("emptied") == "batch":
                dw = db = 0.0
            n = len(batch) if bugs.get("mean") else size
            dw += sum(2 * (w * x + b - y) * x / n for x, y in batch)
            db += sum(2 * (w * x + b - y) / n for x, y in batch)
            w, b = w - lr * dw, b - lr * db
    return w, b


def _log(eta: float, x: float, tolerance: float, *, factor: Any, rounded: Any = math.ceil) -> Any:
    r = factor(eta, x)
    if r >= 1:
        return math.inf
    return rounded(math.log(tolerance) / math.log(r)) if r else 1


def _right(eta: float, x: float) -> float:
    return abs(1 - 2 * eta * x * x)


def _package(theta: Any, batch: Any, hidden: str = "sigmoid") -> Any:
    """The network of the package; its order is w, b, v, c too."""
    x, y = np.array(batch).T
    net = mlp([1, (len(theta) - 1) // 3, 1], hidden=hidden, loss="mse")
    return net.loss_and_grad(np.array(theta), x[:, None], y)[1]


def _wrong_slope(theta: Any, batch: Any, slope: Any) -> Any:
    H = (len(theta) - 1) // 3
    g = [0.0] * len(theta)
    for x, y in batch:
        a = [1 / (1 + math.exp(-(theta[j] * x + theta[H + j]))) for j in range(H)]
        error = sum(theta[2 * H + j] * a[j] for j in range(H)) + theta[-1] - y
        for j in range(H):
            back = 2 * error * theta[2 * H + j] * slope(a[j]) / len(batch)
            g[j] += back * x
            g[H + j] += back
            g[2 * H + j] += 2 * error * a[j] / len(batch)
        g[-1] += 2 * error / len(batch)
    return g


WRONG = {
    "concepts.steps": {
        "short-batch-dropped": lambda n, size, epochs: (n // size * epochs, n % size or size),
        "one-batch-too-many": lambda n, size, epochs: ((n // size + 1) * epochs, n % size),
        "epochs-forgotten": lambda n, size, epochs: (-(-n // size), n % size or size),
        "rounded-after-all-epochs": lambda n, size, epochs: (-(-n * epochs // size), n % size),
        "empty-last-batch": lambda n, size, epochs: (-(-n // size) * epochs, n % size),
        "wrong-values": lambda n, size, epochs: (-(-n // size) * epochs, size),
        "wrong-shape": lambda n, size, epochs: -(-n // size) * epochs,
    },
    "concepts.two_bugs": {
        "both-bugs-left": _train,
        "gradient-not-emptied": lambda *a: _train(*a, mean=True),
        "emptied-once-an-epoch": lambda *a: _train(*a, mean=True, emptied="epoch"),
        "short-batch": lambda *a: _train(*a, emptied="batch"),
    },
    "concepts.turns": {
        "factor-of-two-missing": lambda *a: _log(*a, factor=lambda eta, x: abs(1 - eta * x * x)),
        "x-not-squared": lambda *a: _log(*a, factor=lambda eta, x: abs(1 - 2 * eta * x)),
        "one-too-few": lambda *a: _log(*a, factor=_right, rounded=math.floor),
        "negative-factor": lambda *a: _log(*a, factor=lambda eta, x: 1 - 2 * eta * x * x),
        "never-not-noticed": lambda eta, x, tolerance: math.ceil(
            math.log(tolerance) / math.log(_right(eta, x) or 1e-9)
        ),
        "zero-factor": lambda eta, x, tolerance: (
            math.inf
            if _right(eta, x) >= 1
            else math.ceil(math.log(tolerance) / math.log(_right(eta, x)))
        ),
        "wrong-values": lambda eta, x, tolerance: 1000,
    },
    "concepts.gradient": {
        "still-tanh": lambda theta, batch: _package(theta, batch, "tanh"),
        "sum-instead-of-mean": lambda theta, batch: _package(theta, batch) * len(batch),
        "factor-of-two-missing": lambda theta, batch: _package(theta, batch) / 2,
        "sign-reversed": lambda theta, batch: -_package(theta, batch),
        "slope-of-tanh": lambda theta, batch: _wrong_slope(theta, batch, lambda a: 1 - a**2),
        "slope-left-out": lambda theta, batch: _wrong_slope(theta, batch, lambda a: 1.0),
        "another-order": lambda theta, batch: np.roll(_package(theta, batch), 1),
        "wrong-values": lambda theta, batch: _wrong_slope(theta, batch, lambda a: a),
        "wrong-shape": lambda theta, batch: _package(theta, batch)[:-1],
    },
}
