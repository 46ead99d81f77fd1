"""One rank's part of a training of a PyTorch module.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from course_lib.checkpoint import StrPath
from course_lib.evaluation import History
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.torch_ddp.checkpoint import from_arrays, to_arrays
from course_lib.parallel.torch_ddp.context import Context
from course_lib.training import check_finite

RowLoss: TypeAlias = Callable[[Any, Any], Tensor]
"""Outputs and targets to one number per row."""


def row_values(function: RowLoss, outputs: Any, targets: Any, name: str) -> Tensor:
    """Return one number per row: what the function says, its mean over the row's outputs.

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


@dataclass(frozen=True)
class Plan:
    """What is to be trained, and how: see :func:`~course_lib.parallel.torch_ddp.training.train`."""

    module: nn.Module | Callable[[], nn.Module]
    dataset: Dataset[Any] | Callable[[], Dataset[Any]]
    loss: RowLoss
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    epochs: int
    batch_size: int
    seed: int
    validation: Dataset[Any] | Callable[[], Dataset[Any]] | None
    metrics: Mapping[str, RowLoss]
    stop: Callable[[History], bool] | None
    checkpoint: StrPath | None
    every: int
    keep: int
    loader: Mapping[str, Any] = field(default_factory=dict)


def train_rank(ctx: Context, plan: Plan) -> dict[str, Any]:
    """Train on this rank; return its results, the tensors from rank 0 only."""
    device = ctx.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return _Training(ctx, plan).run()


class _Training:
    def __init__(self, ctx: Context, plan: Plan) -> None:
        self._ctx, self._plan = ctx, plan
        torch.manual_seed(plan.seed)
        own = copy.deepcopy(plan.module) if isinstance(plan.module, nn.Module) else plan.module()
        self._model = ctx.wrap(own)
        self._optimizer = plan.optimizer(self._model.parameters())
        self._data = _opened(plan.dataset)
        self._held_out = None if plan.validation is None else _opened(plan.validation)
        self._history: History = {}
        self._steps = 0

    def run(self) -> dict[str, Any]:
        ctx, plan = self._ctx, self._plan
        epoch, stopped = self._resume()
        while epoch < plan.epochs and not stopped:
            start = time.perf_counter()
            rows = self._epoch(epoch)
            self._validate()
            last = {name: values[-1] for name, values in self._history.items()}
            ctx.report(epoch=epoch, **last, rows=rows, seconds=time.perf_counter() - start)
            epoch += 1
            stopped = plan.stop is not None and ctx.any(plan.stop(self._history))
            if epoch % plan.every == 0 or epoch == plan.epochs or stopped:
                self._save(epoch, stopped)
        return self._result()

    def _epoch(self, epoch: int) -> int:
        ctx, plan = self._ctx, self._plan
        # Dropout's noise: another for each rank, and the same again after a restart.
        seeds = np.random.SeedSequence([plan.seed, epoch, ctx.rank])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        self._model.train()
        # Kept on the device: asking for the number at every step would make the processor wait.
        total, rows = torch.zeros((), dtype=torch.float64, device=ctx.device), 0
        for share in ctx.loader(
            self._data, batch_size=plan.batch_size, seed=plan.seed, epoch=epoch, **plan.loader
        ):
            ctx.comm.step = self._steps
            inputs, targets = pair(share.data)
            self._optimizer.zero_grad()
            loss = row_values(plan.loss, self._model(inputs), targets, "loss").sum()
            share.mean(loss).backward()
            self._optimizer.step()
            if share.rows:
                total += loss.detach()
            rows += share.rows
            self._steps += 1
        mean = ctx.all_reduce(total).item() / ctx.all_reduce(rows)
        check_finite(mean, epoch, self._steps - 1)
        self._history.setdefault("loss", []).append(mean)
        return rows

    def _validate(self) -> None:
        ctx, plan = self._ctx, self._plan
        if self._held_out is None:
            return
        functions = {"loss": plan.loss, **plan.metrics}
        sums = torch.zeros(len(functions) + 1, dtype=torch.float64, device=ctx.device)
        # Not the wrapped module: it would wait for the other ranks, to which nothing is added.
        own = self._model.module.eval()
        with torch.no_grad():
            for share in ctx.loader(
                self._held_out, batch_size=plan.batch_size, shuffle=False, **plan.loader
            ):
                if share.rows:
                    inputs, targets = pair(share.data)
                    outputs = own(inputs)
                    for i, (name, function) in enumerate(functions.items()):
                        sums[i] += row_values(function, outputs, targets, name).sum()
                    sums[-1] += share.rows
        *values, rows = ctx.all_reduce(sums).tolist()
        for name, value in zip(functions, values, strict=True):
            self._history.setdefault(f"val_{name}", []).append(value / rows)

    def _config(self) -> dict[str, Any]:
        plan = self._plan
        return {"rows": len(self._data), "batch_size": plan.batch_size, "seed": plan.seed}

    def _save(self, epoch: int, stopped: bool) -> None:
        plan = self._plan
        if plan.checkpoint is not None:
            meta = {
                "config": self._config(), "epoch": epoch, "stopped": stopped,
                "history": self._history,
            }  # fmt: skip
            self._ctx.save(
                plan.checkpoint, step=self._steps, keep=plan.keep, meta=meta,
                model=self._model, optimizer=self._optimizer,
            )  # fmt: skip

    def _resume(self) -> tuple[int, bool]:
        where = self._plan.checkpoint
        if where is None:
            return 0, False
        found = self._ctx.load(where, model=self._model, optimizer=self._optimizer)
        if found is None:
            return 0, False
        if found.meta["config"] != self._config():
            raise CheckpointMismatch(
                f"train: the checkpoint in {where} is of a training with {found.meta['config']}, "
                f"and this one has {self._config()}; choose another folder.",
                rank=self._ctx.rank,
            )
        self._steps, self._history = found.step, found.meta["history"]
        return found.meta["epoch"], found.meta["stopped"]

    def _result(self) -> dict[str, Any]:
        skeleton, arrays = to_arrays("model", self._model.module.state_dict())
        digest = hashlib.sha256()
        for name, parameter in self._model.module.named_parameters():
            digest.update(name.encode() + to_arrays("", parameter)[1][""].tobytes())
        result: dict[str, Any] = {"digest": digest.hexdigest()}
        if self._ctx.rank == 0:
            result["state_dict"] = from_arrays(skeleton, arrays)
            result["optimizer_state"] = from_arrays(*to_arrays("", self._optimizer.state_dict()))
            result["history"] = self._history
        return result


def _opened(dataset: Any) -> Any:
    return dataset() if callable(dataset) and not hasattr(dataset, "__getitem__") else dataset
