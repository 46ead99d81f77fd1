"""Exercises on losses: their shapes, their gradients and what they are divided by.

Chapter: losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, ask, call, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("losses.shapes", "One error per row", "easy", 10)
def shapes(answer: Any) -> None:
    """Compare with sums written out, for columns, flat targets and several outputs."""
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(5, 1)), rng.normal(size=5)
    got = number(call(answer, outputs, targets), "The loss")
    pairs = [(a - b) ** 2 for a, b in zip(outputs[:, 0].tolist(), targets.tolist(), strict=True)]
    if same(got, np.mean((outputs - targets) ** 2)):
        hint = "(5, 1) minus (5,) has the shape (5, 5): each output is compared with every target."
        raise Mistake("every-pair-compared", hint)
    if same(got, sum(pairs)):
        raise Mistake("sum-over-rows", "This is the sum of the squared errors. Divide once.")
    agree(got, sum(pairs) / 5, what="The loss of outputs (5, 1) with targets (5,)")
    outputs, targets = rng.normal(size=(4, 1)), rng.normal(size=(4, 1))
    got = number(call(answer, outputs, targets), "The loss")
    if same(got, np.mean((outputs - targets.T) ** 2)):
        hint = "For outputs AND targets of shape (4, 1), each output is compared with every target."
        raise Mistake("every-pair-of-columns-compared", f"{hint} Leave the outputs as they are.")
    agree(got, np.square(outputs - targets).sum() / 4, what="The loss of two columns (4, 1)")
    outputs, targets = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    got = number(call(answer, outputs, targets), "The loss")
    total = float(np.square(outputs - targets).sum())
    if same(got, total / 4):
        hint = "With three outputs your loss is three times as large: the mean over rows only."
        raise Mistake("outputs-added-up", hint)
    agree(got, total / 12, what="The loss of outputs (4, 3)")


@exercise(
    "losses.quantile", "A loss for the ninth out of ten", "medium", 15, [(0.0, 0.9), (0.125, 0.3)]
)
def quantile(answer: Any, shift: float, q: float) -> None:
    """Compare loss and gradient with the two prices of an error, on both sides."""
    guess, truth = np.array([1.0, 4.0, -2.0, 0.5]), np.array([3.0, 1.0, -2.5, 0.75])
    guess, truth = guess + shift, truth - shift
    hint = "Return a pair: the losses of the rows, and their gradients."
    found = parts(call(answer, guess, truth, q), 2, "not-a-pair", hint)
    loss, slope = (array(part, "Each part", shape=(4,)) for part in found)
    low = guess < truth
    price = np.where(low, q, 1 - q)
    inputs: dict[str, Any] = {"guess": guess, "truth": truth, "q": q}
    if same(loss, np.where(low, 1 - q, q) * np.abs(guess - truth)):
        hint = f"With q = {q:g}, guessing too LOW is what costs {q:g} per unit."
        raise Mistake("sides-exchanged", hint)
    if q != 0.9 and same(loss, np.where(low, 0.9, 0.1) * np.abs(guess - truth)):
        raise Mistake("q-written-down", "Your prices are those of q = 0.9, whatever q is.")
    if same(loss, np.abs(guess - truth)) or same(loss, np.abs(guess - truth) / 2):
        raise Mistake("q-ignored", "This is the absolute error: too low costs as much as too high.")
    if same(loss, 2 * price * np.abs(guess - truth)):
        hint = "Twice too large. At q = 0.5 the loss is half the absolute error."
        raise Mistake("twice-too-large", hint)
    agree(loss, price * np.abs(guess - truth), what="The loss", inputs=inputs)
    want = np.where(low, -q, 1 - q)
    if same(slope, -want):
        hint = "If the guess is too low, raising it lowers the loss: which sign has the slope?"
        raise Mistake("gradient-by-the-truth", hint)
    if same(slope, np.abs(want)):
        hint = "A slope that is never negative never raises a guess."
        raise Mistake("gradient-without-sign", hint)
    agree(slope, want, what="The gradient", inputs=inputs)


@exercise("losses.consistent", "Test a stranger's loss", "medium", 20)
def consistent(answer: Any) -> None:
    """Try the learner's test on two right losses and on three that are wrong in one factor."""
    ask(
        answer,
        (_stranger(), True, "false-alarm",
         "You reject the mean squared error, with its right gradient."),
        (_stranger("huber"), True, "tested-for-one-loss",
         "You reject Huber's loss. It is right; do not use formulas."),
        (_stranger("sum"), False, "sum-not-noticed",
         "You accept a sum. It doubles if every row comes twice."),
        (_stranger("gradient"), False, "gradient-of-the-sum",
         "You accept a mean that comes with a sum's gradient."),
        (_stranger("factor"), False, "factor-not-noticed",
         "You accept half a gradient. Compare it with differences."),
    )  # fmt: skip


