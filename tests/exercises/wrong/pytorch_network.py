"""Typical wrong answers to the exercises of the chapter on a network in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")


def _zeroing(theta: float, lr: float, steps: int) -> float:
    return theta * (1 - lr) ** steps


def _times(theta: float, lr: float, steps: int) -> float:
    for t in range(steps):
        theta = theta - lr * (t + 1) * theta
    return theta


def _step_first(theta: float, lr: float, steps: int) -> float:
    grad = 0.0
    for _ in range(steps):
        theta, grad = theta - lr * grad, grad + theta
    return theta


def _averaged(theta: float, lr: float, steps: int) -> float:
    seen: list[float] = []
    for _ in range(steps):
        seen.append(theta)
        theta -= lr * sum(seen) / len(seen)
    return theta


def _one_more(theta: float, lr: float, steps: int) -> float:
    grad = 0.0
    for _ in range(steps + 1):
        grad += theta
        theta -= lr * grad
    return theta


def _pieces(
    model: Any,
    x: Any,
    y: Any,
    size: int,
    *,
    zero: str = "before",
    divide: str = "batch",
    as_tensor: bool = False,
    step: bool = False,
) -> Any:
    if zero == "before":
        model.zero_grad()
    total = 0.0
    count = -(-len(x) // size)
    for xs, ys in zip(x.split(size), y.split(size), strict=True):
        if zero == "between":
            model.zero_grad()
        summed = torch.nn.functional.cross_entropy(model(xs), ys, reduction="sum")
        by = {"batch": len(x), "piece": len(xs), "pieces": len(xs) * count, "none": 1}[divide]
        (summed / by).backward()
        total = total + (summed if as_tensor else summed.item()) / len(x)
    if step:
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    return total


def _at_once(model: Any, x: Any, y: Any, size: int) -> Any:
    return _pieces(model, x, y, len(x))


def _no_backward(model: Any, x: Any, y: Any, size: int) -> float:
    model.zero_grad()
    return float(torch.nn.functional.cross_entropy(model(x), y))


def _along(loss_of: Any, theta: Any, v: Any, *, what: str) -> Any:
    t = theta.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss_of(t), t, create_graph=True)
    if what == "gradient":
        return g.detach()
    if what == "times":
        return (g * v).detach()
    if what == "half":
        return (g @ v).detach()
    inner = g.sum() if what == "ones" else g @ v
    (out,) = torch.autograd.grad(inner, t, create_graph=what == "recorded")
    return v @ out if what == "number" else out


def _in_place(loss_of: Any, theta: Any, v: Any) -> Any:
    theta.requires_grad_()
    (g,) = torch.autograd.grad(loss_of(theta), theta, create_graph=True)
    return torch.autograd.grad(g @ v, theta)[0]


def _diagonal(loss_of: Any, theta: Any, v: Any) -> Any:
    return torch.autograd.functional.hessian(loss_of, theta).diag() * v


def _differences(loss_of: Any, theta: Any, v: Any) -> Any:
    up, down = (_along(loss_of, theta + h * v, v, what="gradient") for h in (1e-3, -1e-3))
    return (up - down) / 2e-3


WRONG = {
    "pytorch_network.never_zeroed": {
        "zeroed": _zeroing,
        "newest-times-its-number": _times,
        "newest-left-out": _step_first,
        "averaged": _averaged,
        "one-step-off": _one_more,
        "wrong-values": lambda theta, lr, steps: theta,
    },
    "pytorch_network.in_pieces": {
        "leftover-kept": lambda *a: _pieces(*a, zero="never"),
        "zeroed-between-pieces": lambda *a: _pieces(*a, zero="between"),
        "mean-of-means": lambda *a: _pieces(*a, divide="pieces"),
        "sum-of-means": lambda *a: _pieces(*a, divide="piece"),
        "never-divided": lambda *a: _pieces(*a, divide="none"),
        "loss-still-a-tensor": lambda *a: _pieces(*a, as_tensor=True),
        "parameters-moved": lambda *a: _pieces(*a, step=True),
        "too-large-a-piece": _at_once,
        "no-gradient-left": _no_backward,
    },
    "pytorch_network.curvature_along": {
        "gradient-instead": lambda *a: _along(*a, what="gradient"),
        "gradient-times-v": lambda *a: _along(*a, what="times"),
        "stopped-half-way": lambda *a: _along(*a, what="half"),
        "v-left-out": lambda *a: _along(*a, what="ones"),
        "number-instead": lambda *a: _along(*a, what="number"),
        "still-recorded": lambda *a: _along(*a, what="recorded"),
        "input-changed": _in_place,
        "diagonal-only": _diagonal,
        "by-differences": _differences,
    },
}
