"""An optimizer turns a gradient into a step: theta, gradient and state in, theta and state out.

Optimizers are frozen dataclasses. What they remember (velocity, averages, the step count) is the
``state``: made by ``init(theta)``, taken and returned by ``step``. That is the same for all; they
differ in ``_update``, a few lines of arithmetic in place on one block of theta. The last four give
every parameter a step length of its own, short where its gradients are large. Each update equals
PyTorch's of the same name (torch.optim), to rounding.

Chapters: gradient descent, optimizers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from course_lib.arrays import Array
from course_lib.registry import lookup
from course_lib.schedules import Schedule, check_rate

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Nesterov", "Optimizer", "RMSProp", "State"]

State: TypeAlias = dict[str, Any]
"""``{"t": steps taken, name: vector, ...}``, see :attr:`Optimizer.memory`."""

BLOCK = 8192
"""Elements per block: its vectors and temporaries stay in the processor's cache, and are so small
that the allocator reuses them instead of asking the system for cleared pages."""


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers share: the learning rate, and the walk over the blocks of theta.

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule that maps the number of steps taken to one.

    Raises
    ------
    ValueError
        If a hyper-parameter is out of range.
    """

    lr: float | Schedule

    def __post_init__(self) -> None:
        who = type(self).__name__
        # What the optimizers call so; each has some of them.
        for name in ("momentum", "decay", "beta1", "beta2"):
            value: Any = getattr(self, name, 0.0)
            if not (isinstance(value, Real) and 0 <= float(value) < 1):
                raise ValueError(f"{who}: {name} must lie in [0, 1), got {value!r}.")
        for name in ("lr", "momentum", "decay", "beta1", "beta2", "weight_decay", "eps"):
            if hasattr(self, name) and not (name == "lr" and callable(self.lr)):
                rate = check_rate(getattr(self, name), where=who, name=name)
                object.__setattr__(self, name, rate)

    @property
    def memory(self) -> tuple[str, ...]:
        """The names of the vectors in the state, each like theta and zero at the start."""
        return ()

    def init(self, theta: Array) -> State:
        """Make the state: ``t``, the number of steps taken, and the vectors, all zero."""
        return {"t": 0, **{name: np.zeros_like(theta) for name in self.memory}}

    def learning_rate(self, t: int) -> float:
        """Return the learning rate of the step that follows `t` steps."""
        return float(self.lr(t)) if callable(self.lr) else self.lr

    def step(
        self, theta: Array, grad: Array, state: State, *, out: Array | None = None
    ) -> tuple[Array, State]:
        """Take one step against the gradient.

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
        ValueError
            If shapes or dtypes differ, or the state is another optimizer's.
        """
        self._check(theta, grad, state)
        vectors = [state[name] if out is not None else state[name].copy() for name in self.memory]
        if out is None:
            theta = theta.copy()
        elif out is not theta:
            np.copyto(out, theta)
            theta = out
        # A Python int: NumPy's integers would turn float32 vectors into float64 (NEP 50).
        t = state["t"] + 1
        lr = self.learning_rate(t - 1)
        for start in range(0, theta.size, BLOCK):
            at = slice(start, start + BLOCK)
            self._update(theta[at], grad[at], lr, t, *(v[at] for v in vectors))
        return theta, {"t": t, **dict(zip(self.memory, vectors, strict=True))}

    @abstractmethod
    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        """Update theta and the memory vectors in place; `t` counts from 1."""

    def _check(self, theta: Array, grad: Array, state: State) -> None:
        who = type(self).__name__
        if set(state) != {"t", *self.memory}:
            raise ValueError(
                f"{who}.step: state must have the keys {['t', *self.memory]}, got {list(state)}; "
                "make one with init(theta)."
            )
        for name, v in (("grad", grad), *((name, state[name]) for name in self.memory)):
            if v.shape != theta.shape or v.dtype != theta.dtype:
                raise ValueError(
                    f"{who}.step: {name} must be like theta, {theta.dtype} {theta.shape}, "
                    f"got {v.dtype} {v.shape}."
                )


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
    lr, momentum, weight_decay : float
        :math:`\eta` (or a schedule); :math:`\mu` in [0, 1); :math:`\lambda \ge 0`, of the penalty
        :math:`\lambda \|\theta\|^2 / 2`.

    Examples
    --------
    >>> sgd = SGD(lr=0.1, momentum=0.9)
    >>> theta, state = np.array([1.0]), sgd.init(np.array([1.0]))
    >>> for _ in range(2):
    ...     theta, state = sgd.step(theta, np.array([1.0]), state)
    >>> theta, state["t"]
    (array([0.71]), 2)
    """

    momentum: float = 0.0
    weight_decay: float = 0.0

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
    >>> opt = Nesterov(lr=0.1, momentum=0.9)
    >>> opt.step(np.array([1.0]), np.array([1.0]), opt.init(np.array([1.0])))[0]
    array([0.81])
    """

    momentum: float = 0.9

    @property
    def memory(self) -> tuple[str, ...]:
        """The velocity."""
        return ("v",)

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        (v,) = memory
        v *= self.momentum
        v += g
        theta -= lr * (g + self.momentum * v)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    r"""Divide by the root of the sum of all squared gradients so far: steps only get shorter.

    .. math:: s_t = s_{t-1} + g_t^2, \quad
              \theta_t = \theta_{t-1} - \eta_t \frac{g_t}{\sqrt{s_t} + \epsilon}

    References: Duchi, Hazan & Singer 2011, in its diagonal form; ``torch.optim.Adagrad``.

    Examples
    --------
    >>> opt = AdaGrad(lr=0.1)
    >>> opt.step(np.array([1.0]), np.array([5.0]), opt.init(np.array([1.0])))[0]
    array([0.9])
    """

    lr: float | Schedule = 0.01
    eps: float = 1e-10

    @property
    def memory(self) -> tuple[str, ...]:
        """The sum of squared gradients."""
        return ("s",)

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        (s,) = memory
        s += g * g
        theta -= lr * g / (np.sqrt(s) + self.eps)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    r"""Divide by the root of a running mean of squared gradients, which forgets.

    .. math:: s_t = \rho s_{t-1} + (1 - \rho) g_t^2, \quad
              \theta_t = \theta_{t-1} - \eta_t \frac{g_t}{\sqrt{s_t} + \epsilon}

    References: Tieleman & Hinton 2012 (lecture 6.5); ``torch.optim.RMSprop``, whose ``alpha`` is
    `decay` here. Other libraries put epsilon inside the root.

    Examples
    --------
    >>> opt = RMSProp(lr=0.1, decay=0.99)
    >>> opt.step(np.array([1.0]), np.array([5.0]), opt.init(np.array([1.0])))[0].round(4)
    array([0.])
    """

    lr: float | Schedule = 0.01
    decay: float = 0.99
    eps: float = 1e-8

    @property
    def memory(self) -> tuple[str, ...]:
        """The running mean of squared gradients."""
        return ("s",)

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        (s,) = memory
        s *= self.decay
        s += (1 - self.decay) * (g * g)
        theta -= lr * g / (np.sqrt(s) + self.eps)


