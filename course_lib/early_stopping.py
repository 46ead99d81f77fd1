"""When to stop, and which parameters to keep: the held-out data decides both.

Chapter: batches, validation and reading a training curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.evaluation import Epoch, History
from course_lib.optimizers import State


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
        best = best_epoch(history, self.metric, min_delta=self.min_delta, where="EarlyStopping")
        return len(history[self.metric]) - 1 - best >= self.patience


class KeepBest:
    """Keep the parameters of the epoch in which the held-out data did best.

    A training that is stopped after `patience` epochs without improvement ends with the
    parameters of its last epoch, which are worse. To be given to
    :func:`~course_lib.training.fit` in ``callbacks``; one object per training.

    Parameters
    ----------
    metric : str
        A key of the history; a name that ends in "accuracy" is to grow, any other to fall.

    Attributes
    ----------
    theta : array, shape (n_params,), or None
        The parameters of the best epoch; None before the first.
    state : dict or None
        The optimizer's state at its end.
    epoch : int
        Its number; -1 before the first. Of equally good epochs the earliest is kept.

    Raises
    ------
    ValueError
        If the history lacks the metric.

    References
    ----------
    Prechelt 1998.

    Examples
    --------
    >>> keep, history = KeepBest(), {"val_loss": []}
    >>> for epoch, loss in enumerate([2.0, 1.0, 3.0]):
    ...     history["val_loss"].append(loss)
    ...     keep(Epoch(epoch, np.full(2, loss), {}, history))
    >>> keep.epoch, keep.theta
    (1, array([1., 1.]))
    """

    def __init__(self, metric: str = "val_loss") -> None:
        self.metric = metric
        self.theta: Array | None = None
        self.state: State | None = None
        self.epoch = -1

    def __call__(self, event: Epoch) -> None:
        """Keep the parameters of this epoch if it is the best so far."""
        best = best_epoch(event.history, self.metric, where="KeepBest")
        if best == len(event.history[self.metric]) - 1:
            self.theta, self.state, self.epoch = event.theta, event.state, event.epoch


def best_epoch(history: History, metric: str, *, min_delta: float = 0.0, where: str) -> int:
    """Return the number, from 0, of the last epoch that was an improvement; -1 if none was.

    `metric` and `min_delta` are those of :class:`EarlyStopping`; `where` says who asks, for the
    error sentence.

    Examples
    --------
    >>> best_epoch({"val_loss": [1.0, 0.5, 0.6, 0.5]}, "val_loss", where="here")
    1
    """
    if metric not in history:
        raise ValueError(
            f"{where}: the history has no {metric!r}, only {', '.join(history)}; "
            "pass validation=(x, y) or choose another metric."
        )
    sign = -1.0 if metric.endswith("accuracy") else 1.0
    best, found = np.inf, -1
    for epoch, value in enumerate(history[metric]):
        if sign * value < best - min_delta:
            best, found = sign * value, epoch
    return found
