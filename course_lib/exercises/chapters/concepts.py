"""Exercises on the cycle of training, and on the words for its parts.

Chapter: concepts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, call, number, refuse, same, slopes
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import NOT_YET, Mistake


@exercise("concepts.steps", "Count the steps", "easy", 10)
def steps(answer: Any) -> None:
    """Compare with batches that are cut one by one, for full and for short last batches."""
    for n, size, epochs in ((14, 5, 200), (64, 32, 3), (5, 32, 4)):
        got = array(call(answer, n, size, epochs), "(steps, last batch)", shape=(2,))
        batches = [range(n)[i : i + size] for i in range(0, n, size)]
        want = epochs * len(batches), len(batches[-1])
        case = f"{n} examples, batches of {size} and {epochs} epochs"
        if n % size and got[0] == n // size * epochs:
            hint = f"For {case} you have {got[0]:g} steps: the last, short batch is a step too."
            raise Mistake("short-batch-dropped", hint)
        if got[0] == len(batches):
            raise Mistake("epochs-forgotten", f"For {case}: {got[0]:g} steps make one epoch.")
        if got[0] == math.ceil(n * epochs / size) != want[0]:
            hint = f"For {case} you have {got[0]:g} steps. No batch reaches into the next epoch."
            raise Mistake("rounded-after-all-epochs", hint)
        if got[0] == (n // size + 1) * epochs != want[0]:
            hint = f"For {case} you have {got[0]:g} steps. Here the batches come out even."
            raise Mistake("one-batch-too-many", hint)
        if got[1] == 0:
            hint = f"For {case} your last batch is empty: the remainder of the division is 0."
            raise Mistake("empty-last-batch", hint)
        agree(got, want, what=f"(steps, last batch) for {case}")


@exercise(
    "concepts.two_bugs",
    "Two bugs in a training loop",
    "medium",
    15,
    [(0.3, -0.2, 0.1, 3, 2), (-0.1, 0.4, 0.05, 2, 3)],
)
def two_bugs(answer: Any, w: float, b: float, lr: float, epochs: int, size: int) -> None:
    """Compare with loops that have one, both or none of the two bugs."""
    samples = [(w, 1.0), (-1.0, 2.0), (2.0, 0.5), (1.5, -1.0), (-0.5, 0.25)]
    got = array(call(answer, samples, w, b, lr, epochs, size), "(w, b)", shape=(2,))
    given = samples, w, b, lr, epochs, size
    every, epoch, never = "batch", "epoch", ""
    refuse(
        got,
        ("both-bugs-left", _trained(*given, never, False), "The loop still does what it did."),
        ("gradient-not-emptied", _trained(*given, never, True),
         "The slopes of the batches before are still in it."),
        ("emptied-once-an-epoch", _trained(*given, epoch, True),
         "A step uses one batch, not all since the start."),
        ("emptied-once-an-epoch", _trained(*given, epoch, False),
         "Emptied too rarely; and look at the last batch."),
        ("short-batch", _trained(*given, every, False),
         "The mean over a batch: how many examples has the last one?"),
    )  # fmt: skip
    agree(got, _trained(*given, every, True), what=f"(w, b) after {epochs} epochs")


@exercise("concepts.turns", "How many turns?", "medium", 20, [(1e-3,), (0.2,)])
def turns(answer: Any, tolerance: float) -> None:
    """Compare with the error followed turn by turn; it can jump, stop at once or never shrink."""
    got = number(call(answer, 0.04, 3.0, tolerance), "The number of turns")
    refuse(
        got,
        ("factor-of-two-missing", _turns(1 - 0.04 * 9, tolerance),
         "The slope of a square brings a factor 2."),
        ("x-not-squared", _turns(1 - 2 * 0.04 * 3, tolerance),
         "x comes in twice: in the slope, and again in w x."),
        ("one-too-few", _turns(0.28, tolerance) - 1,
         "After your last turn the error is still above the tolerance."),
    )  # fmt: skip
    agree(
        got,
        _turns(0.28, tolerance),
        what=f"The turns for rate 0.04, x = 3, tolerance {tolerance:g}",
    )
    for rate, want, name, hint in (
        (
            0.2,
            _turns(-0.6, tolerance),
            "negative-factor",
            "Here the error jumps from side to side.",
        ),
        (0.25, math.inf, "never-not-noticed", "Here the error keeps its size for ever."),
        (0.3, math.inf, "never-not-noticed", "Here the error grows."),
        (0.125, 1, "zero-factor", "Here one turn removes the error completely."),
    ):
        try:
            found = number(call(answer, rate, 2.0, tolerance), "The number of turns")
        except Mistake as mistake:
            if mistake.name == NOT_YET:
                raise
            found = math.nan
        if found != want:
            text = f"For the rate {rate:g} and x = 2 the answer should be {want:g}. {hint}"
            raise Mistake(name, text)


@exercise("concepts.gradient", "Another activation", "hard", 25, [(0, 3), (1, 2)])
def gradient(answer: Any, seed: int, hidden: int) -> None:
    """Compare with a complex step through the printed formula of the loss."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=3 * hidden + 1)
    batch = [(float(x), float(y)) for x, y in rng.normal(size=(4, 2))]
    given = theta.tolist()
    got = array(call(answer, given, batch), "The gradient", shape=theta.shape)
    want = _slopes(theta, batch, "sigmoid")
    refuse(
        got,
        ("still-tanh", _slopes(theta, batch, "tanh"),
         "This is the gradient of the network with tanh."),
        ("sum-instead-of-mean", len(batch) * want, "The loss is the mean over the batch."),
        ("factor-of-two-missing", 0.5 * want, "What is the slope of a square?"),
        ("sign-reversed", -want, "The gradient points uphill; the step turns it round."),
        ("slope-of-tanh", _by_hand(theta, batch, "tanh"),
         "Changing the forward line is half of it: 1 - a^2 was for tanh."),
        ("slope-left-out", _by_hand(theta, batch, "none"),
         "On the way back through a hidden neuron the bend counts too."),
    )  # fmt: skip
    if not same(got, want) and same(np.sort(got), np.sort(want)):
        hint = "All numbers are right, at other places. theta is w, then b, then v, then c."
        raise Mistake("another-order", hint)
    agree(got, want, what="The gradient")


