"""Exercises on what autograd adds up, and on a derivative of a derivative.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.exercises.answers import agree, call, number, refuse, same
from course_lib.exercises.calling import kind_of
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake

if TYPE_CHECKING:
    from torch import Tensor


@exercise("pytorch_network.never_zeroed", "A loop that never zeroes", "easy", 10, [(3.0,), (-1.5,)])
def never_zeroed(answer: Any, start: float) -> None:
    """Compare the prediction with the recursion, for several rates and numbers of steps."""
    for lr, steps in ((0.25, 12), (0.1, 3), (0.1, 2), (0.1, 1)):
        got = number(call(answer, start, lr, steps), "Theta")
        want = _descent(start, lr, steps)
        if same(got, want):
            continue
        for variant, hint in (
            ("zeroed", "That is a loop that does zero. Here every gradient stays in p.grad."),
            ("newest-times-its-number", "You multiply the newest gradient by the number of the "
             "step. The older ones were taken elsewhere, and had other values."),
            ("newest-left-out", "backward() comes before step(): the newest one counts, too."),
            ("averaged", "You divide by the number of gradients. PyTorch adds."),
        ):  # fmt: skip
            refuse(got, (variant, _descent(start, lr, steps, variant), hint))
        if same(got, _descent(start, lr, steps - 1)) or same(got, _descent(start, lr, steps + 1)):
            hint = "The path is right, but it is one step too short, or too long."
            raise Mistake("one-step-off", hint)
        agree(got, want, what="Theta", inputs={"lr": lr, "steps": steps})


def _descent(theta: float, lr: float, steps: int, variant: str = "") -> float:
    """Return theta after the steps, with a p.grad that is treated in some way."""
    total = 0.0
    for t in range(1, steps + 1):
        used = total + theta
        if variant == "zeroed":
            used = theta
        if variant == "newest-times-its-number":
            used = t * theta
        if variant == "newest-left-out":
            used = total
        if variant == "averaged":
            used = (total + theta) / t
        total += theta
        theta -= lr * used
    return theta


@exercise("pytorch_network.in_pieces", "A batch in small pieces", "medium", 20, [(4, 3), (5, 2)])
def in_pieces(answer: Any, seed: int, size: int) -> None:
    """Look at the gradients and the loss of seven rows in pieces, after a leftover."""
    import torch
    from torch.nn import functional

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torch.nn.Linear(4, 3, dtype=torch.float64)
        x, y = (
            torch.randn(7, 4, dtype=torch.float64),
            torch.tensor([0, 2, 1, 1, 0, 2, 2]).roll(seed),
        )
        junk = [torch.randn_like(p) for p in model.parameters()]
    start = [p.detach().clone() for p in model.parameters()]
    pieces = [slice(i, min(i + size, 7)) for i in range(0, 7, size)]

    def gradient(rows: slice, reduction: str = "mean") -> Any:
        loss = functional.cross_entropy(model(x[rows]), y[rows], reduction=reduction)
        return _flat(torch.autograd.grad(loss, list(model.parameters())))

    want, means = gradient(slice(0, 7)), [gradient(piece) for piece in pieces]
    loss = functional.cross_entropy(model(x), y).item()
    for p, g in zip(model.parameters(), junk, strict=True):
        p.grad = g.clone()
    leftover, seen = _flat(junk), []
    hook = model.register_forward_hook(lambda _, given, out: seen.append(len(out)))
    try:
        said = call(answer, model, x, y, size)
    finally:
        hook.remove()
    if not all(torch.equal(p, s) for p, s in zip(model.parameters(), start, strict=True)):
        hint = "The parameters have changed. Fill p.grad only; a step is somebody else's line."
        raise Mistake("parameters-moved", hint)
    if not all(torch.is_tensor(p.grad) for p in model.parameters()):
        hint = "There is no gradient in p.grad at the end. Call backward() on each piece."
        raise Mistake("no-gradient-left", hint)
    if max(seen, default=0) > size:
        hint = f"The model was given {max(seen)} rows at once; the memory holds {size} of them."
        raise Mistake("too-large-a-piece", hint)
    got = _flat([p.grad for p in model.parameters()])
    refuse(
        got,
        ("leftover-kept", want + leftover,
         "What was in p.grad before is still in it. Zero once, before the first piece."),
        ("zeroed-between-pieces", gradient(pieces[-1], "sum") / 7,
         "Only the last piece is left: you zero between the pieces. Here adding is wanted."),
        ("zeroed-between-pieces", means[-1],
         "Only the last piece is left: you zero between the pieces. Here adding is wanted."),
        ("mean-of-means", sum(means) / len(means),
         "You average the means of the pieces. The last piece has one row only, and gets as much "
         "weight as a full one."),
        ("sum-of-means", sum(means),
         "You add up means, each divided by the rows of its piece. Divide by those of the whole "
         "batch."),
        ("never-divided", 7 * want, "These are sums over the rows; the mean is asked for."),
    )  # fmt: skip
    agree(got, want, what="The gradient in p.grad")
    if torch.is_tensor(said):
        hint = "You return a tensor, and a recorded one keeps the whole recording. Use .item()."
        raise Mistake("loss-still-a-tensor", hint)
    agree(number(said, "The loss"), loss, what="The loss of the batch")


@exercise(
    "pytorch_network.curvature_along", "The curvature along v", "hard", 25, [(5, 0.3), (6, 0.2)]
)
def curvature_along(answer: Any, seed: int, scale: float) -> None:
    """Compare with the Hessian written out, for a loss that mixes its parameters."""
    import torch

    rng = np.random.default_rng(seed)
    A, t, v = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=3)
    matrix = torch.tensor(A)

    def loss_of(theta: Tensor) -> Tensor:
        return torch.exp(scale * (matrix @ theta)).sum() + (theta**4).sum()

    powers = np.exp(scale * (A @ t))
    hessian = scale**2 * A.T @ (powers[:, None] * A) + np.diag(12 * t**2)
    slope = scale * A.T @ powers + 4 * t**3
    theta, along = torch.tensor(t), torch.tensor(v)
    said = call(answer, loss_of, theta, along)
    if theta.requires_grad or along.requires_grad or not np.array_equal(theta.numpy(), t):
        hint = "The theta that you were given has changed. Differentiate by a copy"
        raise Mistake("input-changed", f"{hint} of it: theta.clone().requires_grad_().")
    if not torch.is_tensor(said):
        raise Mistake("not-a-tensor", f"Return a tensor like theta, not {kind_of(said)}.")
    if said.numel() == 1 and same(said.detach().reshape(()).numpy(), v @ hessian @ v, rtol=1e-6):
        hint = "That is v H v, one number. Asked for is H v, one number per parameter."
        raise Mistake("number-instead", hint)
    if said.numel() == 1 and same(said.detach().reshape(()).numpy(), slope @ v, rtol=1e-6):
        hint = "That is how fast the loss changes along v. Differentiate this number once more."
        raise Mistake("stopped-half-way", hint)
    got, want = said.detach().numpy(), hessian @ v
    refuse(
        got,
        ("gradient-instead", slope, "That is the gradient. How does it change along v?"),
        ("gradient-times-v", slope * v,
         "You multiplied the gradient by v. Its derivative is what v has to meet."),
        ("v-left-out", hessian.sum(axis=1),
         "Those are the row sums of the Hessian: v is all ones in your program."),
        ("diagonal-only", np.diag(hessian) * v,
         "You used the diagonal of the Hessian alone. Moving one parameter changes the slope of "
         "the others, too."),
        rtol=1e-7,
    )  # fmt: skip
    if same(got, want, rtol=1e-3, atol=1e-3) and not same(got, want, rtol=1e-8):
        hint = "Right in the first digits only, as differences of gradients are. Let autograd"
        raise Mistake("by-differences", f"{hint} differentiate its own gradient.")
    agree(got, want, what="H v", rtol=1e-8)
    if said.requires_grad:
        hint = "The values are right, but the result still drags its recording along: detach it."
        raise Mistake("still-recorded", hint)


def _flat(tensors: Any) -> Any:
    return np.concatenate([np.asarray(t.detach()).ravel() for t in tensors])
