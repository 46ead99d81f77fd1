"""How well does it do? Loss and accuracy on given rows, and their record, epoch by epoch.

Chapter: batches, validation and reading a training curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from course_lib.arrays import Array, check_instance
from course_lib.losses import Loss
from course_lib.network import Network
from course_lib.optimizers import State

__all__ = ["Epoch", "History", "accuracy", "evaluate", "record", "score", "score_names"]

History: TypeAlias = dict[str, list[float]]
"""One list per quantity (loss, val_loss, ...), with one number per epoch."""


def evaluate(net: Network, theta: Array, x: Any, y: Any) -> dict[str, float]:
    """Return the mean loss and, for a classification loss, the accuracy.

    Raises
    ------
    ValueError, TypeError
        If the data does not fit the network.

    Examples
    --------
    >>> from course_lib import mlp
    >>> evaluate(mlp([1, 1], loss="mse"), np.array([2.0, 0.0]), [[1.0], [2.0]], [2.0, 5.0])
    {'loss': 0.5}
    """
    check_instance(net, Network, where="evaluate", name="net")
    x, y = net.check_data(x, y, where="evaluate")
    return score(net.loss, net.forward(theta, x)[0], y)


def accuracy(net: Network, theta: Array, x: Any, y: Any) -> float:
    """Return the share of rows whose predicted class is the right one, between 0 and 1.

    Raises
    ------
    ValueError, TypeError
        If the data does not fit the network, labels that are texts included, or its loss tells no
        classes apart.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([1, 2])
    >>> accuracy(net, np.array([-1.0, 1.0, 0.0, 0.0]), [[-2.0], [3.0], [4.0], [5.0]], [0, 1, 0, 1])
    0.75
    """
    check_instance(net, Network, where="accuracy", name="net")
    if net.loss.kind == "values":
        raise ValueError(
            f"accuracy: net must tell classes apart, got one with the loss {net.loss.name}; "
            "evaluate returns its loss."
        )
    x, y = net.check_data(x, y, where="accuracy")
    predicted = net.predict(theta, x)
    return float(np.mean(predicted == np.reshape(y, predicted.shape)))


def score(loss: Loss, outputs: Array, targets: Array) -> dict[str, float]:
    """Return the numbers of :func:`evaluate`, of outputs that are there already.

    Parameters
    ----------
    loss : Loss
        Which loss.
    outputs : array, shape (batch, k)
        What a network answered, at least one row.
    targets : array
        Checked, see :meth:`Loss.check <course_lib.losses.Loss.check>`.

    Examples
    --------
    >>> from course_lib import losses
    >>> score(losses.hinge, np.array([[2.0, 0.0], [0.5, 0.0]]), np.array([0, 1]))
    {'loss': 0.75, 'accuracy': 0.5}
    """
    scores = [loss.f(outputs, targets)[0] / len(targets)]
    if loss.kind != "values":
        decided = loss.decide(outputs)
        scores.append(float(np.mean(decided == np.reshape(targets, decided.shape))))
    return dict(zip(score_names(loss), scores, strict=True))


def score_names(loss: Loss) -> list[str]:
    """Return what :func:`score` says about a loss: its value and, for classes, the accuracy.

    Examples
    --------
    >>> from course_lib import losses
    >>> score_names(losses.mse), score_names(losses.hinge)
    (['loss'], ['loss', 'accuracy'])
    """
    return ["loss"] if loss.kind == "values" else ["loss", "accuracy"]


def record(history: History, loss: float, held_out: Mapping[str, float]) -> None:
    """Append one epoch to the history: its training loss, and how the held-out data does, if any.

    Examples
    --------
    >>> history = {}
    >>> record(history, 0.5, {"loss": 4.0})
    >>> history
    {'loss': [0.5], 'val_loss': [4.0]}
    """
    history.setdefault("loss", []).append(loss)
    for name, value in held_out.items():
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
