"""How well does it do? Loss and accuracy on given rows, and their record, epoch by epoch.

Chapter: batches, validation and reading a training curve.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from course_lib.arrays import Array
from course_lib.network import Network
from course_lib.optimizers import State

__all__ = ["Epoch", "History", "accuracy", "evaluate", "record"]

History: TypeAlias = dict[str, list[float]]
"""One list per quantity (loss, val_loss, ...), with one number per epoch."""


def accuracy(net: Network, theta: Array, x: Any, y: Any) -> float:
    """Return the share of rows whose predicted class is the right one, between 0 and 1.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([1, 2])
    >>> accuracy(net, np.array([-1.0, 1.0, 0.0, 0.0]), [[-2.0], [3.0], [4.0], [5.0]], [0, 1, 0, 1])
    0.75
    """
    predicted = net.predict(theta, x)
    return float(np.mean(predicted == np.reshape(y, predicted.shape)))


def evaluate(net: Network, theta: Array, x: Any, y: Any) -> dict[str, float]:
    """Return the mean loss and, for a classification loss, the accuracy.

    Examples
    --------
    >>> from course_lib import mlp
    >>> evaluate(mlp([1, 1], loss="mse"), np.array([2.0, 0.0]), [[1.0], [2.0]], [2.0, 5.0])
    {'loss': 0.5}
    """
    result = {"loss": net.loss_value(theta, x, y)}
    if net.loss.kind != "values":
        result["accuracy"] = accuracy(net, theta, x, y)
    return result


def record(
    history: History,
    net: Network,
    theta: Array,
    loss: float,
    validation: tuple[Any, Any] | None = None,
) -> None:
    """Append one epoch to the history: its training loss, and how the held-out data does.

    Examples
    --------
    >>> from course_lib import mlp
    >>> history = {}
    >>> record(history, mlp([1, 1], loss="mse"), np.zeros(2), 0.5, ([[1.0]], [2.0]))
    >>> history
    {'loss': [0.5], 'val_loss': [4.0]}
    """
    history.setdefault("loss", []).append(loss)
    if validation is not None:
        for name, value in evaluate(net, theta, *validation).items():
            history.setdefault(f"val_{name}", []).append(value)


class Epoch(NamedTuple):
    """What a callback is shown at the end of an epoch (counted from 0).

    Examples
    --------
    >>> def show(event):
    ...     print(event.epoch, event.history["loss"][-1])
    >>> show(Epoch(0, np.zeros(2), {"t": 4}, {"loss": [1.5]}))
    0 1.5
    """

    epoch: int
    theta: Array
    state: State
    history: History
