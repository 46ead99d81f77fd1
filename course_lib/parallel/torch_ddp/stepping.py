"""From gradients to parameters: optimizer, learning rate, clipping, and numbers of 16 bits.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from course_lib.optimizers import Optimizer
from course_lib.torch_mlp import torch_optimizer

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""In what PyTorch's autocast lets a forward pass compute; float32: in the module's own numbers."""


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the block in which a forward pass and its loss are computed.

    Examples
    --------
    >>> with autocast("bfloat16", torch.device("cpu")):
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    lower = precision != "float32"
    return torch.autocast(
        device.type, dtype=PRECISIONS[precision] if lower else None, enabled=lower
    )


def made_optimizer(given: Any, module: nn.Module, groups: Any) -> torch.optim.Optimizer:
    """Return the optimizer of a module's parameters, or of the groups that are made of them."""
    if isinstance(given, Optimizer):
        return torch_optimizer(given, module.parameters())
    parameters: Any = module.parameters()
    if groups is not None:
        parameters = groups(module.named_parameters())
        if not isinstance(parameters, list | tuple) or not all(
            isinstance(group, dict) and "params" in group for group in parameters
        ):
            raise TypeError(
                "train: groups must return a list of dicts such as {'params': [...], "
                f"'weight_decay': 0.0}}, got {type(parameters).__name__}."
            )
        _check_complete(module, parameters)
    made = given(parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise TypeError(
            f"train: optimizer must make a torch.optim.Optimizer, got {type(made).__name__}."
        )
    return made


def _check_complete(module: nn.Module, groups: Any) -> None:
    """Raise if a parameter is in no group: it would stay as it is, and nobody would notice."""
    given = {id(parameter) for group in groups for parameter in _listed(group)}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and id(parameter) not in given:
            raise ValueError(
                f"train: groups leaves out the parameter {name}, which would never be trained; put "
                "it into a group, or set its requires_grad to False."
            )


def _listed(group: dict[str, Any]) -> list[Tensor]:
    # An iterator could be read once only; the optimizer comes after us.
    if isinstance(group["params"], Tensor):
        return [group["params"]]
    group["params"] = list(group["params"])
    found = group["params"]
    return [pair[1] if isinstance(pair, tuple) else pair for pair in found]


class Stepper:
    """Takes the steps of a training: what it holds is what a checkpoint must remember.

    Parameters
    ----------
    module : nn.Module
        On its device.
    optimizer : Optimizer or callable
        One of this package, or what makes one of PyTorch's.
    groups, schedule, schedule_each, clip, precision
        See :func:`~course_lib.parallel.torch_ddp.training.train`.
    device : torch.device
        Where the gradients are.

    Examples
    --------
    >>> line = nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     line.weight[:] = 1.0
    >>> stepper = Stepper(line, lambda p: torch.optim.SGD(p, lr=0.5), clip=2.0)
    >>> stepper.scaled(6 * line(torch.ones(1, 1)).sum()).backward()
    >>> stepper.step(0)
    >>> round(line.weight.item(), 3)  # the gradient was 6, and is cut to 2
    0.0
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: Any,
        *,
        groups: Any = None,
        schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
        schedule_each: str = "step",
        clip: float | None = None,
        precision: str = "float32",
        device: torch.device | None = None,
    ) -> None:
        self.optimizer = made_optimizer(optimizer, module, groups)
        rate = optimizer.learning_rate if isinstance(optimizer, Optimizer) else None
        self._rate = rate if rate is not None and callable(optimizer.lr) else None
        self._parameters, self._clip = list(module.parameters()), clip
        kind = "cpu" if device is None else device.type
        self._scaler = torch.amp.GradScaler(kind, enabled=precision == "float16")
        # Made by begin(): the optimizer is described before the schedule sets the first rate.
        self.schedule: LRScheduler | None = None
        self._make, self._each = schedule, schedule_each

    @property
    def has_rate(self) -> bool:
        """Whether one of our optimizers says a learning rate for each step."""
        return self._rate is not None

    def begin(self) -> None:
        """Make the schedule, which sets the first learning rate."""
        if self._make is not None:
            self.schedule = made = self._make(self.optimizer)
            needs_number = isinstance(made, torch.optim.lr_scheduler.ReduceLROnPlateau)
            if not isinstance(made, LRScheduler) or needs_number:
                raise TypeError(
                    "train: schedule must make a learning-rate scheduler of torch.optim whose "
                    f"step() needs no number, got {type(made).__name__}."
                )
        self.optimizer.zero_grad()

    def parts(self) -> dict[str, Any]:
        """Return by name what has a ``state_dict`` and belongs into a checkpoint."""
        found: dict[str, Any] = {"optimizer": self.optimizer}
        if self.schedule is not None:
            found["schedule"] = self.schedule
        if self._scaler.is_enabled():
            found["scaler"] = self._scaler
        return found

    def scaled(self, loss: Tensor) -> Tensor:
        """Return what to call ``backward()`` on: in float16 small gradients would become 0."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def step(self, taken: int) -> None:
        """Take a step after so many others, and forget the gradients.

        In float16 a step whose gradients are too large for it is skipped: parameters, optimizer
        and schedule stay as they are, and the factor of the loss is halved.
        """
        if self._rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(taken)
        if self._clip is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        before = self._scaler.get_scale()
        self._scaler.step(self.optimizer)
        self._scaler.update()
        skipped = self._scaler.get_scale() < before
        self.optimizer.zero_grad()
        if self.schedule is not None and self._each == "step" and not skipped:
            self.schedule.step()

    def end_epoch(self) -> None:
        """Let a schedule that goes by epochs go on."""
        if self.schedule is not None and self._each == "epoch":
            self.schedule.step()
