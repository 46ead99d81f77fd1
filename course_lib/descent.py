"""What all optimizers share: a learning rate, a state, and the walk over the blocks of theta.

Optimizers are frozen dataclasses. What they remember (velocity, averages, the step count) is the
``state``: made by ``init(theta)``, taken and returned by ``step``. That is the same for all; they
differ in ``_update``, a few lines of arithmetic in place on one block of theta.

Chapters: gradient descent, optimizers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np

from course_lib.arrays import (
    Array,
    check_flag,
    check_integer,
    check_like,
    check_number,
    check_theta,
    shown,
)
from course_lib.schedules import Schedule, check_schedule

State: TypeAlias = dict[str, Any]
"""``{"t": steps taken, name: vector, ...}``, see :attr:`Optimizer.memory`."""

BLOCK = 8192
"""Elements per block: its vectors and temporaries stay in the processor's cache, and are so small
that the allocator reuses them instead of asking the system for cleared pages."""

# What the optimizers call so, and how large it may be; each has some of them. None is negative.
_LIMITS: dict[str, dict[str, float]] = {
    **{name: {"below": 1.0} for name in ("momentum", "decay", "beta1", "beta2")},
    "dampening": {"at_most": 1.0},
    **{name: {"below": math.inf} for name in ("weight_decay", "eps", "lr_decay")},
    "initial_accumulator_value": {"below": math.inf},
}
_FLAGS = {"maximize", "nesterov", "centered", "amsgrad"}


@dataclass(frozen=True, repr=False)
class Optimizer(ABC):
    """What all optimizers share: the learning rate, and the walk over the blocks of theta.

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule that maps the number of steps taken to one.
    maximize : bool
        Climb instead: the gradient counts with the other sign. A weight decay still shrinks.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range, or no number.

    Notes
    -----
    Options that stand behind the ``*`` of a signature are shown only where they are set.
    """

    lr: float | Schedule
    maximize: bool = field(default=False, kw_only=True)

    weight_decay = 0.0  # of an optimizer without such a field

    def __post_init__(self) -> None:
        who = type(self).__name__
        object.__setattr__(self, "lr", check_schedule(self.lr, where=who))
        for name in (option.name for option in fields(self)):
            value = getattr(self, name)
            if name in _LIMITS:
                number = check_number(value, where=who, name=name, at_least=0, **_LIMITS[name])
                object.__setattr__(self, name, number)
            elif name in _FLAGS:
                object.__setattr__(self, name, check_flag(value, where=who, name=name))

    def __repr__(self) -> str:
        options = fields(self)
        told = [o for o in options if not o.kw_only]
        told += [o for o in options if o.kw_only and getattr(self, o.name) != o.default]
        settings = ", ".join(f"{o.name}={getattr(self, o.name)!r}" for o in told)
        return f"{type(self).__name__}({settings})"

    @property
    def memory(self) -> tuple[str, ...]:
        """The names of the vectors in the state, each like theta."""
        return ()

    def init(self, theta: Array) -> State:
        """Make the state: ``t``, the number of steps taken, and the vectors, all zero."""
        check_theta(theta, where=f"{type(self).__name__}.init")
        return {"t": 0, **{name: np.zeros_like(theta) for name in self.memory}}

    def learning_rate(self, t: int) -> float:
        """Return the learning rate of the step that follows `t` steps."""
        if not callable(self.lr):
            return self.lr
        who = type(self).__name__
        return check_number(self.lr(t), where=who, name=f"lr(step={t})", at_least=0)

    def step(
        self, theta: Array, grad: Array, state: State, *, out: Array | None = None
    ) -> tuple[Array, State]:
        """Take one step against the gradient, or along it with ``maximize=True``.

        Parameters
        ----------
        theta : array, shape (n,)
            The parameters.
        grad : array, shape (n,)
            The gradient of the loss by theta.
        state : dict
            From :meth:`init` or the previous step.
        out : array, shape (n,), optional
            Where to write the new theta; may be `theta` itself. With it the vectors of `state`
            are updated in place too and nothing is allocated. Without it nothing that came in is
            changed.

        Returns
        -------
        theta, state : array, shape (n,), and dict

        Raises
        ------
        ValueError, TypeError
            If shapes or dtypes differ, or the state is another optimizer's.
        """
        names = self.memory
        try:
            self._check(theta, grad, state, names)
        except (AttributeError, KeyError):  # not even an array, or a dictionary
            raise TypeError(
                f"{type(self).__name__}.step: theta and grad must be arrays, state a dictionary of "
                f"them, got {', '.join(map(shown, (theta, grad, state)))}."
            ) from None
        vectors = [state[name] if out is not None else state[name].copy() for name in names]
        if out is None:
            theta = theta.copy()
        elif out is not theta:
            check_like(out, theta, where=f"{type(self).__name__}.step", name="out", like="theta")
            np.copyto(out, theta)
            theta = out
        # A Python int: NumPy's integers would turn float32 vectors into float64 (NEP 50).
        t = int(state["t"]) + 1
        lr = self.learning_rate(t - 1)
        as_it_is = not (self.maximize or self.weight_decay)
        for start in range(0, theta.size, BLOCK):
            at = slice(start, start + BLOCK)
            g = grad[at] if as_it_is else self._slope(theta[at], grad[at])
            self._update(theta[at], g, lr, t, *(v[at] for v in vectors))
        return theta, {"t": t, **dict(zip(names, vectors, strict=True))}

    def _slope(self, theta: Array, g: Array) -> Array:
        """Return what is descended: the gradient, turned round to climb, and that of the penalty.

        In this order, as in PyTorch, so that a decay shrinks the parameters in both directions.
        """
        if self.maximize:
            g = -g
        if self.weight_decay:
            g = g + self.weight_decay * theta
        return g

    @abstractmethod
    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        """Update theta and the memory vectors in place; `t` counts from 1."""

    def _check(self, theta: Array, grad: Array, state: State, names: tuple[str, ...]) -> None:
        who = type(self).__name__
        if state.keys() != {"t", *names}:
            raise ValueError(
                f"{who}.step: state must have the keys {['t', *names]}, got {list(state)}; "
                "make one with init(theta)."
            )
        if type(state["t"]) is not int or state["t"] < 0:
            check_integer(state["t"], where=f"{who}.step", name="state['t']", at_least=0)
        if theta.dtype.kind != "f":
            check_theta(theta, where=f"{who}.step")
        for name, v in (("grad", grad), *((name, state[name]) for name in names)):
            if v.shape != theta.shape or v.dtype != theta.dtype:
                raise ValueError(
                    f"{who}.step: {name} must be like theta, {theta.dtype} {theta.shape}, "
                    f"got {v.dtype} {v.shape}."
                )
