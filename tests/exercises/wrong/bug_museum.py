"""Typical wrong answers to the exercises of the bug museum."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib import gradcheck


def _own(log_p: Any, labels: Any) -> Any:
    return log_p[np.arange(len(labels)), labels]


def _weighted(means: Any, counts: Any) -> Any:
    return sum(m * c for m, c in zip(means, counts, strict=True))


def _examine(program: Any, *, rows: int = 7, scale: float = 1.0, shift: float = 0.0,
             some: slice = slice(None), limit: float = 1e-7) -> bool:  # fmt: skip
    rng = np.random.default_rng(1)
    theta = scale * rng.normal(size=39) + shift
    x, y = scale * rng.normal(size=(rows, 5)) + shift, rng.integers(0, 3, rows)
    numerical = gradcheck.numerical_gradient(lambda t: program(t, x, y)[0], theta)
    return gradcheck.relative_error(program(theta, x, y)[1][some], numerical[some]) < limit


def _loss_falls(program: Any) -> bool:
    rng = np.random.default_rng(2)
    theta, x, y = rng.normal(size=39), rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
    loss, gradient = program(theta, x, y)
    return bool(program(theta - 1e-3 * gradient, x, y)[0] < loss)


def _without_hidden_biases(program: Any) -> bool:
    return _examine(program, some=np.r_[0:20, 24:39])


def _mean_expected(program: Any) -> bool:
    """Takes the first loss for a mean and rejects a sum."""
    x, y = np.random.default_rng(3).normal(size=(7, 5)), np.zeros(7, int)
    return _examine(program) and bool(program(np.zeros(39), x, y)[0] < 5)


WRONG = {
    "bug_museum.right_labels": {
        "all-columns": lambda log_p, labels: -log_p[:, labels].mean(),
        "sign-reversed": lambda log_p, labels: _own(log_p, labels).mean(),
        "sum-for-mean": lambda log_p, labels: -_own(log_p, labels).sum(),
        "divided-by-classes": lambda log_p, labels: -_own(log_p, labels).sum() / log_p.shape[1],
        "wrong-values": lambda log_p, labels: -log_p.max(axis=1).mean(),
        "not-a-number": lambda log_p, labels: -_own(log_p, labels),
    },
    "bug_museum.combine": {
        "mean-of-means": lambda means, counts: np.nanmean(means, axis=0),
        "sum-of-means": lambda means, counts: np.nansum(means, axis=0),
        "wrong-division": lambda means, counts: _weighted(means, counts) / len(counts),
        "real-nan-hidden": lambda means, counts: (
            _weighted(np.nan_to_num(means), counts) / sum(counts)
        ),
        "nan-spreads": lambda means, counts: _weighted(means, counts) / sum(counts),
        "wrong-values": lambda means, counts: np.average(means, axis=0, weights=np.sqrt(counts)),
    },
    "bug_museum.same_bits": {
        "rounding-forgiven": lambda r: all(np.allclose(r[0], a) for a in r),
        "not-all-compared": lambda r: r[0].tobytes() == r[1].tobytes(),
        "nan-unequal": lambda r: all(np.array_equal(r[0], a) for a in r),
        "signed-zero": lambda r: all(np.array_equal(r[0], a, equal_nan=True) for a in r),
        "type-ignored": lambda r: len({(a.shape, a.tobytes()) for a in r}) == 1,
        "shape-ignored": lambda r: len({(a.dtype, a.tobytes()) for a in r}) == 1,
        "false-alarm": lambda r: len({id(a) for a in r}) == 1,
        "not-true-or-false": lambda r: [a.tobytes() for a in r],
    },
    "bug_museum.examiner": {
        "false-alarm": lambda program: _examine(program, limit=1e-15),
        "sum-rejected": _mean_expected,
        "direction-only": _loss_falls,
        "bias-missed": _without_hidden_biases,
        "one-row-only": lambda program: _examine(program, rows=1),
        "all-units-on": lambda program: _examine(program, scale=0.1, shift=0.5),
        "not-every-parameter": lambda program: _examine(program, some=slice(0, 38)),
        "too-tolerant": lambda program: _examine(program, limit=1e-2),
        "not-true-or-false": lambda program: 3,
    },
}
