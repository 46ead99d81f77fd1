"""Training in PyTorch: the loop of :mod:`course_lib.training`, with autograd in place of backward.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.arrays import (
    check_callable,
    check_flag,
    check_instance,
    check_integer,
    check_theta,
    shown,
)
from course_lib.clipping import check_clip
from course_lib.data import batch_weight, batches
from course_lib.evaluation import Epoch, History, SetMetric, measure, record, score
from course_lib.layers import noise
from course_lib.optimizers import Optimizer, State
from course_lib.torch_mlp.network import (
    TorchMLP,
    check_model,
    flatten,
    from_torch,
    load,
    unflatten,
)
from course_lib.torch_mlp.twins import STATE_NAMES, torch_loss, torch_optimizer
from course_lib.training import (
    FitResult,
    check_callbacks,
    check_finite,
    check_judging,
    check_state,
    check_validation,
    check_weights,
    epochs_with_bar,
)


def fit_torch(
    model: TorchMLP,
    optimizer: Optimizer,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    device: str = "auto",
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
    """Train with PyTorch what :func:`~course_lib.training.fit` trains with NumPy, step by step.

    The same batches in the same order, the same loss and the same optimizer: without dropout,
    the results differ by rounding only. (Dropout draws from PyTorch's generator, seeded here for
    each epoch.)

    Parameters
    ----------
    model : TorchMLP
        What to train. It stays on `device`, and ends with the parameters of the result.
    optimizer : Optimizer
        How to step. :func:`~course_lib.torch_mlp.twins.torch_optimizer` translates it.
    x, y, epochs, batch_size, seed, shuffle, validation, stop
        As for :func:`~course_lib.training.fit`.
    state, first_epoch, weights, clip, set_metrics, keep_best, better, callbacks, progress
        As for :func:`~course_lib.training.fit`; a state may come from there.
    device : str
        Where PyTorch computes: "cpu", "cuda", "cuda:1", ...; "auto" is "cuda" where there is one,
        else "cpu".

    Returns
    -------
    FitResult
        theta, the optimizer's state and the history, in NumPy: training can go on there.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong or the device is not there.
    FloatingPointError
        If the loss of an epoch is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import SGD, mlp
    >>> from course_lib.torch_mlp import to_torch
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = to_torch(mlp([1, 1], loss="mse"), np.zeros(2))
    >>> fit_torch(
    ...     model, SGD(0.1), x, 3 * x + 1, epochs=50, batch_size=5, seed=0, device="cpu"
    ... ).theta.round(3)
    array([3., 1.])
    """
    where = "fit_torch"
    check_model(model, where=where)
    check_theta(from_torch(model), where=where, finite=True)
    check_instance(optimizer, Optimizer, where=where, name="optimizer", hint="such as Adam(0.001)")
    epochs = check_integer(epochs, where=where, name="epochs", at_least=1)
    batch_size = check_integer(batch_size, where=where, name="batch_size", at_least=1)
    seed = check_integer(seed, where=where, name="seed", at_least=0)
    shuffle = check_flag(shuffle, where=where, name="shuffle")
    if stop is not None:
        check_callable(stop, where=where, name="stop", takes=("history",))
    check_state(state, optimizer, from_torch(model), where=where)
    first_epoch = check_integer(first_epoch, where=where, name="first_epoch", at_least=0)
    clip = check_clip(clip, where=where)
    wholes, best = check_judging(
        model.net.loss, set_metrics, keep_best, better, held_out=validation is not None, where=where
    )
    callbacks = check_callbacks(callbacks, best, where=where)
    progress = check_flag(progress, where=where, name="progress")
    place = _device(device)
    dtype = next(model.parameters()).dtype

    def tensors(x: Any, y: Any, where: str) -> tuple[Tensor, Tensor]:
        x, y = model.net.check_data(x, y, where=where)
        kind = torch.int64 if model.net.loss.kind in ("labels", "margin") else dtype
        return torch.tensor(x, dtype=dtype, device=place), torch.tensor(y, dtype=kind, device=place)

    xs, ys = tensors(x, y, where)
    weights = check_weights(weights, model.net.loss, len(xs), where=where)
    each = None if weights is None else torch.tensor(weights, dtype=dtype, device=place)
    held = check_validation(model.net, validation, where=where)
    held_out = None if held is None else tensors(*held, f"{where}, validation")
    model.to(place)
    twin = torch_optimizer(optimizer, model.parameters())
    if state is not None:
        _remember(model, optimizer, twin, state)
    loss_sum, history, t = torch_loss(model.net.loss), History(), 0 if state is None else state["t"]
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        for epoch in epochs_with_bar(range(first_epoch, first_epoch + epochs), history, progress):
            torch.manual_seed(int(noise(seed, epoch, 0).integers(2**63)))
            model.train()
            # Kept on the device: asking for the number at every step would make the CPU wait.
            total = torch.zeros((), dtype=torch.float64, device=place)
            order = list(batches(len(xs), batch_size, seed=seed, epoch=epoch, shuffle=shuffle))
            for rows in order:
                at = torch.from_numpy(rows).to(place)
                twin.param_groups[0]["lr"] = optimizer.learning_rate(t)
                twin.zero_grad()
                own = None if each is None else each[at]
                batch_sum = loss_sum(model(xs[at]), ys[at], own)
                (batch_sum / (batch_weight(rows, weights) or 1.0)).backward()
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                twin.step()
                total += batch_sum.detach()
                t += 1
            loss = total.item() / (len(xs) if weights is None else weights.sum())
            check_finite(loss, epoch, len(order) - 1)
            record(history, loss, {} if held_out is None else _evaluate(model, *held_out, wholes))
            for callback in callbacks:
                memory = _memory(model, optimizer, twin, t)
                callback(Epoch(epoch, from_torch(model), memory, history))
            if stop is not None and stop(history):
                break
    if best is not None and best.theta is not None and best.state is not None:
        load(model, best.theta)
        return FitResult(best.theta, best.state, history)
    return FitResult(from_torch(model), _memory(model, optimizer, twin, t), history)


def _memory(model: TorchMLP, optimizer: Optimizer, twin: torch.optim.Optimizer, t: int) -> State:
    """Return what PyTorch's optimizer remembers as the state of ours."""
    names, state = STATE_NAMES[type(optimizer)], State(t=t)
    for ours in optimizer.memory:
        # PyTorch keeps no velocity where the momentum is 0.
        vectors: dict[Tensor, Tensor] = {
            p: twin.state[p].get(names[ours], torch.zeros_like(p)) for p in model.parameters()
        }
        state[ours] = flatten(model, vectors)
    return state


def _remember(
    model: TorchMLP, optimizer: Optimizer, twin: torch.optim.Optimizer, state: State
) -> None:
    """Let PyTorch's optimizer remember what ours did. Before the first step that is nothing."""
    if not state["t"]:
        return
    names = STATE_NAMES[type(optimizer)]
    for parameter in model.parameters():
        twin.state[parameter]["step"] = torch.tensor(float(state["t"]))
    for ours in optimizer.memory:
        for tensor, value in unflatten(model, state[ours]).items():
            twin.state[tensor][names[ours]] = value.to(tensor)


def _evaluate(
    model: TorchMLP, x: Tensor, y: Tensor, set_metrics: Mapping[str, SetMetric]
) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        outputs, targets = model(x).cpu().numpy(), y.cpu().numpy()
    measured = measure(set_metrics, outputs, targets, where="fit_torch")
    return score(model.net.loss, outputs, targets) | measured


def _device(name: str) -> torch.device:
    check_instance(name, str, where="fit_torch", name="device")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"fit_torch: device must be 'auto', 'cpu' or 'cuda', got {shown(name)}."
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"fit_torch: device {name!r} was asked for, but PyTorch finds no CUDA device; use "
            'device="cpu", or see python -m course_lib.doctor.'
        )
    return device
