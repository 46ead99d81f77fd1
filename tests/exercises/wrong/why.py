"""Typical wrong answers to the exercises of the chapter on background and history."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _most(labels: Any) -> Any:
    return np.bincount(labels).argmax()


def _search(values: Any, labels: Any, candidates: Any, worst: bool = False) -> Any:
    counts = [np.sum((values > t).astype(int) != labels) for t in candidates]
    return candidates[int(np.argmax(counts) if worst else np.argmin(counts))]


def _clipped(p: float, limit: int) -> int:
    return int(min(max(p, 1), limit))


WRONG = {
    "why.baseline": {
        "chosen-on-the-test-labels": lambda train, test: np.mean(test == _most(test)),
        "measured-on-the-training-labels": lambda train, test: np.mean(train == _most(train)),
        "guessing-among-the-classes": lambda train, test: 1 / len(np.unique(train)),
        "wrong-values": lambda train, test: 100 * np.mean(test == _most(train)),
        "not-a-number": lambda train, test: test == _most(train),
    },
    "why.threshold": {
        "a-mean-instead-of-counting": lambda v, y: (v[y == 0].mean() + v[y == 1].mean()) / 2,
        "sides-swapped": lambda v, y: _search(v, 1 - y, np.append(v, v.min() - 1)),
        "thresholds-of-a-fixed-grid": lambda v, y: _search(v, y, np.arange(0, 12, 0.25)),
        "never-below-the-smallest": lambda v, y: _search(v, y, np.sort(v)),
        "not-the-best-threshold": lambda v, y: np.median(v),
    },
    "why.workers": {
        "mean-of-means": lambda means, rows: np.mean(means, axis=0),
        "sum-of-means": lambda means, rows: sum(means),
        "sum-over-rows": lambda means, rows: sum(m * n for m, n in zip(means, rows, strict=True)),
        "empty-worker": lambda means, rows: np.average(means, axis=0, weights=rows),
        "input-changed": lambda means, rows: means.pop() * rows.pop(),
    },
    "why.best_number": {
        "not-a-whole-number": lambda c, e, limit: min(max(math.sqrt(c / e), 1), limit),
        "more-than-there-are": lambda c, e, limit: min(
            range(1, 1000), key=lambda p: c / p + (p - 1) * e
        ),
        "as-many-as-there-are": lambda c, e, limit: limit,
        "rounded-without-comparing": lambda c, e, limit: _clipped(round(math.sqrt(c / e)), limit),
        "less-than-one": lambda c, e, limit: min(
            range(limit + 1), key=lambda p: abs(c / max(p, 0.1) - p * e) if p else c / e
        ),
        "wrong-values": lambda c, e, limit: _clipped(c / e, limit) // 2,
    },
}
