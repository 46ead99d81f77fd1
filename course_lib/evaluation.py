"""How well does it do? Loss and accuracy on given rows, and their record, epoch by epoch.

Chapter: batches, validation and reading a training curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from course_lib.arrays import Array, check_callable, check_instance
from course_lib.losses import Loss
from course_lib.network import Network
from course_lib.optimizers import State

__all__ = [
    "Epoch",
    "History",
    "SetMetric",
    "accuracy",
    "check_set_metrics",
    "evaluate",
    "measure",
    "record",
    "score",
    "score_names",
]

History: TypeAlias = dict[str, list[float]]
"""One list per quantity (loss, val_loss, ...), with one number per epoch."""

SetMetric: TypeAlias = Callable[[Any, Any], Any]
"""All outputs and all targets to one number."""


def evaluate(
    net: Network,
    theta: Array,
    x: Any,
    y: Any,
    *,
    set_metrics: Mapping[str, SetMetric] | None = None,
) -> dict[str, float]:
    """Return the mean loss and, for a classification loss, the accuracy.

    Parameters
    ----------
    net, theta : Network, array of shape (n_params,)
        Which network, and its parameters.
    x, y : array
        The rows.
    set_metrics : dict of str to callable, optional
        What is no mean over rows (AUC, F1), by name: ``f(outputs, targets)`` gets those of all rows
        at once and returns one number.

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
    wholes = check_set_metrics(set_metrics, score_names(net.loss), where="evaluate")
    outputs = net.forward(theta, x)[0]
    return score(net.loss, outputs, y) | measure(wholes, outputs, y, where="evaluate")


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


def check_set_metrics(
    set_metrics: Any, taken: list[str], *, where: str, held_out: bool = True
) -> dict[str, SetMetric]:
    """Return the metrics of whole sets by name, or raise.

    Examples
    --------
    >>> check_set_metrics({"loss": max}, ["loss"], where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: two numbers would be called 'loss'; give the one of set_metrics another name.
    """
    if set_metrics is None:
        return {}
    hint = "such as {'auc': f}"
    check_instance(set_metrics, Mapping, where=where, name="set_metrics", hint=hint)
    for name, function in set_metrics.items():
        check_instance(name, str, where=where, name="each name of set_metrics")
        what = f"set_metrics[{name!r}]"
        check_callable(function, where=where, name=what, takes=("outputs", "targets"))
        if name in taken:
            raise ValueError(
                f"{where}: two numbers would be called {name!r}; give the one of set_metrics "
                "another name."
            )
    if set_metrics and not held_out:
        raise ValueError(f"{where}: set_metrics judges held-out rows; pass validation=, too.")
    return dict(set_metrics)


def measure(
    set_metrics: Mapping[str, SetMetric], outputs: Any, targets: Any, *, where: str
) -> dict[str, float]:
    """Return what each metric says of all rows.

    Raises
    ------
    TypeError
        If one returns no number.

    Examples
    --------
    >>> spread = {"spread": lambda outputs, targets: np.ptp(outputs - targets)}
    >>> measure(spread, np.array([1.0, 4.0]), np.array([1.0, 1.0]), where="here")
    {'spread': 3.0}
    """

    def number(name: str, function: SetMetric) -> float:
        value = function(outputs, targets)
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(
                f"{where}: set_metrics[{name!r}] must return one number for all rows, got "
                f"{type(value).__name__}."
            ) from None

    return {name: number(name, function) for name, function in set_metrics.items()}


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
