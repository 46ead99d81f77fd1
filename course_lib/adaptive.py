"""Optimizers that give every parameter a step length of its own, from the size of its gradients.

A parameter whose gradients are large takes short steps, one whose gradients are small takes long
ones. The four differ in how they remember that size.

Chapter: optimizers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from course_lib.arrays import Array
from course_lib.schedules import Schedule, check_rate
from course_lib.stepping import Optimizer


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

    Notes
    -----
    Chapter: optimizers.
    """

    lr: float | Schedule = 0.01
    eps: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.eps, where="AdaGrad", name="eps")

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

    Notes
    -----
    Chapter: optimizers.
    """

    lr: float | Schedule = 0.01
    decay: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("decay")
        check_rate(self.eps, where="RMSProp", name="eps")

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
    lr : float or callable
        Learning rate :math:`\eta`.
    beta1, beta2 : float
        How slowly the two means forget, in [0, 1).
    eps : float
        :math:`\epsilon`, which keeps the division finite.

    Examples
    --------
    >>> adam = Adam(lr=0.1)
    >>> adam.step(np.array([1.0]), np.array([500.0]), adam.init(np.array([1.0])))[0]
    array([0.9])

    Notes
    -----
    Chapter: optimizers.
    """

    lr: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("beta1", "beta2")
        check_rate(self.eps, where=type(self).__name__, name="eps")

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

    Notes
    -----
    Chapter: optimizers.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.weight_decay, where="AdamW", name="weight_decay")

    def _update(self, theta: Array, g: Array, lr: float, t: int, *memory: Array) -> None:
        theta *= 1 - lr * self.weight_decay
        super()._update(theta, g, lr, t, *memory)
