"""Training in PyTorch: the loop of :mod:`course_lib.training`, with autograd in place of backward.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.arrays import check_integer
from course_lib.data import batches
from course_lib.evaluation import History, record, score
from course_lib.optimizers import Optimizer, State
from course_lib.torch_mlp.network import TorchMLP, flatten, from_torch
from course_lib.torch_mlp.twins import STATE_NAMES, torch_loss, torch_optimizer
from course_lib.training import FitResult, check_finite, epochs_with_bar


def fit_torch(
    model: TorchMLP,
    optimizer: Optimizer,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str = "auto",
    validation: tuple[Any, Any] | None = None,
    stop: Callable[[History], bool] | None = None,
    progress: bool = False,
) -> FitResult:
    """Train with PyTorch what :func:`~course_lib.training.fit` trains with NumPy, step by step.

    The same batches in the same order, the same loss and the same optimizer: without dropout,
    the results differ by rounding only. (Dropout draws from PyTorch's generator, seeded here.)

    Parameters
    ----------
    model : TorchMLP
        Trained in place; it stays on `device`.
    optimizer : Optimizer
        One of ours; :func:`~course_lib.torch_mlp.twins.torch_optimizer` translates it.
    x, y, epochs, batch_size, seed, validation, stop, progress
        As for :func:`~course_lib.training.fit`.
    device : str
        "cpu", "cuda", "cuda:1", ...; "auto" is "cuda" where there is one, else "cpu".

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
    if not isinstance(model, TorchMLP):
        raise TypeError(
            f"{where}: model must be a TorchMLP, got {type(model).__name__}; make one with "
            "to_torch(net, theta)."
        )
    epochs = check_integer(epochs, where=where, name="epochs", at_least=1)
    place = _device(device)
    dtype = next(model.parameters()).dtype

    def tensors(x: Any, y: Any, where: str) -> tuple[Tensor, Tensor]:
        x, y = model.net.check_data(x, y, where=where)
        kind = torch.int64 if model.net.loss.kind in ("labels", "margin") else dtype
        return torch.tensor(x, dtype=dtype, device=place), torch.tensor(y, dtype=kind, device=place)

    xs, ys = tensors(x, y, where)
    held_out = None if validation is None else tensors(*validation, f"{where}, validation")
    model.to(place)
    twin = torch_optimizer(optimizer, model.parameters())
    loss_sum, history, t = torch_loss(model.net.loss), History(), 0
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in epochs_with_bar(range(epochs), history, progress):
            model.train()
            # Kept on the device: asking for the number at every step would make the CPU wait.
            total = torch.zeros((), dtype=torch.float64, device=place)
            order = list(batches(len(xs), batch_size, seed=seed, epoch=epoch))
            for rows in order:
                at = torch.from_numpy(rows).to(place)
                twin.param_groups[0]["lr"] = optimizer.learning_rate(t)
                twin.zero_grad()
                batch_sum = loss_sum(model(xs[at]), ys[at])
                (batch_sum / len(rows)).backward()
                twin.step()
                total += batch_sum.detach()
                t += 1
            loss = total.item() / len(xs)
            check_finite(loss, epoch, len(order) - 1)
            record(history, loss, {} if held_out is None else _evaluate(model, *held_out))
            if stop is not None and stop(history):
                break
    names = STATE_NAMES[type(optimizer)]
    state: State = {"t": t}
    for ours in optimizer.memory:
        # PyTorch keeps no velocity where the momentum is 0.
        vectors: dict[Tensor, Tensor] = {
            p: twin.state[p].get(names[ours], torch.zeros_like(p)) for p in model.parameters()
        }
        state[ours] = flatten(model, vectors)
    return FitResult(from_torch(model), state, history)


def _evaluate(model: TorchMLP, x: Tensor, y: Tensor) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        return score(model.net.loss, model(x).cpu().numpy(), y.cpu().numpy())


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"fit_torch: device {name!r} was asked for, but PyTorch finds no CUDA device; use "
            'device="cpu", or see python -m course_lib.doctor.'
        )
    return device