@exercise("losses.smoothing", "Not quite so sure", "hard", 30, [(0, 0.3), (1, 0.1)])
def smoothing(answer: Any, seed: int, eps: float) -> None:
    """Compare with minus the logarithms of the probabilities, and with their slopes."""
    rng = np.random.default_rng(seed)
    logits, labels, k = rng.normal(size=(4, 3)), np.array([0, 2, 1, 2]), 3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    hard = np.eye(k)[labels]
    soft = (1 - eps) * hard + eps / k
    found = call(answer, logits, labels, eps)
    found = parts(found, 2, "not-a-pair", "Return a pair: the loss, and its gradient.")
    loss, gradient = number(found[0], "The loss"), array(found[1], "The gradient", shape=(4, k))
    others = eps * (1 - hard)

    def cost(targets: NDArray[Any]) -> Any:
        return -(targets * np.log(p)).sum()

    refuse(
        loss,
        ("smoothing-ignored", cost(hard), "This is the loss without smoothing."),
        ("nothing-for-the-others", cost(hard * (1 - eps)), "The targets of a row should sum to 1."),
        ("right-class-left-out", cost(hard * (1 - eps) + others / 2),
         "ALL k classes share eps, also y."),
        ("sum-below-one", cost(hard * (1 - eps) + others / k),
         "The right class gets eps / k as well."),
    )  # fmt: skip
    want = cost(soft)
    if same(loss, want / 4):
        raise Mistake("mean-instead-of-sum", "The losses here return the SUM over the rows.")
    agree(loss, want, what="The loss")
    if same(gradient, p - hard):
        hint = "The loss is smoothed, the gradient is not: it still wants to reach p = 1."
        raise Mistake("gradient-of-hard-labels", hint)
    if same(gradient, soft - p):
        raise Mistake("gradient-reversed", "The sign: a logit that is too high should come down.")
    agree(gradient, p - soft, what="The gradient by the logits")
    large = np.array([[1000.0, 0.0, -1000.0]])
    found = call(answer, large, np.array([1]), eps)
    loss, gradient = number(found[0], "The loss"), array(found[1], "The gradient", shape=(1, 3))
    if not (np.isfinite(loss) and np.isfinite(gradient).all()):
        hint = "For logits as large as 1000 it is not finite. Stay in logarithms."
        raise Mistake("overflow", hint)
    agree(loss, 1000.0, what="The loss of the logits 1000, 0, -1000")


def _stranger(wrong: str = "") -> Callable[[Any, Any], tuple[float, NDArray[Any]]]:
    """Return a function that gives a loss and its gradient, right but for one thing."""

    def loss_and_gradient(outputs: Any, targets: Any) -> tuple[float, NDArray[Any]]:
        error = np.asarray(outputs, float) - np.asarray(targets, float)
        rows, gradient = error**2, 2 * error
        if wrong == "huber":
            rows = np.where(np.abs(error) <= 1, rows / 2, np.abs(error) - 0.5)
            gradient = np.clip(error, -1, 1)
        n = 1 if wrong == "sum" else len(error)
        gradient = gradient / (1 if wrong == "gradient" else n) / (2 if wrong == "factor" else 1)
        return float(rows.sum() / n), gradient

    return loss_and_gradient
