"""What decides a training of a PyTorch module, in words; with other words, it is another training.

Chapter: when workers die.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from course_lib.parallel.fingerprints import digest, words
from course_lib.parallel.torch_ddp.checkpoint import to_arrays
from course_lib.parallel.torch_ddp.noise import own_noise, seed_noise
from course_lib.parallel.torch_ddp.plan import Plan
from course_lib.parallel.torch_ddp.stepping import Stepper

# Of a dataset that is no table of tensors: enough rows to tell two apart, few enough to be read.
_ROWS = 4096


def module_words(module: nn.Module) -> str:
    """Return what a module is, but for its weights."""
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{type(module).__name__} of {count} parameters, sha256 {_sum(repr(module))}"


def state_words(module: nn.Module) -> str:
    """Return with which weights and buffers a module begins."""
    return f"sha256 {_sum(module.state_dict())}"


def optimizer_words(optimizer: torch.optim.Optimizer) -> str:
    """Return of which kind an optimizer is, and its numbers, for each group of parameters.

    Examples
    --------
    >>> optimizer_words(torch.optim.SGD([torch.zeros(1)], lr=0.1))
    'SGD(lr=0.1, momentum=0, dampening=0, weight_decay=0)'
    """
    groups = [
        # Switches that are off do not count: a later version of PyTorch may have more of them.
        ", ".join(
            f"{name}={value}"
            for name, value in group.items()
            if name != "params" and value is not None and value is not False
        )
        for group in optimizer.param_groups
    ]
    return f"{type(optimizer).__name__}({'; '.join(groups)})"


def groups_words(optimizer: torch.optim.Optimizer, module: nn.Module) -> str:
    """Return which parameters are in which group of an optimizer.

    Examples
    --------
    >>> line = nn.Linear(1, 1)
    >>> groups_words(torch.optim.SGD([{"params": [line.weight]}, {"params": [line.bias]}]), line)
    'weight; bias'
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = [[names.get(id(p), "?") for p in g["params"]] for g in optimizer.param_groups]
    if len(groups) == 1 and len(groups[0]) == len(names):
        return "one of all parameters"
    return "; ".join(", ".join(group) for group in groups)


def schedule_words(schedule: Any) -> str:
    """Return what a learning-rate scheduler is, before its first step.

    Examples
    --------
    >>> from torch.optim.lr_scheduler import StepLR
    >>> def words_of(size):
    ...     return schedule_words(StepLR(torch.optim.SGD([torch.zeros(1)], lr=0.1), size))
    >>> words_of(3) == words_of(3) != words_of(4)
    True
    """
    if schedule is None:
        return "none"
    own = {k: v for k, v in vars(schedule).items() if k not in ("optimizer", "_schedulers")}
    inner = [schedule_words(part) for part in getattr(schedule, "_schedulers", ())]
    return f"{type(schedule).__name__}, sha256 {_sum([words(own), *inner])}"


def data_words(dataset: Any) -> str:
    """Return what a dataset holds.

    A TensorDataset: all of it. Any other: the rows at up to 4,096 random places. Rows that are
    drawn at random are read with the same seed, and if they differ all the same, only their number
    counts.

    Examples
    --------
    >>> data_words([torch.tensor(1.0)]) == data_words([torch.tensor(2.0)])
    False
    """
    n = len(dataset)
    if type(dataset) is TensorDataset:  # one that derives from it may give other rows
        return f"{n} rows, sha256 {_sum([_sum(tensor) for tensor in dataset.tensors])}"
    chosen = np.arange(n)
    if n > _ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(n, _ROWS, replace=False))
    numbers = chosen.tolist()

    def read(row: int) -> str:
        seed_noise(row)
        return _sum(dataset[row])

    with own_noise(torch.device("cpu")):
        sums = [read(row) for row in numbers]
        if read(numbers[0]) != sums[0]:
            return f"{n} rows of {type(dataset).__name__}, drawn anew each time"
    return f"{n} rows, sha256 {_sum(sums)}"


def training_words(
    plan: Plan, optimizer: str, stepper: Stepper, module: nn.Module, data: Any, held_out: Any
) -> dict[str, str]:
    """Return what decides a training, by name; `optimizer` was described before the schedule."""

    def given(thing: Any) -> str:
        return "none" if thing is None else words(thing)

    def numbers(array: Any) -> str:
        return "none" if array is None else digest(array)

    def judged(functions: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} by {words(f)}" for name, f in functions.items()) or "none"

    found = {}
    if plan.keep_best is not None:
        found["best epoch"] = f"by {plan.keep_best}, better {plan.better or 'as its name says'}"
    if plan.schedule is not None:
        found["schedule's pace"] = f"each {plan.schedule_each}"
    return found | {
        "module": module_words(module),
        "loss": words(plan.loss),
        "training step": given(plan.training_step),
        "optimizer": optimizer,
        "learning rate": words(plan.optimizer) if stepper.has_rate else "as it is set",
        "groups": groups_words(stepper.optimizer, module),
        "schedule": schedule_words(stepper.schedule),
        "clip": str(plan.clip),
        "precision": plan.precision,
        "batch_size": str(plan.batch_size),
        "accumulate": str(plan.accumulate),
        "drop_last": str(plan.drop_last),
        "seed": str(plan.seed),
        "weights of rows": numbers(plan.weights),
        "drawing of rows": numbers(plan.draw),
        "collate_fn": given(plan.loader.get("collate_fn")),
        "options of DDP": ", ".join(f"{k}={words(v)}" for k, v in sorted(plan.ddp.items())),
        "initial state": state_words(module),
        "training data": data_words(data),
        "validation data": "none" if held_out is None else data_words(held_out),
        "metrics": judged(plan.metrics),
        "set_metrics": judged(plan.set_metrics),
    }


def _sum(thing: Any) -> str:
    """Return the first digits of a sum over tensors, arrays, numbers and text."""
    try:
        skeleton, arrays = to_arrays("", thing)
    except TypeError:
        skeleton, arrays = words(thing), {}
    text = json.dumps(skeleton) + digest(*arrays.values())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
