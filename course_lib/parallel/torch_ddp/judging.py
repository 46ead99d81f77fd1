"""Held-out rows, judged by all ranks together; and the outputs for all rows, in their order.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.evaluation import SetMetric, measure
from course_lib.parallel.torch_ddp.checkpoint import gathered
from course_lib.parallel.torch_ddp.context import Context
from course_lib.parallel.torch_ddp.given import RowLoss, pair, row_values
from course_lib.parallel.torch_ddp.reading import read, to_device
from course_lib.parallel.torch_ddp.sampler import ShareSampler


@dataclass(frozen=True)
class Judging:
    """How held-out rows are read and what is measured on them.

    Attributes
    ----------
    functions : dict of str to callable
        One number per row each, of which the mean is taken: the loss and the metrics.
    wholes : dict of str to callable
        One number for all rows each.
    batch_size : int
        How many rows all ranks together look at, at once.
    loader : dict
        Options of the ``DataLoader``.
    autocast : callable
        Makes the block in which the forward pass is computed.
    """

    functions: Mapping[str, RowLoss]
    wholes: Mapping[str, SetMetric]
    batch_size: int
    loader: Mapping[str, Any] = field(default_factory=dict)
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


def judge(
    ctx: Context, module: nn.Module, data: Any, how: Judging, noise: tuple[int, ...]
) -> dict[str, float]:
    """Return what is measured, by name, the same on every rank; all ranks must call it.

    `module` is not the wrapped one: that would wait for the other ranks, to which nothing is added.
    """
    sums = torch.zeros(len(how.functions) + 1, dtype=torch.float64, device=ctx.device)
    kept: list[Any] = []
    for inputs, targets, rows in _batches(ctx, data, how, noise):
        with how.autocast():
            outputs = module(inputs)
            for i, (name, function) in enumerate(how.functions.items()):
                sums[i] += row_values(function, outputs, targets, rows, name).double().sum()
        sums[-1] += rows
        if how.wholes:
            kept.append(to_device((_plain(outputs), targets), torch.device("cpu")))
    *values, rows = ctx.all_reduce(sums).tolist()
    found = {name: value / rows for name, value in zip(how.functions, values, strict=True)}
    if how.wholes:
        pairs = in_order(ctx, joined(kept), len(data), how.batch_size)
        numbers = np.zeros(len(how.wholes))
        if pairs is not None:
            numbers[:] = list(measure(how.wholes, *pairs, where="train").values())
        # Only rank 0 has other numbers than zeros.
        told = ctx.all_reduce(torch.from_numpy(numbers)).tolist()
        found |= dict(zip(how.wholes, told, strict=True))
    return found


def outputs_of(ctx: Context, module: nn.Module, data: Any, how: Judging) -> Any:
    """Return what a module answers to all rows, in their order, on rank 0; elsewhere None."""
    kept = []
    for inputs, _, _ in _batches(ctx, data, how, (0, 0, ctx.rank), targets=False):
        with how.autocast():
            kept.append(to_device(_plain(module(inputs)), torch.device("cpu")))
    return in_order(ctx, joined(kept), len(data), how.batch_size)


def _batches(
    ctx: Context, data: Any, how: Judging, noise: tuple[int, ...], *, targets: bool = True
) -> Any:
    """Yield inputs, targets and how many rows they are, without what belongs to other ranks."""
    sampler = ShareSampler(len(data), how.batch_size, ctx.rank, ctx.size, shuffle=False)
    with torch.no_grad():
        for rows, piece in read(ctx.comm, ctx.device, data, sampler, how.loader, noise):
            if piece.own:
                yield *(pair(rows) if targets else (_inputs(rows), None)), piece.own


def _inputs(rows: Any) -> Any:
    """Return the inputs of rows that may have targets as well."""
    return rows[0] if isinstance(rows, list | tuple) and len(rows) in (1, 2) else rows


def _plain(outputs: Any) -> Any:
    """Return outputs in numbers that NumPy has, too."""
    if isinstance(outputs, Tensor):
        half = outputs.dtype in (torch.bfloat16, torch.float16)
        return outputs.float() if half else outputs
    if isinstance(outputs, Mapping):
        return {name: _plain(part) for name, part in outputs.items()}
    if isinstance(outputs, list | tuple):
        return tuple(map(_plain, outputs))
    return outputs


def joined(parts: list[Any]) -> Any:
    """Return what belongs to some rows after each other: tensors, and dicts and tuples of them.

    Examples
    --------
    >>> joined([{"a": torch.zeros(1)}, {"a": torch.ones(2)}])
    {'a': tensor([0., 1., 1.])}
    """
    if not parts:
        return None
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, Mapping):
        return {name: joined([part[name] for part in parts]) for name in first}
    if isinstance(first, list | tuple) and first and not isinstance(first[0], str):
        return tuple(joined([part[i] for part in parts]) for i in range(len(first)))
    if isinstance(first, list | tuple):
        return [thing for part in parts for thing in part]
    raise TypeError(
        f"train: what is gathered for all rows must be tensors, and dicts and tuples of them, got "
        f"{type(first).__name__}."
    )


def in_order(ctx: Context, own: Any, n: int, batch_size: int) -> Any:
    """Return on rank 0 what belongs to n rows in their order, of what each rank has of its own."""
    parts = gathered(ctx.comm, "rows", own)
    if ctx.rank > 0:
        return None
    numbers = [
        row
        for rank in range(ctx.size)
        for piece in ShareSampler(n, batch_size, rank, ctx.size, shuffle=False).pieces()
        for row in piece.rows[: piece.own]
    ]
    places = np.argsort(numbers)
    return _taken(joined([part for part in parts if part is not None]), torch.from_numpy(places))


def _taken(whole: Any, places: Tensor) -> Any:
    if isinstance(whole, Tensor):
        return whole[places]
    if isinstance(whole, Mapping):
        return {name: _taken(part, places) for name, part in whole.items()}
    if isinstance(whole, tuple):
        return tuple(_taken(part, places) for part in whole)
    return [whole[i] for i in places.tolist()]
