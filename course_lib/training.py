"""Training: take a batch, compute its gradient, take a step, and look now and then how it goes.

Chapters: a network in NumPy; batches, validation and reading a training curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import (
    Array,
    check_callable,
    check_flag,
    check_instance,
    check_integer,
    check_pair,
    check_row_numbers,
    check_sequence,
    check_theta,
)
from course_lib.clipping import check_clip, clip_gradient
from course_lib.data import batch_weight, batches
from course_lib.early_stopping import EarlyStopping, KeepBest, check_keep_best
from course_lib.evaluation import (
    Epoch,
    History,
    SetMetric,
    accuracy,
    check_set_metrics,
    evaluate,
    measure,
    record,
    score,
    score_names,
)
from course_lib.layers import noise
from course_lib.losses import Loss
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
    shuffle: bool = True,
    validation: tuple[Any, Any] | None = None,
    stop: Callable[[History], bool] | None = None,
    state: State | None = None,
    first_epoch: int = 0,
    weights: Any = None,
    clip: float | None = None,
    set_metrics: Mapping[str, SetMetric] | None = None,
    keep_best: str | None = None,
    better: str | None = None,
    callbacks: Sequence[Callable[[Epoch], None]] = (),
    progress: bool = False,
) -> FitResult:
    r"""Train a network on mini-batches; the arguments decide the result.

    To the bit, on one kind of processor and with one number of BLAS threads (``OMP_NUM_THREADS``):
    another number adds up a large product in another order.

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
    epochs : int
        Passes over the data.
    batch_size : int
        Rows per step. The last batch of an epoch may be smaller.
    seed : int
        Decides the order of the rows, and noise: that of dropout is another in each step.
    shuffle : bool
        Give each epoch an order of its own; False: the rows as they come, in each.
    validation : (x, y), optional
        Held-out data, evaluated after each epoch.
    stop : callable, optional
        Called with the history after each epoch; True ends the training (:class:`EarlyStopping`).
    state : dict, optional
        The optimizer's state to go on from, with `theta` from the same moment; not changed.
    first_epoch : int
        The number of the first epoch: a run of 3 epochs that goes on for 2 from ``first_epoch=3``
        with its state is the run of 5, to the bit.
    weights : array, shape (n,), optional
        How much each row counts (``sample_weight``): the sum of the weighted losses of a batch is
        divided by the sum of its weights, :math:`L = \\sum_i w_i \\ell_i / \\sum_i w_i`. Held-out
        rows count alike.
    clip : float, optional
        The largest norm of the gradient: a longer one is shortened, see
        :func:`~course_lib.clipping.clip_gradient`.
    set_metrics : dict of str to callable, optional
        What is no mean over rows (AUC, F1): ``f(outputs, targets)`` gets those of all held-out
        rows at once, in their order, and returns one number, which the history has as ``val_`` and
        its name.
    keep_best : str, optional
        A key of the history, such as ``"val_loss"``: the result's theta and state are those of the
        epoch in which it was best, instead of the last.
    better : {"lower", "higher"}, optional
        Which values of it are better. Needed unless the name ends in "loss" (lower) or "accuracy"
        (higher).
    callbacks : sequence of callables
        Called with what an epoch has left: an :class:`Epoch`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    FitResult
        theta, state, and a history with the keys loss (mean over the epoch's rows, each before
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
    where = "fit"
    check_instance(net, Network, where=where, name="net", hint="such as mlp([2, 3, 1])")
    check_theta(theta, where=where, finite=True)
    net.unpack(theta)  # raises if its length is wrong
    check_instance(optimizer, Optimizer, where=where, name="optimizer", hint="such as Adam(0.001)")
    epochs = check_integer(epochs, where=where, name="epochs", at_least=1)
    batch_size = check_integer(batch_size, where=where, name="batch_size", at_least=1)
    seed = check_integer(seed, where=where, name="seed", at_least=0)
    shuffle = check_flag(shuffle, where=where, name="shuffle")
    x, y = net.check_data(x, y, where=where)
    x = x.astype(theta.dtype, copy=False)
    validation = check_validation(net, validation, where=where)
    if stop is not None:
        check_callable(stop, where=where, name="stop", takes=("history",))
    check_state(state, optimizer, theta, where=where)
    first_epoch = check_integer(first_epoch, where=where, name="first_epoch", at_least=0)
    weights = check_weights(weights, net.loss, len(x), where=where)
    clip = check_clip(clip, where=where)
    wholes, best = check_judging(
        net.loss, set_metrics, keep_best, better, held_out=validation is not None, where=where
    )
    callbacks = check_callbacks(callbacks, best, where=where)
    progress = check_flag(progress, where=where, name="progress")
    state = optimizer.init(theta) if state is None else deepcopy(state)
    theta, history = theta.copy(), History()
    workspace = net.workspace(min(batch_size, len(x)), theta.dtype)
    gradient = np.empty_like(theta)
    for epoch in epochs_with_bar(range(first_epoch, first_epoch + epochs), history, progress):
        total = 0.0
        order = batches(len(x), batch_size, seed=seed, epoch=epoch, shuffle=shuffle)
        for step, rows in enumerate(order):
            xb = workspace.input((len(rows), x.shape[1]), x.dtype)
            np.take(x, rows, axis=0, out=xb, mode="clip")  # the default mode would copy twice
            rng = noise(seed, epoch, step) if net.has_noise else None
            with np.errstate(over="ignore", invalid="ignore"):  # check_finite speaks more clearly
                loss, _ = net.loss_and_grad(
                    theta, xb, y[rows], out=gradient, workspace=workspace, rng=rng,
                    weights=None if weights is None else weights[rows],
                )  # fmt: skip
            check_finite(loss, epoch, step)
            clip_gradient(gradient, clip)
            theta, state = optimizer.step(theta, gradient, state, out=theta)
            total += loss * batch_weight(rows, weights)
        held_out: dict[str, float] = {}
        if validation is not None:
            outputs, targets = net.forward(theta, validation[0])[0], validation[1]
            held_out = score(net.loss, outputs, targets)
            held_out |= measure(wholes, outputs, targets, where=where)
        record(history, total / (len(x) if weights is None else weights.sum()), held_out)
        for callback in callbacks:
            callback(Epoch(epoch, theta.copy(), deepcopy(state), history))
        if stop is not None and stop(history):
            break
    if best is not None and best.theta is not None and best.state is not None:
        theta, state = best.theta, best.state
    return FitResult(theta, state, history)


def check_state(state: Any, optimizer: Optimizer, theta: Array, *, where: str) -> None:
    """Raise unless a state, if one is given, is one of this optimizer for these parameters.

    Examples
    --------
    >>> from course_lib import SGD
    >>> check_state({"t": 3}, SGD(0.1, momentum=0.9), np.zeros(2), where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: state must hold t and v, as that of SGD, got t.
    """
    if state is None:
        return
    check_instance(state, dict, where=where, name="state", hint="such as fit(...).state")
    expected = optimizer.init(theta)
    if state.keys() != expected.keys():
        raise ValueError(
            f"{where}: state must hold {' and '.join(expected)}, as that of "
            f"{type(optimizer).__name__}, got {' and '.join(map(str, state)) or 'nothing'}."
        )
    check_integer(state["t"], where=where, name="state['t']", at_least=0)
    for name in optimizer.memory:
        if np.shape(state[name]) != theta.shape:
            raise ValueError(
                f"{where}: state[{name!r}] must have the shape of theta, {theta.shape}, got "
                f"{np.shape(state[name])}."
            )


def check_weights(weights: Any, loss: Loss, rows: int, *, where: str) -> Array | None:
    """Return the weights of the rows, if there are any, or raise if they or the loss do not fit.

    Examples
    --------
    >>> from course_lib import losses
    >>> check_weights([1, 2], losses.mse, 3, where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: weights must be one number per row of the data, 3, got 2.
    """
    if weights is None:
        return None
    numbers = check_row_numbers(weights, rows, where=where, name="weights")
    if loss.rows is None:
        raise TypeError(
            f"{where}: weights need the loss of each row, and {loss.name} gives only their sum; "
            "pass rows=, a function (outputs, targets), to Loss."
        )
    return numbers


def check_callbacks(
    callbacks: Any, best: KeepBest | None, *, where: str
) -> list[Callable[[Epoch], None]]:
    """Return what is called after each epoch, `best` first, or raise.

    Examples
    --------
    >>> check_callbacks([3], None, where="fit")
    Traceback (most recent call last):
    ...
    TypeError: fit: each of callbacks must be a function of (epoch), got 3.
    """
    callbacks = check_sequence(callbacks, where=where, name="callbacks", of="functions")
    for callback in callbacks:
        check_callable(callback, where=where, name="each of callbacks", takes=("epoch",))
    return [*([] if best is None else [best]), *callbacks]


def check_validation(net: Network, validation: Any, *, where: str) -> tuple[Array, Array] | None:
    """Return held-out data, (x, y) or None, as arrays that fit the network, or raise.

    Examples
    --------
    >>> from course_lib import mlp
    >>> check_validation(mlp([2, 2]), 5, where="fit")
    Traceback (most recent call last):
    ...
    TypeError: fit: validation must be a pair (x, y), got 5.
    """
    if validation is None:
        return None
    x, y = check_pair(validation, where=where, name="validation")
    return net.check_data(x, y, where=f"{where}, validation")


def check_judging(
    loss: Loss,
    set_metrics: Any,
    keep_best: str | None,
    better: str | None,
    *,
    held_out: bool,
    where: str,
) -> tuple[dict[str, SetMetric], KeepBest | None]:
    """Return the metrics of whole sets, and what keeps the best epoch, or raise.

    Examples
    --------
    >>> from course_lib import losses
    >>> check_judging(losses.mse, {"r2": max}, "val_r2", "higher", held_out=True, where="fit")[0]
    {'r2': <built-in function max>}
    """
    names = score_names(loss)
    wholes = check_set_metrics(set_metrics, names, where=where, held_out=held_out)
    judged = [*names, *wholes] if held_out else []
    keep_best = check_keep_best(keep_best, better, judged, where=where)
    return wholes, None if keep_best is None else KeepBest(keep_best, better)


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
