"""The broken programs of the figure ``break_it``, made of the package with one part replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from course_lib import SGD, Activate, Dense, Network, mlp
from course_lib.losses import Loss, softmax_cross_entropy

SIZES = [2, 8, 8, 2]
NAMES = ("none", "slope", "bias", "softmax", "outputs", "sum", "zero", "kept", "apart")


@dataclass(frozen=True)
class NoSlope(Activate):
    """The chain rule without its factor."""

    def backward(self, p: Any, cache: Any, dy: Any, **more: Any) -> Any:
        """Hand on what came in."""
        return dy.copy()


@dataclass(frozen=True)
class OneBias(Dense):
    """Every bias gets the sum of all bias gradients."""

    def gradient(self, cache: Any, dy: Any, out: Any) -> None:
        """Sum over rows and units."""
        super().gradient(cache, dy, out)
        out["b"][:] = dy.sum()


def _entry_by_entry(outputs: Any, targets: Any, out: Any = None) -> tuple[float, Any]:
    """Keep only the diagonal of the softmax's derivative, p (1 - p)."""
    rows = np.arange(len(outputs))
    e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    dp = np.zeros_like(p)
    dp[rows, targets] = -1 / p[rows, targets]
    return softmax_cross_entropy.f(outputs, targets)[0], p * (1 - p) * dp


def _times_outputs(outputs: Any, targets: Any, out: Any = None) -> tuple[float, Any]:
    total, gradient = softmax_cross_entropy.f(outputs, targets)
    return total, gradient * outputs.shape[1]


def _sum(outputs: Any, targets: Any, out: Any = None) -> tuple[float, Any]:
    """Undo the division by the number of rows that the network will do."""
    total, gradient = softmax_cross_entropy.f(outputs, targets)
    return total * len(outputs), gradient * len(outputs)


def network(bug: str) -> Network:
    """Return the network with a bug; those of starts, steps and data leave it as it is."""
    right = mlp(SIZES, hidden="tanh")
    losses = {"softmax": _entry_by_entry, "outputs": _times_outputs, "sum": _sum}
    if bug in losses:
        return replace(right, loss=Loss(bug, losses[bug], "labels"))
    layers = list(right.layers)
    for i, layer in enumerate(layers):
        if bug == "slope" and isinstance(layer, Activate):
            layers[i] = NoSlope(layer.activation)
        if bug == "bias" and isinstance(layer, Dense):
            layers[i] = OneBias(layer.fan_in, layer.fan_out)
    return replace(right, layers=tuple(layers))


class NeverZeroed:
    """An optimizer that is given the sum of all gradients so far."""

    def __init__(self, rate: float, momentum: float) -> None:
        self.sgd = SGD(rate, momentum=momentum)

    def init(self, theta: Any) -> Any:
        """Remember nothing yet."""
        return np.zeros_like(theta), self.sgd.init(theta)

    def step(self, theta: Any, gradient: Any, state: Any) -> Any:
        """Add, and step along the sum."""
        kept = state[0] + gradient
        theta, inner = self.sgd.step(theta, kept, state[1])
        return theta, (kept, inner)


def train(
    bug: str, theta: Any, x: Any, y: Any, batches: Any, *, rate: float, momentum: float
) -> Any:
    """Return the parameters after some batches, each the rows of x and the rows of y."""
    net = network(bug)
    optimizer: Any = NeverZeroed(rate, momentum) if bug == "kept" else SGD(rate, momentum=momentum)
    state = optimizer.init(theta)
    for rows, labels in batches:
        _, gradient = net.loss_and_grad(theta, x[rows], y[labels])
        theta, state = optimizer.step(theta, gradient, state)
    return theta
