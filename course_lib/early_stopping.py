"""When to stop: as soon as the held-out data has stopped getting better.

Chapter: batches, validation and reading a training curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.arrays import check_integer
from course_lib.evaluation import History


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a metric has not improved for `patience` epochs.

    It keeps no count of its own: it looks at the history, so that everybody who has the same
    history (another worker, a resumed run) decides the same.

    Parameters
    ----------
    patience : int
        How many epochs without improvement to wait for, at least 1.
    min_delta : float
        How much lower (higher, for an accuracy) a value must be to count as improvement.
    metric : str
        A key of the history; a name that ends in "accuracy" is to grow, any other to fall.

    Raises
    ------
    ValueError
        If `patience` is below 1 or the history lacks the metric.

    References
    ----------
    Prechelt 1998.

    Examples
    --------
    >>> stop = EarlyStopping(patience=2)
    >>> stop({"val_loss": [1.0, 0.5, 0.6]}), stop({"val_loss": [1.0, 0.5, 0.6, 0.7]})
    (False, True)
    """

    patience: int = 5
    min_delta: float = 0.0
    metric: str = "val_loss"

    def __post_init__(self) -> None:
        check_integer(self.patience, where="EarlyStopping", name="patience", at_least=1)

    def __call__(self, history: History) -> bool:
        """Say whether training should stop now."""
        if self.metric not in history:
            raise ValueError(
                f"EarlyStopping: the history has no {self.metric!r}, only {', '.join(history)}; "
                "pass validation=(x, y) or choose another metric."
            )
        sign = -1.0 if self.metric.endswith("accuracy") else 1.0
        best, best_epoch = np.inf, -1
        for epoch, value in enumerate(history[self.metric]):
            if sign * value < best - self.min_delta:
                best, best_epoch = sign * value, epoch
        return len(history[self.metric]) - 1 - best_epoch >= self.patience
