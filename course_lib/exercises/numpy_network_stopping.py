"""When training stops that waits for a new best loss, by the rule or by a misreading of it.

Chapter: a network in NumPy.
"""

from __future__ import annotations

import numpy as np


def stops(losses: list[float], patience: int, variant: str = "") -> tuple[int, int]:
    """Return the best epoch and the number of epochs run, or those of a typical mistake."""
    best, rises, ran = 0, 0, 0
    late = variant == "one-epoch-late"
    for epoch, loss in enumerate(losses):
        ran = epoch + 1
        equal = variant == "equal-is-better" and loss == losses[best]
        rises = rises + 1 if epoch and loss >= losses[epoch - 1] else 0
        if loss < losses[best] or equal:
            best = epoch
        waited = rises if variant == "counts-rises" else epoch - best
        if waited >= patience + late:
            break
    if variant == "looks-ahead":
        best = int(np.argmin(losses))
    if variant == "last-instead-of-best":
        best = ran - 1
    return best, ran - (variant == "number-from-zero")