def _trained(
    samples: list[tuple[float, float]], w: float, b: float, lr: float, epochs: int, size: int,
    emptied: str, own_size: bool,
) -> list[float]:  # fmt: skip
    theta, g = np.array([w, b]), np.zeros(2)
    for _ in range(epochs):
        g *= emptied != "epoch"
        for i in range(0, len(samples), size):
            x, y = np.array(samples[i : i + size]).T
            g *= emptied != "batch"
            error = theta[0] * x + theta[1] - y
            g += 2 * np.array([error @ x, error.sum()]) / (len(x) if own_size else size)
            theta = theta - lr * g
    return [float(value) for value in theta]


def _turns(factor: float, tolerance: float) -> int:
    error, count = 1.0, 0
    while abs(error) > tolerance:
        error, count = error * factor, count + 1
    return count


def _loss(theta: Any, batch: list[tuple[float, float]], activation: str) -> Any:
    w, b, v = theta[:-1].reshape(3, -1)
    x, y = np.array(batch).T
    z = np.outer(x, w) + b
    a = np.tanh(z) if activation == "tanh" else 1 / (1 + np.exp(-z))
    return ((a @ v + theta[-1] - y) ** 2).mean()


def _slopes(theta: Any, batch: list[tuple[float, float]], activation: str) -> Any:
    return slopes(lambda moved: _loss(moved, batch, activation), theta)


def _by_hand(theta: Any, batch: list[tuple[float, float]], slope: str) -> Any:
    """Return the gradient with a wrong slope of the hidden neurons."""
    w, b, v = theta[:-1].reshape(3, -1)
    x, y = np.array(batch).T
    a = 1 / (1 + np.exp(-(np.outer(x, w) + b)))
    dout = 2 * (a @ v + theta[-1] - y) / len(x)
    dz = np.outer(dout, v) * (1 - a**2 if slope == "tanh" else 1)
    return np.concatenate([x @ dz, dz.sum(axis=0), dout @ a, [dout.sum()]])