@dataclass(frozen=True)
class Adam(Optimizer):
    r"""Momentum divided by the root of the mean square, both corrected for starting at zero.

    .. math:: m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
                     s_t = \beta_2 s_{t-1} + (1 - \beta_2) g_t^2 \\
              \theta_t &= \theta_{t-1} -
                     \eta_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{s_t / (1 - \beta_2^t)} + \epsilon}

    The first step has length `lr` whatever the gradient's size. Epsilon is added after the bias
    correction, as in Algorithm 1 and in ``torch.optim.Adam``.

    References: Kingma & Ba 2015, Algorithm 1.

    Parameters
    ----------
    lr, beta1, beta2, eps : float
        :math:`\eta` (or a schedule); how slowly the two means forget, in [0, 1);
        :math:`\epsilon`, which keeps the division finite.

    Examples
    --------
    >>> adam = Adam(lr=0.1)
    >>> adam.step(np.array([1.0]), np.array([500.0]), adam.init(np.array([1.0])))[0]
    array([0.9])
    """

    lr: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def memory(self) -> tuple[str, ...]:
        """The running means of the gradient and of its square."""
        return ("m", "s")

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        m, s = memory
        m *= self.beta1
        m += (1 - self.beta1) * g
        s *= self.beta2
        s += (1 - self.beta2) * (g * g)
        scale = np.sqrt(s)
        scale /= math.sqrt(1 - self.beta2**t)
        scale += self.eps
        np.divide(m, scale, out=scale)
        scale *= lr / (1 - self.beta1**t)
        theta -= scale


@dataclass(frozen=True)
class AdamW(Adam):
    r"""Adam, with weight decay applied to the weights and not mixed into the gradient.

    .. math:: \theta_t = (1 - \eta_t \lambda)\, \theta_{t-1} - \text{(Adam's step)}

    References: Loshchilov & Hutter 2019, Algorithm 2, as ``torch.optim.AdamW`` has it.

    Examples
    --------
    >>> opt = AdamW(lr=0.1, weight_decay=0.5)
    >>> opt.step(np.array([1.0]), np.array([500.0]), opt.init(np.array([1.0])))[0]
    array([0.85])
    """

    weight_decay: float = 0.01

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        theta *= 1 - lr * self.weight_decay
        super()._update(theta, g, lr, t, *memory)


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
    if isinstance(optimizer, Optimizer):
        return optimizer
    return lookup("optimizer", optimizer, ALL)(lr)
