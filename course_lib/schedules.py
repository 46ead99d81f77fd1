"""A schedule says how long the next step is: it maps the number of steps taken to a learning rate.

Schedules are frozen dataclasses that are called with the step number, counted from 0. Any optimizer
takes one in place of the number ``lr``.

Chapter: optimizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from course_lib.arrays import check_callable, check_integer, check_number

Schedule: TypeAlias = Callable[[int], float]
"""From the number of steps taken to the learning rate of the next."""


@dataclass(frozen=True)
class constant:
    r"""The same learning rate at every step: :math:`\eta_t = \eta`.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        _keep(self, lr=_rate(self, "lr"))

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        _step(self, step)
        return self.lr


@dataclass(frozen=True)
class step_decay:
    r"""Multiply by `factor` every so many steps: :math:`\eta_t = \eta\, c^{\lfloor t / T \rfloor}`.

    Examples
    --------
    >>> schedule = step_decay(1.0, factor=0.5, every=10)
    >>> [schedule(t) for t in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """

    lr: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        _keep(self, lr=_rate(self, "lr"), factor=_rate(self, "factor"), every=_count(self, "every"))

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        return self.lr * self.factor ** (_step(self, step) // self.every)


@dataclass(frozen=True)
class cosine:
    r"""Half a cosine wave from `lr` down to `final`, which it then keeps.

    .. math:: \eta_t = \eta_T + \tfrac{1}{2} (\eta - \eta_T) (1 + \cos(\pi t / T)), \quad t \le T

    References: Loshchilov & Hutter 2017 (SGDR), equation 5, without restarts.

    Examples
    --------
    >>> schedule = cosine(1.0, steps=100)
    >>> [round(schedule(t), 4) for t in (0, 50, 100, 200)]
    [1.0, 0.5, 0.0, 0.0]
    """

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _keep(self, lr=_rate(self, "lr"), final=_rate(self, "final"), steps=_count(self, "steps"))

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        progress = min(_step(self, step), self.steps) / self.steps
        return self.final + 0.5 * (self.lr - self.final) * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class warmup:
    r"""Grow in equal parts to the start of another schedule, then follow it.

    .. math:: \eta_t = \frac{t + 1}{T}\, s(0) \;\; (t < T), \qquad \eta_t = s(t - T) \;\; (t \ge T)

    References: Goyal et al. 2017, section 2.2 (gradual warm-up).

    Examples
    --------
    >>> schedule = warmup(cosine(1.0, steps=100), steps=4)
    >>> [schedule(t) for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    schedule: Schedule | float
    steps: int

    def __post_init__(self) -> None:
        _keep(
            self,
            schedule=check_schedule(self.schedule, where="warmup", name="schedule"),
            steps=_count(self, "steps"),
        )

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        then = self.schedule if callable(self.schedule) else constant(self.schedule)
        if _step(self, step) < self.steps:
            return (step + 1) / self.steps * then(0)
        return then(step - self.steps)


def check_schedule(value: Any, *, where: str, name: str = "lr") -> float | Schedule:
    """Return a learning rate, which must be a finite number of at least 0, or a schedule of it.

    Examples
    --------
    >>> check_schedule(-0.1, where="SGD")
    Traceback (most recent call last):
    ...
    ValueError: SGD: lr must be a finite number >= 0, got -0.1.
    """
    if callable(value):
        schedule: Schedule = check_callable(value, where=where, name=name, takes=("step",))
        return schedule
    return check_number(value, where=where, name=name, at_least=0)


def _rate(schedule: Any, name: str) -> float:
    value = getattr(schedule, name)
    return check_number(value, where=type(schedule).__name__, name=name, at_least=0)


def _count(schedule: Any, name: str) -> int:
    value = getattr(schedule, name)
    return check_integer(value, where=type(schedule).__name__, name=name, at_least=1)


def _step(schedule: Any, step: int) -> int:
    return check_integer(step, where=type(schedule).__name__, name="step", at_least=0)


def _keep(schedule: Any, /, **checked: Any) -> None:
    for name, value in checked.items():
        object.__setattr__(schedule, name, value)
