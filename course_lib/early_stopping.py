"""When to stop, and which parameters to keep: the held-out data decides both.

Chapter: batches, validation and reading a training curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from course_lib.arrays import (
    Array,
    check_instance,
    check_integer,
    check_number,
    shown,
)
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
        A key of the history.
    better : {"lower", "higher"}, optional
        Which values of it are better. Needed unless the name ends in "loss" (lower) or "accuracy"
        (higher).

    Raises
    ------
    ValueError, TypeError
        If `patience` is below 1, `min_delta` below 0, nothing says which values of the metric are
        better, or the history lacks it.

    References
    ----------
    Prechelt 1998.

    Examples
    --------
    >>> stop = EarlyStopping(patience=2)
    >>> stop({"val_loss": [1.0, 0.5, 0.6]}), stop({"val_loss": [1.0, 0.5, 0.6, 0.7]})
    (False, True)
    >>> EarlyStopping(patience=2, metric="val_f1", better="higher")({"val_f1": [0.5, 0.6, 0.7]})
    False
    """

    patience: int = 5
    min_delta: float = 0.0
    metric: str = "val_loss"
    better: str | None = None

    def __post_init__(self) -> None:
        where = "EarlyStopping"
        check_integer(self.patience, where=where, name="patience", at_least=1)
        check_number(self.min_delta, where=where, name="min_delta", at_least=0)
        check_instance(self.metric, str, where=where, name="metric")
        _sign(self.metric, self.better, where=where)

    def __call__(self, history: History) -> bool:
        """Say whether training should stop now."""
        best = best_epoch(
            history, self.metric, min_delta=self.min_delta, better=self.better,
            where="EarlyStopping",
        )  # fmt: skip
        return len(history[self.metric]) - 1 - best >= self.patience


class KeepBest:
    """Keep the parameters of the epoch in which the held-out data did best.

    A training that is stopped after `patience` epochs without improvement ends with the
    parameters of its last epoch, which are worse. To be given to
    :func:`~course_lib.training.fit` in ``callbacks``; one object per training.

    Parameters
    ----------
    metric : str
        A key of the history.
    better : {"lower", "higher"}, optional
        Which values of it are better. Needed unless the name ends in "loss" (lower) or "accuracy"
        (higher).

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
        If nothing says which values of the metric are better, or the history lacks it.

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

    def __init__(self, metric: str = "val_loss", better: str | None = None) -> None:
        check_instance(metric, str, where="KeepBest", name="metric")
        _sign(metric, better, where="KeepBest")
        self.metric, self.better = metric, better
        self.theta: Array | None = None
        self.state: State | None = None
        self.epoch = -1

    def __call__(self, event: Epoch) -> None:
        """Keep the parameters of this epoch if it is the best so far."""
        check_instance(event, Epoch, where="KeepBest", name="event")
        best = best_epoch(event.history, self.metric, better=self.better, where="KeepBest")
        if best == len(event.history[self.metric]) - 1:
            self.theta, self.state, self.epoch = event.theta, event.state, event.epoch


def check_keep_best(
    keep_best: str | None, better: str | None, judged: Iterable[str], *, where: str
) -> str | None:
    """Return which number of the history decides about the best epoch, if one is to be kept.

    `judged` are the names of what is measured on held-out rows.

    Examples
    --------
    >>> check_keep_best("val_loss", None, [], where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: keep_best must be one of loss, got 'val_loss'; what begins with val_ needs \
validation=.
    """
    if keep_best is None:
        if better is not None:
            raise ValueError(
                f"{where}: better= says which values are better, and keep_best= of what; got "
                f"better={shown(better)} alone."
            )
        return None
    names = ["loss", *(f"val_{name}" for name in judged)]
    if not isinstance(keep_best, str) or keep_best not in names:
        raise ValueError(
            f"{where}: keep_best must be one of {', '.join(names)}, got {shown(keep_best)}; what "
            "begins with val_ needs validation=."
        )
    _sign(keep_best, better, where=where)
    return keep_best


def best_epoch(
    history: History, metric: str, *, min_delta: float = 0.0, better: str | None = None, where: str
) -> int:
    """Return the number, from 0, of the last epoch that was an improvement; -1 if none was.

    `metric`, `min_delta` and `better` are those of :class:`EarlyStopping`; `where` says who asks,
    for the error sentence.

    Examples
    --------
    >>> best_epoch({"val_loss": [1.0, 0.5, 0.6, 0.5]}, "val_loss", where="here")
    1
    """
    check_instance(history, Mapping, where=where, name="history", hint="such as fit(...).history")
    if metric not in history:
        raise ValueError(
            f"{where}: the history must have {metric!r}, got only {', '.join(map(str, history))}; "
            "pass validation=(x, y) or choose another metric."
        )
    sign = _sign(metric, better, where=where)
    best, found = np.inf, -1
    for epoch, value in enumerate(history[metric]):
        if sign * value < best - min_delta:
            best, found = sign * value, epoch
    return found


def _sign(metric: str, better: str | None, *, where: str) -> float:
    """Return 1 if lower values of a metric are better, -1 if higher ones are."""
    if better is None:
        known = {"loss": "lower", "accuracy": "higher"}
        better = next((known[end] for end in known if metric.endswith(end)), None)
    if not isinstance(better, str) or better not in ("lower", "higher"):
        raise ValueError(
            f"{where}: better must be 'lower' or 'higher', got {shown(better)}; a metric such as "
            f"{metric!r} does not say by itself which of its values are better."
        )
    return 1.0 if better == "lower" else -1.0
