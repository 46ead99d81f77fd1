"""A schedule says how long the next step is: it maps the number of steps taken to a learning rate.

Schedules are frozen dataclasses that are called with the step number, counted from 0. Any optimizer
takes one in place of the number ``lr``.

Chapter: optimizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

from course_lib.arrays import check_integer

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
        check_rate(self.lr, where="constant")

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
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
        check_rate(self.lr, where="step_decay")
        check_rate(self.factor, where="step_decay", name="factor")
        check_integer(self.every, where="step_decay", name="every", at_least=1)

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        return self.lr * self.factor ** (step // self.every)


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
        check_rate(self.lr, where="cosine")
        check_rate(self.final, where="cosine", name="final")
        check_integer(self.steps, where="cosine", name="steps", at_least=1)

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        progress = min(step, self.steps) / self.steps
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
        if not callable(self.schedule):
            check_rate(self.schedule, where="warmup", name="schedule")
        check_integer(self.steps, where="warmup", name="steps", at_least=1)

    def __call__(self, step: int) -> float:
        """Return the learning rate of that step."""
        then = self.schedule if callable(self.schedule) else constant(self.schedule)
        if step < self.steps:
            return (step + 1) / self.steps * then(0)
        return then(step - self.steps)


def check_rate(value: Any, *, where: str, name: str = "lr") -> float:
    """Return a learning rate as Python's float: a finite number of at least 0.

    A NumPy number would decide the type of what it is multiplied with.

    Examples
    --------
    >>> check_rate(-0.1, where="SGD")
    Traceback (most recent call last):
    ...
    ValueError: SGD: lr must be a finite number >= 0, got -0.1.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):
        raise ValueError(f"{where}: {name} must be a finite number >= 0, got {value!r}.")
    return float(value)
