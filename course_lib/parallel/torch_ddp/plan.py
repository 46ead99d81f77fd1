"""What is to be trained, and how: the arguments of a training of a PyTorch module, checked.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from course_lib.arrays import (
    Array,
    check_callable,
    check_flag,
    check_integer,
    check_number,
    check_row_numbers,
    check_sequence,
    shown,
)
from course_lib.early_stopping import check_keep_best
from course_lib.evaluation import History
from course_lib.optimizers import Optimizer
from course_lib.parallel.strategies import Saving
from course_lib.parallel.torch_ddp.stepping import PRECISIONS
from course_lib.registry import lookup
from course_lib.torch_mlp import torch_optimizer


class ModuleEpoch(NamedTuple):
    """What a callback is shown at the end of an epoch (counted from 0), on rank 0.

    Attributes
    ----------
    epoch : int
        Which epoch has ended.
    module : nn.Module
        On its device, in ``eval()`` mode; to be looked at, not to be changed.
    optimizer : torch.optim.Optimizer
        With the learning rates of its groups.
    history : dict of lists
        One number per epoch.

    Examples
    --------
    >>> def show(event):
    ...     print(event.epoch, event.history["loss"][-1])
    >>> line = nn.Linear(1, 1)
    >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
    >>> show(ModuleEpoch(0, line, sgd, {"loss": [1.5]}))
    0 1.5
    """

    epoch: int
    module: nn.Module
    optimizer: torch.optim.Optimizer
    history: History


@dataclass(frozen=True)
class Plan:
    """What is to be trained, and how: see :func:`~course_lib.parallel.torch_ddp.training.train`.

    `begin` is the manifest to begin with, and `newest` whether one in the own folder comes first.
    """

    module: Any
    dataset: Any
    loss: Any
    optimizer: Any
    epochs: int
    batch_size: int
    seed: int = 0
    drop_last: bool = False
    draw: Array | None = None
    weights: Array | None = None
    accumulate: int = 1
    groups: Any = None
    schedule: Any = None
    schedule_each: str = "step"
    clip: float | None = None
    precision: str = "float32"
    training_step: Any = None
    validation: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    set_metrics: Mapping[str, Any] = field(default_factory=dict)
    stop: Callable[[History], bool] | None = None
    keep_best: str | None = None
    better: str | None = None
    callbacks: Sequence[Callable[[ModuleEpoch], object]] = ()
    saving: Saving | None = None
    loader: Mapping[str, Any] = field(default_factory=dict)
    ddp: Mapping[str, Any] = field(default_factory=dict)
    begin: str | None = None
    newest: bool = True


def checked(plan: Plan) -> Plan:
    """Return the plan; refuse at once what can not be used: better here than on every worker."""
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("accumulate", 1)):
        check_integer(getattr(plan, name), where="train", name=name, at_least=least)
    check_flag(plan.drop_last, where="train", name="drop_last")
    for name, function in _functions(plan):
        if not callable(function):
            hint = "; pass what makes it, such as partial(torch.optim.SGD, lr=0.1)"
            raise TypeError(
                f"train: {name} must be callable, got {type(function).__name__}"
                f"{hint if name == 'optimizer' else ''}."
            )
    if plan.training_step is not None:
        takes = ("module", "inputs", "targets")
        check_callable(plan.training_step, where="train", name="training_step", takes=takes)
    if plan.accumulate > plan.batch_size:
        raise ValueError(
            f"train: accumulate={plan.accumulate} cuts a batch of {plan.batch_size} rows in more "
            "pieces than it has rows; choose a larger batch_size."
        )
    lookup("precision", plan.precision, dict.fromkeys(PRECISIONS))
    if plan.clip is not None:
        check_number(plan.clip, where="train", name="clip", above=0)
    _check_optimizer(plan)
    _check_judging(plan)
    _check_options(plan)
    return plan


def _functions(plan: Plan) -> Iterator[tuple[str, Any]]:
    for argument in ("metrics", "set_metrics"):
        for name, metric in getattr(plan, argument).items():
            yield f"{argument}[{name!r}]", metric
    yield from (("module", plan.module), ("loss", plan.loss))
    if not isinstance(plan.optimizer, Optimizer):
        yield "optimizer", plan.optimizer
    for name in ("stop", "groups", "schedule"):
        if getattr(plan, name) is not None:
            yield name, getattr(plan, name)
    for callback in check_sequence(plan.callbacks, where="train", name="callbacks", of="functions"):
        yield "each of callbacks", callback


def _check_optimizer(plan: Plan) -> None:
    if plan.schedule_each not in ("step", "epoch"):
        raise ValueError(
            f"train: schedule_each must be 'step' or 'epoch', got {shown(plan.schedule_each)}."
        )
    if plan.schedule is None and plan.schedule_each == "epoch":
        raise ValueError("train: schedule_each='epoch' says when, and schedule= must say what.")
    if not isinstance(plan.optimizer, Optimizer):
        return
    torch_optimizer(plan.optimizer, [nn.Parameter(torch.zeros(1))])  # refuses one without a twin
    if plan.groups is not None:
        raise ValueError(
            "train: groups needs an optimizer that takes groups, such as partial(torch.optim.Adam, "
            f"lr=1e-3); {plan.optimizer} treats all parameters alike."
        )
    if plan.schedule is not None and callable(plan.optimizer.lr):
        raise ValueError(
            f"train: both schedule= and the lr of {plan.optimizer} say how the learning rate goes; "
            "leave one of the two out."
        )


def _check_judging(plan: Plan) -> None:
    for name in ("metrics", "set_metrics"):
        if getattr(plan, name) and plan.validation is None:
            raise ValueError(f"train: {name} judges held-out rows; pass validation=dataset, too.")
    taken = {"loss", *plan.metrics} & set(plan.set_metrics) | {"loss"} & set(plan.metrics)
    if taken:
        raise ValueError(
            f"train: two numbers would be called 'val_{min(taken)}'; give the metric another name."
        )
    judged = () if plan.validation is None else ("loss", *plan.metrics, *plan.set_metrics)
    check_keep_best(plan.keep_best, plan.better, judged, where="train")


def _check_options(plan: Plan) -> None:
    own = {"batch_size", "shuffle", "sampler", "batch_sampler", "drop_last", "seed", "epoch"}
    if taken := sorted(own & set(plan.loader)):
        raise ValueError(
            f"train: loader={{{taken[0]!r}: ...}} would choose the rows, which train does itself; "
            "leave it out, and see batch_size=, seed=, drop_last= and draw=."
        )
    ours = {"module", "device_ids", "output_device", "process_group"}
    known = set(inspect.signature(DistributedDataParallel).parameters) - ours
    if unknown := sorted(set(plan.ddp) - known):
        raise ValueError(
            f"train: ddp={{{unknown[0]!r}: ...}} is no option that is yours to choose; "
            f"DistributedDataParallel has {', '.join(sorted(known))}."
        )
    if plan.ddp.get("static_graph") and plan.accumulate > 1:
        raise ValueError(
            "train: ddp={'static_graph': True} and accumulate= do not go together: the pieces that "
            "are not exchanged make another graph; leave one of the two out."
        )


def row_numbers(value: Any, name: str) -> Array | None:
    """Return one number per row, at least 0, in double precision; None for None.

    Examples
    --------
    >>> row_numbers([1, 2], "weights")
    array([1., 2.])
    """
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return check_row_numbers(value, None, where="train", name=name)
