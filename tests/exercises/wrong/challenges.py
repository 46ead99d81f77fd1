"""Typical wrong answers to the exercises of the chapter on challenges."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.activations import softmax


def _rounded(W: Any, bits: int, *, axis: Any = 0, levels: Any = None, to_int: Any = np.rint) -> Any:
    scale = np.abs(W).max(axis=axis) / (levels or 2 ** (bits - 1) - 1)
    inner = np.where(scale > 0, scale, 1)
    inner = inner[:, None] if axis == 1 else inner
    return to_int(W / inner).astype(int), scale


def _without_guard(W: Any, bits: int) -> Any:
    scale = np.abs(W).max(axis=0) / (2 ** (bits - 1) - 1)
    return np.round(W / scale), scale


def _as_floats(W: Any, bits: int) -> Any:
    q, scale = _rounded(W, bits)
    return q.astype(float), scale


def _scores(score: Any, x: Any, y: Any, repeats: int, change: Any) -> Any:
    found = np.empty((x.shape[1], repeats))
    for j, r in np.ndindex(found.shape):
        found[j, r] = score(*change(x.copy(), y.copy(), j))
    return found


def _column(rng: Any) -> Any:
    def change(x: Any, y: Any, j: int) -> Any:
        x[:, j] = rng.permutation(x[:, j])
        return x, y

    return change


def _zeroed(x: Any, y: Any, j: int) -> Any:
    x[:, j] = 0.0
    return x, y


def _right(score: Any, x: Any, y: Any, repeats: int, rng: Any) -> Any:
    return score(x, y) - _scores(score, x, y, repeats, _column(rng)).mean(axis=1)


def _never_put_back(score: Any, x: Any, y: Any, repeats: int, rng: Any) -> Any:
    whole, shuffled, lost = score(x, y), x.copy(), []
    for j in range(x.shape[1]):
        values = []
        for _ in range(repeats):
            shuffled[:, j] = rng.permutation(shuffled[:, j])
            values.append(whole - score(shuffled, y))
        lost.append(np.mean(values))
    return np.array(lost)


def _student(z: Any, t: Any, y: Any, *, soft: float, hard: float, T: float, at: float = 1.0) -> Any:
    labels = softmax(z / at)
    labels[np.arange(len(y)), y] -= 1
    return (soft * (softmax(z / T) - softmax(t / T)) + hard * labels) / len(y)


WRONG = {
    "challenges.quantise": {
        "one-scale-for-all": lambda W, bits: _rounded(W, bits, axis=None),
        "scale-per-row": lambda W, bits: _rounded(W, bits, axis=1),
        "wrong-range": lambda W, bits: _rounded(W, bits, levels=2 ** (bits - 1)),
        "cut-off-not-rounded": lambda W, bits: _rounded(W, bits, to_int=np.trunc),
        "not-finite": _without_guard,
        "not-integers": _as_floats,
        "not-a-pair": lambda W, bits: _rounded(W, bits)[0],
    },
    "challenges.importance": {
        "sign-reversed": lambda s, x, y, n, rng: -_right(s, x, y, n, rng),
        "score-not-loss": lambda s, x, y, n, rng: _scores(s, x, y, n, _column(rng)).mean(axis=1),
        "values-changed": lambda s, x, y, n, rng: (
            s(x, y) - _scores(s, x, y, n, _zeroed).mean(axis=1)
        ),
        "rows-shuffled": lambda s, x, y, n, rng: (
            s(x, y) - _scores(s, x, y, n, lambda x, y, j: (rng.permutation(x), y)).mean(axis=1)
        ),
        "labels-shuffled": lambda s, x, y, n, rng: (
            s(x, y) - _scores(s, x, y, n, lambda x, y, j: (x, rng.permutation(y))).mean(axis=1)
        ),
        "columns-removed": lambda s, x, y, n, rng: np.array(
            [s(x, y) - s(np.delete(x, j, axis=1), y) for j in range(x.shape[1])]
        ),
        "not-put-back": _never_put_back,
        "too-few-shuffles": lambda s, x, y, n, rng: _right(s, x, y, 1, rng),
    },
    "challenges.distil": {
        "weights-swapped": lambda z, t, y, T, a: _student(z, t, y, soft=(1 - a) * T, hard=a, T=T),
        "t-squared-forgotten": lambda z, t, y, T, a: _student(z, t, y, soft=a / T, hard=1 - a, T=T),
        "inner-derivative-forgotten": lambda z, t, y, T, a: _student(
            z, t, y, soft=a * T * T, hard=1 - a, T=T
        ),
        "labels-at-temperature": lambda z, t, y, T, a: _student(
            z, t, y, soft=a * T, hard=1 - a, T=T, at=T
        ),
        "sum-not-mean": lambda z, t, y, T, a: (
            len(y) * _student(z, t, y, soft=a * T, hard=1 - a, T=T)
        ),
        "sign-reversed": lambda z, t, y, T, a: -_student(z, t, y, soft=a * T, hard=1 - a, T=T),
        "wrong-values": lambda z, t, y, T, a: _student(z, t, y, soft=a * T, hard=1, T=T),
    },
}
