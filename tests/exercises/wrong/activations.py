"""Typical wrong answers to the exercises of the chapter on activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib import activations as act


def _slope(z: Any, T: float, dp: Any, *, inner: float, p_at: float | None = None) -> Any:
    p = act.softmax(z / (T if p_at is None else p_at))
    return np.sum(p * (dp - (p * dp).sum(axis=1, keepdims=True)) * z) * inner


def _two_calm_rows(softmax: Callable[[Any], Any]) -> bool:
    rows = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.5]])
    alone = [softmax(row[None]) for row in rows]
    return not np.allclose(softmax(rows), np.concatenate(alone), atol=1e-6)


def _one_row(softmax: Callable[[Any], Any]) -> bool:
    return not np.isclose(softmax(np.array([[0.0, 50.0, 2.0]])).sum(), 1)


def _sums_to_one(softmax: Callable[[Any], Any]) -> bool:
    return not np.allclose(softmax(np.array([[0.0, 1.0, 2.0], [60.0, 0.0, 0.0]])).sum(axis=1), 1)


def _formula(softmax: Callable[[Any], Any]) -> bool:
    z = np.array([[0.0, 1.0], [60.0, 2.0]])
    return not np.allclose(softmax(z), act.softmax(z))


WRONG = {
    "activations.elu": {
        "alpha-ignored": lambda z, alpha=1.0: act.elu(z),
        "alpha-on-both-sides": lambda z, alpha=1.0: alpha * act.elu(z),
        "derivative-instead": lambda z, alpha=1.0: np.where(z > 0, 1, alpha * np.exp(z)),
        "digits-lost-near-zero": lambda z, alpha=1.0: np.where(z > 0, z, alpha * (np.exp(z) - 1)),
        "overflow": lambda z, alpha=1.0: (z > 0) * z + (z <= 0) * alpha * np.expm1(z),
        "wrong-values": lambda z, alpha=1.0: np.where(z > 0, z, alpha * np.exp(z)),
        "raises-an-error": lambda z, alpha=1.0: z if z > 0 else alpha * np.expm1(z),
        "input-changed": lambda z, alpha=1.0: np.expm1(z, out=z, where=z < 0),
    },
    "activations.softmax_backward": {
        "diagonal-only": lambda p, dp: p * (1 - p) * dp,
        "sign-reversed": lambda p, dp: p * ((p * dp).sum(axis=1)[:, None] - dp),
        "p-left-out": lambda p, dp: dp - np.einsum("nk,nk->n", p, dp)[:, None],
        "rows-mixed": lambda p, dp: p * (dp - np.sum(p * dp)),
        "raises-an-error": lambda p, dp: p * (dp - np.sum(p * dp, axis=1)),
        "wrong-shape": lambda p, dp: np.sum(p * dp, axis=1),
    },
    "activations.find_coupling": {
        "false-alarm": lambda softmax: True,
        "compared-with-a-formula": _formula,
        "one-row-only": _one_row,
        "sum-not-noticed": lambda softmax: bool(np.isnan(softmax(np.eye(2))).any()),
        "only-sums-compared": _sums_to_one,
        "rows-too-calm": _two_calm_rows,
        "not-true-or-false": lambda softmax: softmax(np.eye(2)),
    },
    "activations.temperature": {
        "sign-reversed": lambda z, T, dp: _slope(z, T, dp, inner=1 / T**2),
        "inner-derivative-of-T": lambda z, T, dp: _slope(z, T, dp, inner=1.0),
        "one-over-T": lambda z, T, dp: _slope(z, T, dp, inner=-1 / T),
        "p-without-T": lambda z, T, dp: _slope(z, T, dp, inner=-1 / T**2, p_at=1.0),
        "not-summed-over-rows": lambda z, T, dp: np.array(
            [_slope(z[i : i + 1], T, dp[i : i + 1], inner=-1 / T**2) for i in range(len(z))]
        ),
        "not-a-number": lambda z, T, dp: -z / T**2 * dp,
    },
}
