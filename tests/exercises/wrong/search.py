"""Typical wrong answers to the exercises of the chapter on search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _best(scores: Any, n: int, *, key: Any, failed: float | None = None) -> list[int]:
    known = {t: failed if s is None else s for t, s in scores.items()}
    kept = [t for t in known if known[t] is not None]
    return sorted(sorted(kept, key=lambda t: key(known[t], t))[:n])


def _with_ties(scores: Any, n: int) -> list[int]:
    known = sorted((s for s in scores.values() if s is not None), reverse=True)
    limit = known[:n][-1]
    return sorted(t for t, s in scores.items() if s is not None and s >= limit)


def _rungs(n: int, r: int, eta: int) -> list[tuple[int, int, int]]:
    rungs, before = [], 0
    while n >= 1:
        rungs.append((n, r, r - before))
        n, r, before = n // eta, r * eta, r
    return rungs


def _others(table: Any, j: int) -> Any:
    return np.delete(table, j, axis=1).mean(axis=1)


WRONG = {
    "search.log_uniform": {
        "evenly-drawn": lambda u, low, high: low + u * (high - low),
        "logarithm-returned": lambda u, low, high: np.log(low) + u * np.log(high / low),
        "bases-mixed": lambda u, low, high: 10 ** (np.log(low) + u * np.log(high / low)),
        "ends-swapped": lambda u, low, high: high * (low / high) ** u,
        "starts-at-one": lambda u, low, high: (high / low) ** u,
        "wrong-values": lambda u, low, high: low + np.expm1(u) / np.expm1(1) * (high - low),
    },
    "search.promote": {
        "worst-promoted": lambda scores, n: _best(scores, n, key=lambda s, t: (s, t)),
        "ties-by-arrival": lambda scores, n: _best(scores, n, key=lambda s, t: -s),
        "ties-to-the-higher-number": lambda scores, n: _best(scores, n, key=lambda s, t: (-s, -t)),
        "wrong-number": _with_ties,
        "failed-promoted": lambda scores, n: _best(
            scores, n, key=lambda s, t: (-s, t), failed=1.0),
        "places-filled-up": lambda scores, n: _best(
            scores, n, key=lambda s, t: (-s, t), failed=-1.0),
        "always-as-many": lambda scores, n: _best(scores, 3, key=lambda s, t: (-s, t)),
        "not-sorted": lambda scores, n: _best(scores, n, key=lambda s, t: (-s, t))[::-1],
        "raises-an-error": lambda scores, n: sorted(scores, key=lambda t: (-scores[t], t))[:n],
        "not-a-list-of-trials": lambda scores, n: sorted(
            (s for s in scores.values() if s), reverse=True)[:n],
    },
    "search.halving_time": {
        "idle-workers-forgotten": lambda n, r, eta, p: sum(
            k * more for k, _, more in _rungs(n, r, eta)) / p,
        "state-forgotten": lambda n, r, eta, p: sum(
            math.ceil(k / p) * budget for k, budget, _ in _rungs(n, r, eta)),
        "work-instead-of-time": lambda n, r, eta, p: sum(
            k * more for k, _, more in _rungs(n, r, eta)),
        "enough-workers-assumed": lambda n, r, eta, p: _rungs(n, r, eta)[-1][1],
        "wrong-values": lambda n, r, eta, p: sum(
            k // p * more for k, _, more in _rungs(n, r, eta)),
    },
    "search.honest_score": {
        "winner-flattered": lambda table: table.mean(axis=1).max(),
        "chosen-on-its-own-fold": lambda table: table.max(axis=0).mean(),
        "nobody-chosen": lambda table: table.mean(),
        "reported-where-chosen": lambda table: np.mean(
            [_others(table, j).max() for j in range(table.shape[1])]),
        "rows-for-columns": lambda table: table.mean(axis=0).max(),
        "wrong-values": lambda table: np.median(table),
    },
}  # fmt: skip
