"""What the user gives to a training of a PyTorch module, made ready on a rank, or refused by name.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from course_lib.parallel.torch_ddp.reading import to_device

RowLoss: TypeAlias = Callable[[Any, Any], Tensor]
"""Outputs and targets to one number per row."""


def row_values(function: RowLoss, outputs: Any, targets: Any, rows: int, name: str) -> Tensor:
    """Return what a loss or a metric says of each of so many rows.

    Examples
    --------
    >>> mse = nn.MSELoss(reduction="none")
    >>> row_values(mse, torch.zeros(3, 1), torch.ones(3, 1), 3, "loss")
    tensor([1., 1., 1.])
    """
    values = function(outputs, targets)
    if not isinstance(values, Tensor) or values.shape[:1] != (rows,) or values.numel() != rows:
        raise ValueError(_not_by_row(values, outputs, targets, rows, name))
    if not values.is_floating_point():
        values = values.double()  # right or wrong, 1 or 0
    return values.reshape(rows)


def _not_by_row(values: Any, outputs: Any, targets: Any, rows: int, name: str) -> str:
    """Say what is wrong with values of which there is not one per row."""

    def shape(thing: Any) -> str:
        return str(tuple(thing.shape)) if isinstance(thing, Tensor) else type(thing).__name__

    advice = (
        "in PyTorch's losses, choose reduction='none'. A mean per rank would be wrong where ranks "
        "have different numbers of rows."
    )
    if isinstance(values, Tensor) and values.ndim > 0 and len(values) == rows:
        advice = (
            "take the mean over what belongs to one row, such as lambda outputs, targets: "
            "loss(outputs, targets).mean(1)."
        )
        both = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
        if both and outputs.shape != targets.shape:
            advice = (
                "PyTorch compared each row with the targets of all others. Give targets the shape "
                "of the outputs, such as y[:, None] for (n, 1)."
            )
    return (
        f"train: {name} must return one number per row, a tensor of shape ({rows},), got "
        f"{shape(values)} for outputs of shape {shape(outputs)} and targets of shape "
        f"{shape(targets)}; {advice}"
    )


def pair(data: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch; each may be a dict, a list or a tensor."""
    if not isinstance(data, list | tuple) or len(data) != 2:
        keys = f" with the keys {', '.join(map(repr, data))}" if isinstance(data, dict) else ""
        raise TypeError(
            f"train: a row of the dataset must be a pair (inputs, target), got a "
            f"{type(data).__name__}{keys}; let it return such a pair, whose parts may be dicts, or "
            "write the loop yourself with torch_ddp.run."
        )
    return data[0], data[1]


def placed(function: RowLoss, device: torch.device) -> RowLoss:
    """Return a loss or a metric whose tensors, such as weights of classes, are on the device."""
    if isinstance(function, nn.Module):
        return copy.deepcopy(function).to(device)
    if isinstance(function, partial):
        given, named = to_device((function.args, function.keywords), device)
        return partial(placed(function.func, device), *given, **named)
    return function


def made_module(module: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """Return a module of this rank's own."""
    if isinstance(module, nn.Module):
        return copy.deepcopy(module)
    made = _made("module", module)
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"train: module must be an nn.Module, or make one when called, got "
            f"{type(made).__name__}."
        )
    return made


def opened(name: str, dataset: Any) -> Any:
    """Return a dataset; a class or a function is called for it."""
    if isinstance(dataset, type) or (callable(dataset) and not hasattr(dataset, "__getitem__")):
        dataset = _made(name, dataset)
    if isinstance(dataset, tuple):
        raise TypeError(
            f"train: {name} must be a Dataset whose rows are pairs (inputs, target), got a tuple; "
            "make one of two tensors with TensorDataset(x, y)."
        )
    return dataset


def _made(name: str, maker: Callable[[], Any]) -> Any:
    if not isinstance(maker, type):
        return maker()
    try:
        return maker()
    except TypeError as error:
        raise TypeError(
            f"train: {name} is the class {maker.__name__}, which can not be made without "
            f"arguments ({error}); pass one that is made, or partial({maker.__name__}, ...)."
        ) from error


def not_finite(data: Any) -> bool:
    """Whether a batch holds NaN or infinity itself.

    Examples
    --------
    >>> not_finite(({"a": torch.zeros(2)}, torch.tensor(float("nan"))))
    True
    """
    if isinstance(data, Tensor):
        return not bool(torch.isfinite(data).all())
    if isinstance(data, dict):
        data = list(data.values())
    return isinstance(data, list | tuple) and any(map(not_finite, data))
