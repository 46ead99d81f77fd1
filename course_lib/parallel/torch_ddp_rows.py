"""One number per row: what a training adds up, so that the number of ranks does not matter.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

RowLoss: TypeAlias = Callable[[Any, Any], Tensor]
"""Outputs and targets to one number per row."""


def row_values(function: RowLoss, outputs: Any, targets: Any, name: str) -> Tensor:
    """Return one number per row: what the function says, its mean over the row's outputs.

    Raises
    ------
    ValueError
        If the function has already added up the rows, or taken their mean.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> mse = nn.MSELoss(reduction="none")
    >>> row_values(mse, torch.zeros(3, 2), torch.ones(3, 2), "loss")
    tensor([1., 1., 1.])
    """
    values = function(outputs, targets)
    if not isinstance(values, Tensor) or values.ndim == 0 or len(values) != len(targets):
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"train: {name} must return one number per row, a tensor of shape ({len(targets)},), "
            f"got {shape}; in PyTorch's losses, choose reduction='none'. A mean per rank would be "
            "wrong where ranks have different numbers of rows."
        )
    if not values.is_floating_point():
        values = values.double()  # right or wrong, 1 or 0
    return values.reshape(len(values), -1).mean(1)


def pair(data: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch."""
    if not isinstance(data, list | tuple) or len(data) != 2:
        raise TypeError(
            f"train: a row of the dataset must be a pair (inputs, target), got "
            f"{type(data).__name__}; for anything else, write the loop yourself with "
            "torch_ddp.run."
        )
    return data[0], data[1]
