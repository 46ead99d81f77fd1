r"""An optimizer turns a gradient into a step: theta, gradient and state in, theta and state out.

SGD and Nesterov have one step length for all parameters. The other four give every parameter one of
its own, short where its gradients are large. The updates and their options are PyTorch's
(torch.optim), step by step, to rounding; what they share is in :mod:`course_lib.descent`. To each
belong two options: with ``maximize=True`` it climbs, which turns :math:`g_t` round, and
``weight_decay`` then adds :math:`\lambda \theta_{t-1}` to it; in AdamW it does what that is known
for. Vectors that only an option needs are not there without it.

Chapters: gradient descent, optimizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import numpy as np

from course_lib.arrays import Array
from course_lib.descent import Optimizer, State
from course_lib.registry import lookup
from course_lib.schedules import Schedule

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Nesterov", "Optimizer", "RMSProp", "State"]


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    r"""Gradient descent on mini-batches, with heavy-ball momentum and L2 weight decay if asked for.

    .. math:: v_t = \mu v_{t-1} + (1 - \tau) (g_t + \lambda \theta_{t-1}), \quad
              \theta_t = \theta_{t-1} - \eta_t v_t

    The learning rate stands outside the velocity, as in PyTorch; in Sutskever et al. 2013 it
    stands inside, which differs when it changes from step to step. The first gradient is not
    damped, so that with :math:`\tau = \mu` the velocity is a mean from the start.

    References: Robbins & Monro 1951; Polyak 1964; ``torch.optim.SGD``.

    Parameters
    ----------
    lr, momentum, weight_decay : float
        :math:`\eta` (or a schedule); :math:`\mu` in [0, 1); :math:`\lambda \ge 0`, of the penalty
        :math:`\lambda \|\theta\|^2 / 2`.
    dampening : float
        :math:`\tau` in [0, 1]. Without momentum it does nothing.
    nesterov : bool
        Step as :class:`Nesterov` does; needs momentum, and no dampening.
    maximize : bool
        Climb: :math:`-g_t` for :math:`g_t`.

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
    _: KW_ONLY
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError(
                "SGD: nesterov=True needs a momentum above 0 and a dampening of 0, got "
                f"momentum={self.momentum:g} and dampening={self.dampening:g}."
            )

    @property
    def memory(self) -> tuple[str, ...]:
        """The velocity; without momentum there is nothing to remember."""
        return ("v",) if self.momentum else ()

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        for v in memory:
            v *= self.momentum
            v += (1 - self.dampening) * g if self.dampening and t > 1 else g
            g = g + self.momentum * v if self.nesterov else v
        theta -= lr * g


@dataclass(frozen=True, repr=False)
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
    _: KW_ONLY
    weight_decay: float = 0.0

    @property
    def memory(self) -> tuple[str, ...]:
        """The velocity."""
        return ("v",)

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        (v,) = memory
        v *= self.momentum
        v += g
        theta -= lr * (g + self.momentum * v)


@dataclass(frozen=True, repr=False)
class AdaGrad(Optimizer):
    r"""Divide by the root of the sum of all squared gradients so far: steps only get shorter.

    .. math:: s_t = s_{t-1} + g_t^2, \quad
              \theta_t = \theta_{t-1} - \frac{\eta_t}{1 + (t - 1)\, d}
                     \frac{g_t}{\sqrt{s_t} + \epsilon}

    References: Duchi, Hazan & Singer 2011, in its diagonal form; ``torch.optim.Adagrad``.

    Parameters
    ----------
    lr, eps : float
        :math:`\eta` (or a schedule); :math:`\epsilon`, which keeps the division finite.
    lr_decay : float
        :math:`d \ge 0`, which shortens the steps still more.
    initial_accumulator_value : float
        :math:`s_0 \ge 0`. The larger, the shorter the first steps.
    weight_decay, maximize : float, bool
        :math:`\lambda \theta_{t-1} + g_t` or :math:`\lambda \theta_{t-1} - g_t` for :math:`g_t`.

    Examples
    --------
    >>> opt = AdaGrad(lr=0.1)
    >>> opt.step(np.array([1.0]), np.array([5.0]), opt.init(np.array([1.0])))[0]
    array([0.9])
    >>> opt = AdaGrad(lr=0.1, initial_accumulator_value=75)
    >>> opt.step(np.array([1.0]), np.array([5.0]), opt.init(np.array([1.0])))[0]
    array([0.95])
    """

    lr: float | Schedule = 0.01
    eps: float = 1e-10
    _: KW_ONLY
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    weight_decay: float = 0.0

    @property
    def memory(self) -> tuple[str, ...]:
        """The sum of squared gradients."""
        return ("s",)

    def init(self, theta: Array) -> State:
        """Make the state: ``t``, and the sum with its initial value."""
        state = super().init(theta)
        state["s"].fill(self.initial_accumulator_value)
        return state

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        (s,) = memory
        s += g * g
        lr /= 1 + (t - 1) * self.lr_decay
        theta -= lr * g / (np.sqrt(s) + self.eps)


