"""An optimizer turns a gradient into a step: theta, gradient and state in, theta and state out.

Optimizers are frozen dataclasses. What they remember (velocity, averages, the step count) is the
``state``: made by ``init(theta)``, taken and returned by ``step``. Each update equals PyTorch's of
the same name (torch.optim), to rounding. This file has the plain ones; those that choose a step
length per parameter stand in :mod:`course_lib.adaptive` and are imported from here all the same.

Chapters: gradient descent, optimizers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from course_lib.adaptive import AdaGrad, Adam, AdamW, RMSProp
from course_lib.arrays import Array
from course_lib.registry import lookup
from course_lib.schedules import Schedule, check_rate
from course_lib.stepping import Optimizer, State

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Nesterov", "Optimizer", "RMSProp", "State"]


@dataclass(frozen=True)
class SGD(Optimizer):
    r"""Gradient descent on mini-batches, with heavy-ball momentum and L2 weight decay if asked for.

    .. math:: v_t = \mu v_{t-1} + (g_t + \lambda \theta_{t-1}), \quad
              \theta_t = \theta_{t-1} - \eta_t v_t

    The learning rate stands outside the velocity, as in PyTorch; in Sutskever et al. 2013 it
    stands inside, which differs when it changes from step to step.

    References: Robbins & Monro 1951; Polyak 1964.

    Parameters
    ----------
    lr : float or callable
        Learning rate :math:`\eta`.
    momentum : float
        :math:`\mu` in [0, 1).
    weight_decay : float
        :math:`\lambda \ge 0`; the gradient of :math:`\lambda \|\theta\|^2 / 2`.

    Examples
    --------
    >>> import numpy as np
    >>> sgd = SGD(lr=0.1, momentum=0.9)
    >>> theta, state = np.array([1.0]), sgd.init(np.array([1.0]))
    >>> for _ in range(2):
    ...     theta, state = sgd.step(theta, np.array([1.0]), state)
    >>> theta
    array([0.71])

    Notes
    -----
    Chapters: gradient descent, optimizers.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("momentum")
        check_rate(self.weight_decay, where="SGD", name="weight_decay")

    @property
    def memory(self) -> tuple[str, ...]:
        """The velocity; without momentum there is nothing to remember."""
        return ("v",) if self.momentum else ()

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * theta
        for v in memory:
            v *= self.momentum
            v += g
            g = v
        theta -= lr * g


@dataclass(frozen=True)
class Nesterov(Optimizer):
    r"""Momentum that looks ahead: the velocity is applied once more before the step is taken.

    .. math:: v_t = \mu v_{t-1} + g_t, \quad \theta_t = \theta_{t-1} - \eta_t (g_t + \mu v_t)

    References: Nesterov 1983; in this form Sutskever et al. 2013 and ``torch.optim.SGD`` with
    ``nesterov=True``.

    Examples
    --------
    >>> import numpy as np
    >>> opt = Nesterov(lr=0.1, momentum=0.9)
    >>> opt.step(np.array([1.0]), np.array([1.0]), opt.init(np.array([1.0])))[0]
    array([0.81])

    Notes
    -----
    Chapter: optimizers.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("momentum")

    @property
    def memory(self) -> tuple[str, ...]:
        """The velocity."""
        return ("v",)

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        (v,) = memory
        v *= self.momentum
        v += g
        theta -= lr * (g + self.momentum * v)


ALL: dict[str, Callable[[float | Schedule], Optimizer]] = {
    "sgd": SGD,
    "momentum": lambda lr: SGD(lr, momentum=0.9),
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}
"""What makes an optimizer of a learning rate, by name."""


def get(optimizer: str | Optimizer, lr: float | Schedule) -> Optimizer:
    """Return the optimizer of that name; an :class:`Optimizer` is returned as it is.

    Parameters
    ----------
    optimizer : str or Optimizer
        A key of :data:`ALL`, or an object, which has a learning rate already.
    lr : float or callable
        The learning rate of one that is named.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> get("momentum", 0.1)
    SGD(lr=0.1, momentum=0.9, weight_decay=0.0)
    """
    return (
        optimizer if isinstance(optimizer, Optimizer) else lookup("optimizer", optimizer, ALL)(lr)
    )
