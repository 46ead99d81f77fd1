"""Typical wrong answers to the exercises of the chapter on losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib import losses
from course_lib.activations import softmax


def _priced(guess: Any, truth: Any, low: float, high: float, slope: Any = None) -> Any:
    e = guess - truth
    loss = np.maximum(-low * e, high * e)
    return loss, np.where(e < 0, -low, high) if slope is None else slope(e)


def _doubled(stranger: Any, factor: float = 1.0) -> bool:
    z, t = np.array([0.5, 3.0, -2.0]), np.zeros(3)
    loss, _ = stranger(z, t)
    return bool(np.isclose(stranger(np.append(z, z), np.append(t, t))[0], loss))


def _differences(stranger: Any, only_direction: bool = False) -> bool:
    z, t, h = np.array([0.5, 3.0, -2.0]), np.zeros(3), 1e-6
    _, gradient = stranger(z, t)
    slopes = [(stranger(z + h * e, t)[0] - stranger(z - h * e, t)[0]) / (2 * h) for e in np.eye(3)]
    if only_direction:
        gradient, slopes = gradient / np.sum(gradient**2) ** 0.5, slopes / np.linalg.norm(slopes)
    return bool(np.allclose(gradient, slopes, rtol=1e-4))


def _is_squared_error(stranger: Any) -> bool:
    z, t = np.array([0.5, 3.0]), np.zeros(2)
    loss, gradient = stranger(z, t)
    return bool(np.isclose(loss, np.mean(z**2)) and np.allclose(gradient, z))


def _at_most_sum(stranger: Any) -> bool:
    """Accept the gradient of the mean or of the sum."""
    z, t = np.array([0.5, 3.0, -2.0]), np.zeros(3)
    _, gradient = stranger(z, t)
    return _doubled(stranger) and (
        _differences(stranger) or _differences(lambda z, t: (3 * stranger(z, t)[0], gradient))
    )


def _smooth(z: Any, y: Any, right: float, others: float, **change: Any) -> Any:
    """Return cross-entropy against the given targets, and its gradient."""
    targets = np.where(np.eye(z.shape[1])[y] > 0, right, others)
    shifted = z - z.max(axis=1)[:, None]
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1))[:, None]
    if change.get("naive"):
        log_p = np.log(np.exp(z) / np.exp(z).sum(axis=1)[:, None])
    gradient = change.get("gradient", lambda p, t: p - t)(softmax(z), targets)
    return -np.sum(targets * log_p) / change.get("divide", 1), gradient


WRONG = {
    "losses.shapes": {
        "every-pair-compared": lambda out, y: np.square(np.subtract(out, y)).mean(),
        "every-pair-of-columns-compared": lambda out, y: ((out.squeeze() - y) ** 2).mean(),
        "sum-over-rows": lambda out, y: losses.mse(out, y)[0],
        "outputs-added-up": lambda out, y: ((out - y.reshape(out.shape)) ** 2).sum() / len(out),
        "wrong-values": lambda out, y: np.abs(out - y.reshape(out.shape)).mean(),
        "not-a-number": lambda out, y: np.mean((out - y.reshape(out.shape)) ** 2, axis=1),
    },
    "losses.quantile": {
        "sides-exchanged": lambda guess, truth, q: _priced(guess, truth, 1 - q, q),
        "q-ignored": lambda guess, truth, q: _priced(guess, truth, 1, 1),
        "q-written-down": lambda guess, truth, q: _priced(guess, truth, 0.9, 1 - 0.9),
        "twice-too-large": lambda guess, truth, q: _priced(guess, truth, 2 * q, 2 - 2 * q),
        "gradient-by-the-truth": lambda guess, truth, q: _priced(
            guess, truth, q, 1 - q, lambda e: np.where(e < 0, q, q - 1)
        ),
        "gradient-without-sign": lambda guess, truth, q: _priced(
            guess, truth, q, 1 - q, lambda e: np.where(e < 0, q, 1 - q)
        ),
        "wrong-values": lambda guess, truth, q: _priced(guess, truth, q, 1 - q, np.sign),
        "not-a-pair": lambda guess, truth, q: _priced(guess, truth, q, 1 - q)[0],
    },
    "losses.consistent": {
        "false-alarm": lambda stranger: False,
        "tested-for-one-loss": _is_squared_error,
        "sum-not-noticed": _differences,
        "gradient-of-the-sum": _at_most_sum,
        "factor-not-noticed": lambda stranger: (
            _doubled(stranger)
            and abs(stranger(np.array([2.0, 0.0]), np.zeros(2))[1][0]) <= 2
            and _differences(stranger, only_direction=True)
        ),
        "not-true-or-false": lambda stranger: stranger(np.ones(2), np.zeros(2)),
    },
    "losses.smoothing": {
        "smoothing-ignored": lambda z, y, eps: losses.softmax_cross_entropy(z, y),
        "nothing-for-the-others": lambda z, y, eps: _smooth(z, y, 1 - eps, 0.0),
        "right-class-left-out": lambda z, y, eps: _smooth(z, y, 1 - eps, eps / (z.shape[1] - 1)),
        "sum-below-one": lambda z, y, eps: _smooth(z, y, 1 - eps, eps / z.shape[1]),
        "mean-instead-of-sum": lambda z, y, eps: _smooth(
            z, y, 1 - eps + eps / z.shape[1], eps / z.shape[1], divide=len(z)
        ),
        "gradient-of-hard-labels": lambda z, y, eps: _smooth(
            z,
            y,
            1 - eps + eps / z.shape[1],
            eps / z.shape[1],
            gradient=lambda p, t: p - (t > 0.5),
        ),
        "gradient-reversed": lambda z, y, eps: _smooth(
            z, y, 1 - eps + eps / z.shape[1], eps / z.shape[1], gradient=lambda p, t: t - p
        ),
        "overflow": lambda z, y, eps: _smooth(
            z, y, 1 - eps + eps / z.shape[1], eps / z.shape[1], naive=True
        ),
        "not-a-pair": lambda z, y, eps: softmax(z),
    },
}
