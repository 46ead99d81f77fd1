"""Exercises on the small functions between the layers.

Chapter: activations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, refuse, same, truth
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("activations.elu", "ELU with its alpha", "easy", 10, [(2.0,), (0.5,)])
def elu(answer: Any, alpha: float) -> None:
    """Compare with ELU on both sides of zero, for an alpha that is not 1, and close to zero."""
    z = np.array([[-2.0, -0.5, 0.0], [3.0, -30.0, 0.25]])
    left = np.array([[math.expm1(min(v, 0.0)) for v in row] for row in z])
    got = array(call(answer, z, alpha=alpha), "ELU(z)", shape=z.shape)
    refuse(
        got,
        ("alpha-ignored", np.where(z > 0, z, left),
         "Your values are those of alpha = 1. Where z is below zero, alpha has to come in."),
        ("alpha-on-both-sides", alpha * np.where(z > 0, z, left),
         "You multiply everything by alpha. Only the branch below zero has it."),
        ("derivative-instead", np.where(z > 0, 1.0, alpha * np.exp(z)),
         "These are the slopes of ELU. Its values are asked for."),
    )  # fmt: skip
    agree(got, np.where(z > 0, z, alpha * left), what="ELU(z)", inputs={"z": z, "alpha": alpha})
    tiny = np.array([-1e-12])
    if not same(call(answer, tiny, alpha=alpha), [alpha * math.expm1(-1e-12)], atol=0.0):
        hint = "Close to zero e^z - 1 loses almost all its digits. NumPy has a function for it."
        raise Mistake("digits-lost-near-zero", hint)
    far = np.array([1000.0, -1000.0])
    got = array(call(answer, far, alpha=alpha), "ELU(z)", shape=(2,))
    if np.isnan(got).any():
        hint = (
            "At z = 1000 the branch below zero overflows, and 0 times infinity is nan. Choose one"
        )
        raise Mistake("overflow", f"{hint} of the two branches; do not add both.")
    agree(got, [1000.0, -alpha], what="ELU(z)", inputs={"z": far})


@exercise("activations.softmax_backward", "Back through softmax", "medium", 15, [(0,), (1,)])
def softmax_backward(answer: Any, seed: int) -> None:
    """Compare the gradient of three rows with the full Jacobian of each row times its dp."""
    rng = np.random.default_rng(seed)
    scores, dp = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    want = np.stack([(np.diag(r) - np.outer(r, r)) @ g for r, g in zip(p, dp, strict=True)])
    got = array(call(answer, p, dp), "The gradient", shape=p.shape)
    refuse(
        got,
        ("diagonal-only", p * (1 - p) * dp,
         "You kept the diagonal of the Jacobian alone. Raising one score lowers all others."),
        ("sign-reversed", -want, "Each entry is right but for its sign."),
        ("p-left-out", want / p,
         "The bracket is right; each of its entries is still to be weighed."),
    )  # fmt: skip
    if same(got, p * (dp - (p * dp).sum())) or same(got, p * (dp - (p * dp).sum(axis=0))):
        hint = "The sum runs over the classes of one row, and each row has its own."
        raise Mistake("rows-mixed", f"{hint} Which axis is it?")
    agree(got, want, what="The gradient with respect to the scores")


@exercise("activations.find_coupling", "Catch the softmax that couples its rows", "medium", 15)
def find_coupling(answer: Any) -> None:
    """Try the learner's test on softmaxes whose rows are, and are not, independent."""
    rows_seen: list[int] = []

    def says(softmax: Any) -> bool:
        def spied(z: Any) -> Any:
            scores = np.asarray(z, float)
            rows_seen.append(len(scores) if scores.ndim == 2 else 1)
            return softmax(np.atleast_2d(scores))

        return truth(call(answer, spied))

    if says(_softmax):
        raise Mistake("false-alarm", "You accuse a softmax that treats each row on its own.")
    if says(lambda z: _softmax(z / 2)):
        hint = "You accuse a softmax with the temperature 2. Its values differ from softmax at 1,"
        raise Mistake("compared-with-a-formula", f"{hint} but its rows do not know of each other.")
    by_sum = says(lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum())
    by_maximum = says(_coupled_by_maximum)
    if not (by_sum and by_maximum) and max(rows_seen, default=1) < 2:
        hint = "You call it with one row at a time."
        raise Mistake("one-row-only", f"{hint} With one row there is nobody to be coupled with.")
    if not by_sum:
        hint = "A softmax that divides by the sum of the batch gets away."
        raise Mistake("sum-not-noticed", hint)
    if not says(lambda z: _softmax(z - z.mean(axis=0))):
        hint = "A softmax that subtracts the mean of each column gets away. Its rows sum to 1,"
        raise Mistake("only-sums-compared", f"{hint} and yet knows of the others.")
    if says(lambda z: 0.99 * _softmax(z)):
        hint = "You accuse a function whose rows sum to 0.99. It is no softmax, but nothing couples"
        raise Mistake("only-sums-compared", f"{hint} its rows.")
    if not by_maximum:
        hint = "A softmax with one maximum for the batch gets away: your rows are too much alike."
        raise Mistake("rows-too-calm", hint)


@exercise("activations.temperature", "The slope of a temperature", "hard", 25, [(1, 0.5), (2, 3.0)])
def temperature(answer: Any, seed: int, T: float) -> None:
    """Compare the derivative with a complex step, which has no rounding error."""
    rng = np.random.default_rng(seed)
    z, dp = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    step = 1e-30

    def loss(t: complex) -> Any:
        powers = np.exp(z / t)
        return (dp * powers / powers.sum(axis=1, keepdims=True)).sum(axis=1)

    rows = loss(T + 1j * step).imag / step
    found = call(answer, z, T, dp)
    if same(found, rows) or same(found, rows[:, None]):
        hint = "All rows share the one T, so what each of them says about it is added up."
        raise Mistake("not-summed-over-rows", hint)
    got = number(found, "The derivative")
    at_one = loss(1 + 1j * step).imag.sum() / step
    refuse(
        got,
        ("sign-reversed", -rows.sum(), "The sign: does z / T grow or fall when T grows?"),
        ("inner-derivative-of-T", -(T**2) * rows.sum(),
         "You stopped at z / T. What is its slope in T?"),
        ("one-over-T", T * rows.sum(), "1 / T has the derivative -1 / T^2, not -1 / T."),
        ("p-without-T", at_one / T**2, "Your probabilities are those of T = 1."),
    )  # fmt: skip
    agree(got, rows.sum(), what="dL/dT", inputs={"T": T})


def _softmax(z: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _coupled_by_maximum(z: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(z - z.max())
    return np.asarray(powers / (powers.sum(axis=1, keepdims=True) + 1e-7))
