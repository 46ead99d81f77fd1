"""How every optimizer takes a step: check, copy unless asked not to, walk over theta in blocks.

What differs from one optimizer to the next is its ``_update``, a few lines of arithmetic in place
on one block; they stand in :mod:`course_lib.optimizers` and :mod:`course_lib.adaptive`.

Chapter: optimizers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from course_lib.arrays import Array
from course_lib.schedules import Schedule, check_rate

State: TypeAlias = dict[str, Any]

# Elements per block: the block's vectors and temporaries stay in the processor's cache, and are
# small enough that the allocator reuses them instead of asking the system for cleared pages.
BLOCK = 8192


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
        if not callable(self.lr):
            check_rate(self.lr, where=type(self).__name__)

    @property
    def memory(self) -> tuple[str, ...]:
        """The names of the vectors in the state, each like theta and zero at the start."""
        return ()

    def init(self, theta: Array) -> State:
        """Make the state: ``t``, the number of steps taken, and the vectors, all zero."""
        return {"t": 0, **{name: np.zeros_like(theta) for name in self.memory}}

    def learning_rate(self, t: int) -> float:
        """Return the learning rate of the step that follows `t` steps."""
        return self.lr(t) if callable(self.lr) else self.lr

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
        theta : array, shape (n,)
        state : dict

        Raises
        ------
        ValueError
            If the shapes or dtypes of theta, gradient and state differ, or the state is another
            optimizer's.

        Examples
        --------
        >>> from course_lib.optimizers import SGD
        >>> sgd = SGD(lr=0.5)
        >>> theta = np.array([1.0, 2.0])
        >>> theta, state = sgd.step(theta, np.array([2.0, 0.0]), sgd.init(theta))
        >>> theta
        array([0., 2.])
        >>> state["t"]
        1
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

    def _check_fraction(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{type(self).__name__}: {name} must lie in [0, 1), got {getattr(self, name)}."
                )
