"""How the rows of a batch are dealt out to ranks of unequal speed, by the best rule and by others.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shares(n: int, speeds: NDArray[Any], variant: str) -> NDArray[Any]:
    """Return the rows per rank by the best rule, or by another one that people use."""
    p = len(speeds)
    if variant == "even":
        return np.array([n // p + (r < n % p) for r in range(p)], float)
    if variant:
        weight = 1 / speeds if variant == "slow-ranks-favoured" else speeds
        exact = n * weight / weight.sum()
        rows = np.floor(exact + 1e-9)
        order = {
            "rest-to-the-first": np.arange(p),
            "rest-to-the-fastest": np.full(p, int(np.argmax(speeds))),
        }.get(variant, np.argsort(rows - exact, kind="stable"))
        for r in order[: int(n - rows.sum())]:
            rows[r] += 1
        return np.asarray(rows)
    rows = np.zeros(p)
    for _ in range(n):
        rows[int(np.argmin((rows + 1) / speeds))] += 1
    return rows