@dataclass(frozen=True, repr=False)
class RMSProp(Optimizer):
    r"""Divide by the root of a running mean of squared gradients, which forgets.

    .. math:: s_t = \rho s_{t-1} + (1 - \rho) g_t^2, \quad
              \theta_t = \theta_{t-1} - \eta_t \frac{g_t}{\sqrt{s_t} + \epsilon}

    Centred, it divides by a standard deviation: for :math:`s_t` stands :math:`s_t - m_t^2`, with
    :math:`m_t = \rho m_{t-1} + (1 - \rho) g_t`. With momentum the quotient is what the velocity of
    :class:`SGD` adds up.

    References: Tieleman & Hinton 2012 (lecture 6.5), centred Graves 2013; ``torch.optim.RMSprop``,
    whose ``alpha`` is `decay` here. Other libraries put epsilon inside the root.

    Parameters
    ----------
    lr, decay, eps : float
        :math:`\eta` (or a schedule); :math:`\rho` in [0, 1); :math:`\epsilon`.
    momentum : float
        :math:`\mu` in [0, 1).
    centered : bool
        Whether to subtract the square of the mean. Where the gradient hardly changes, little is
        left to divide by, and steps are long.
    weight_decay, maximize : float, bool
        :math:`\lambda \theta_{t-1} + g_t` or :math:`\lambda \theta_{t-1} - g_t` for :math:`g_t`.

    Examples
    --------
    >>> opt = RMSProp(lr=0.1, decay=0.99)
    >>> opt.step(np.array([1.0]), np.array([5.0]), opt.init(np.array([1.0])))[0].round(4)
    array([0.])
    >>> opt = RMSProp(lr=0.1, momentum=0.9, centered=True)
    >>> opt.memory
    ('s', 'm', 'v')
    """

    lr: float | Schedule = 0.01
    decay: float = 0.99
    eps: float = 1e-8
    _: KW_ONLY
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    @property
    def memory(self) -> tuple[str, ...]:
        """The running mean of squared gradients; if asked for, their mean and the velocity."""
        return ("s", *["m"] * self.centered, *["v"] * (self.momentum > 0))

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        s = memory[0]
        s *= self.decay
        s += (1 - self.decay) * (g * g)
        if self.centered:
            m = memory[1]
            m *= self.decay
            m += (1 - self.decay) * g
            s = np.maximum(s - m * m, 0)  # by rounding, no variance may be less than none
        scale = np.sqrt(s) + self.eps
        if self.momentum:
            v = memory[-1]
            v *= self.momentum
            v += g / scale
            theta -= lr * v
        else:
            theta -= lr * g / scale


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    r"""Momentum divided by the root of the mean square, both corrected for starting at zero.

    .. math:: m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
                     s_t = \beta_2 s_{t-1} + (1 - \beta_2) g_t^2 \\
              \theta_t &= \theta_{t-1} -
                     \eta_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{s_t / (1 - \beta_2^t)} + \epsilon}

    The first step has length `lr` whatever the gradient's size. Epsilon is added after the bias
    correction, as in Algorithm 1 and in ``torch.optim.Adam``. AMSGrad divides by the root of the
    largest :math:`s` so far, which is corrected as :math:`s_t` is; in the paper it is not.

    References: Kingma & Ba 2015, Algorithm 1; AMSGrad: Reddi, Kale & Kumar 2018, Algorithm 2.

    Parameters
    ----------
    lr, beta1, beta2, eps : float
        :math:`\eta` (or a schedule); how slowly the two means forget, in [0, 1);
        :math:`\epsilon`, which keeps the division finite.
    weight_decay : float
        Of an L2 term, :math:`g_t + \lambda \theta_{t-1}` for :math:`g_t`: it is divided by the
        root too, so that :class:`AdamW` is what you most likely want.
    amsgrad : bool
        Whether to divide by the root of the largest mean square so far.
    maximize : bool
        Climb: :math:`-g_t` for :math:`g_t`.

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
    _: KW_ONLY
    weight_decay: float = 0.0
    amsgrad: bool = False

    @property
    def memory(self) -> tuple[str, ...]:
        """The running means of the gradient and of its square, and the largest of the latter."""
        return ("m", "s", "s_max") if self.amsgrad else ("m", "s")

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        m, s = memory[:2]
        m *= self.beta1
        m += (1 - self.beta1) * g
        s *= self.beta2
        s += (1 - self.beta2) * (g * g)
        scale = np.sqrt(np.maximum(s, memory[2], out=memory[2]) if self.amsgrad else s)
        scale /= math.sqrt(1 - self.beta2**t)
        scale += self.eps
        np.divide(m, scale, out=scale)
        scale *= lr / (1 - self.beta1**t)
        theta -= scale


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    r"""Adam, with weight decay applied to the weights and not mixed into the gradient.

    .. math:: \theta_t = (1 - \eta_t \lambda)\, \theta_{t-1} - \text{(Adam's step)}

    `weight_decay` is :math:`\lambda`; all else is as in :class:`Adam`.

    References: Loshchilov & Hutter 2019, Algorithm 2, as ``torch.optim.AdamW`` has it.

    Examples
    --------
    >>> opt = AdamW(lr=0.1, weight_decay=0.5)
    >>> opt.step(np.array([1.0]), np.array([500.0]), opt.init(np.array([1.0])))[0]
    array([0.85])
    """

    weight_decay: float = 0.01

    def _slope(self, theta: Array, g: Array) -> Array:
        return -g if self.maximize else g

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
    """Return the optimizer of that name; one that is an object is returned as it is.

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
