"""A pipeline that standardises, chooses inputs and fits, and may look at rows it should not see.

Chapter: batches and validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def pipeline(leak: str) -> Callable[..., Any]:
    """Return a pipeline that standardises, chooses inputs and fits, with that leak or none."""

    def train(x: Any, y: Any, rows: Any) -> Callable[[Any], Any]:
        x, y, rows = np.asarray(x, float), np.asarray(y, float), np.asarray(rows)
        own = np.arange(len(x))[rows]
        seen = {step: own for step in ("statistics", "choice", "share")}
        if leak:
            seen[leak] = np.arange(len(x))
        mean, std = x[seen["statistics"]].mean(0), x[seen["statistics"]].std(0) + 1e-9
        judged, labels = x[seen["choice"]], y[seen["choice"]]
        merit = np.abs((judged - judged.mean(0)).T @ (labels - labels.mean()))
        kept = np.argsort(-merit)[: max(1, x.shape[1] // 2)]
        centred = ((x[own] - mean) / std)[:, kept]
        w = centred.T @ (y[own] - y[own].mean()) / len(own)
        share = y[seen["share"]].mean()
        return lambda new: ((np.asarray(new, float) - mean) / std)[:, kept] @ w + share

    return train
