"""Training: take a batch, compute its gradient, take a step, and look now and then how it goes.

Chapters: a network in NumPy; batches, validation and reading a training curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.data import batches
from course_lib.early_stopping import EarlyStopping, KeepBest
from course_lib.evaluation import Epoch, History, accuracy, evaluate, record
from course_lib.layers import noise
from course_lib.network import Network
from course_lib.optimizers import Optimizer, State

__all__ = [
    "EarlyStopping",
    "Epoch",
    "FitResult",
    "History",
    "KeepBest",
    "accuracy",
    "check_finite",
    "epochs_with_bar",
    "evaluate",
    "fit",
    "record",
]


class FitResult(NamedTuple):
    """What a training run leaves: parameters, the optimizer's state, and one row per epoch.

    Examples
    --------
    >>> result = FitResult(theta=np.zeros(2), state={"t": 8}, history={"loss": [1.5, 0.5]})
    >>> theta, state, history = result
    >>> history["loss"][-1]
    0.5
    """

    theta: Array
    state: State
    history: History


def fit(
    net: Network,
    theta: Array,
    optimizer: Optimizer,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    validation: tuple[Any, Any] | None = None,
    stop: Callable[[History], bool] | None = None,
    state: State | None = None,
    first_epoch: int = 0,
    callbacks: Sequence[Callable[[Epoch], None]] = (),
    progress: bool = False,
) -> FitResult:
    """Train a network on mini-batches; the arguments decide the result, to the bit.

    Parameters
    ----------
    net : Network
        What to train.
    theta : array, shape (n_params,)
        Where to start; not changed. Its dtype is the dtype of the whole computation.
    optimizer : Optimizer
        How to step.
    x : array, shape (n, n_inputs)
        The training inputs.
    y : array
        The targets, see :class:`~course_lib.losses.Loss`.
    epochs, batch_size : int
        Passes over the data, and rows per step (the last batch of an epoch may be smaller).
    seed : int
        Decides the order of the rows, together with the epoch, and the noise of dropout.
    validation : (x, y), optional
        Held-out data, evaluated after each epoch.
    stop : callable, optional
        Called with the history after each epoch; True ends the training (:class:`EarlyStopping`).
    state : dict, optional
        The optimizer's state to go on from, with `theta` from the same moment; not changed.
    first_epoch : int
        The number of the first epoch: a run of 3 epochs that goes on for 2 from ``first_epoch=3``
        with its state is the run of 5, to the bit.
    callbacks : sequence of callables
        Called with an :class:`Epoch` after each epoch (:class:`KeepBest`).
    progress : bool
        Show a progress bar.

    Returns
    -------
    FitResult
        theta, state, and a history with the keys loss (mean over the epoch's steps, each before
        its update) and, with validation data, val_loss and for classification val_accuracy.

    Raises
    ------
    ValueError, TypeError
        If the data does not fit the network, holds NaN or infinity, or a count is below 1.
    FloatingPointError
        If the loss stops being finite: the training has diverged.

    Examples
    --------
    >>> from course_lib import SGD, mlp
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> net = mlp([1, 1], loss="mse")
    >>> result = fit(net, np.zeros(2), SGD(0.1), x, 3 * x + 1, epochs=50, batch_size=5, seed=0)
    >>> result.theta.round(3)
    array([3., 1.])
    """
    epochs = check_integer(epochs, where="fit", name="epochs", at_least=1)
    batch_size = check_integer(batch_size, where="fit", name="batch_size", at_least=1)
    x, y = net.check_data(x, y, where="fit")
    x = x.astype(theta.dtype, copy=False)
    if validation is not None:
        validation = net.check_data(*validation, where="fit, validation")
    first_epoch = check_integer(first_epoch, where="fit", name="first_epoch", at_least=0)
    state = optimizer.init(theta) if state is None else deepcopy(state)
    theta, history = theta.copy(), History()
    workspace = net.workspace(min(batch_size, len(x)), theta.dtype)
    gradient = np.empty_like(theta)
    for epoch in epochs_with_bar(range(first_epoch, first_epoch + epochs), history, progress):
        total = 0.0
        for step, rows in enumerate(batches(len(x), batch_size, seed=seed, epoch=epoch)):
            xb = workspace.input((len(rows), x.shape[1]), x.dtype)
            np.take(x, rows, axis=0, out=xb, mode="clip")  # the default mode would copy twice
            rng = noise(seed, epoch, step) if net.has_noise else None
            with np.errstate(over="ignore", invalid="ignore"):  # check_finite speaks more clearly
                loss, _ = net.loss_and_grad(
                    theta, xb, y[rows], out=gradient, workspace=workspace, rng=rng
                )
            check_finite(loss, epoch, step)
            theta, state = optimizer.step(theta, gradient, state, out=theta)
            total += loss * len(rows)
        held_out = {} if validation is None else evaluate(net, theta, *validation)
        record(history, total / len(x), held_out)
        for callback in callbacks:
            callback(Epoch(epoch, theta.copy(), deepcopy(state), history))
        if stop is not None and stop(history):
            break
    return FitResult(theta, state, history)


def check_finite(loss: float, epoch: int, step: int) -> None:
    """Raise FloatingPointError if the training has diverged.

    Examples
    --------
    >>> check_finite(float("nan"), 3, 7)
    Traceback (most recent call last):
    ...
    FloatingPointError: the loss is nan at epoch 3, step 7: the training has diverged; lower the \
learning rate.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} at epoch {epoch}, step {step}: the training has diverged; "
            "lower the learning rate."
        )


def epochs_with_bar(epochs: range, history: History, progress: bool) -> Iterator[int]:
    """Count the epochs, with a progress bar that shows the newest numbers if asked for.

    Examples
    --------
    >>> list(epochs_with_bar(range(3), {}, progress=False))
    [0, 1, 2]
    """
    if not progress:
        yield from epochs
        return
    from tqdm.auto import tqdm  # here, because it would double the import time of the package

    with tqdm(epochs, unit="epoch") as bar:
        for epoch in bar:
            yield epoch
            bar.set_postfix({name: f"{values[-1]:.4g}" for name, values in history.items()})
