"""Exercises on the length of a step, on noise, and on moving too early.

Chapter: gradient descent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, ask, call, number, refuse, same, truth
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("gradient_descent.two_rates", "Two rates for a bowl", "easy", 10)
def two_rates(answer: Any) -> None:
    """Compare limit and best rate of two turned bowls with those of their eigenvalues."""
    for sides in ([0.5, 2.0, 6.0], [1.0, 9.0]):
        n = len(sides)
        turn = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0]
        H = turn @ np.diag(sides) @ turn.T
        H = (H + H.T) / 2
        got = array(call(answer, H), "(limit, best)", shape=(2,))
        flat, steep = min(sides), max(sides)
        diagonal = np.sort(np.diag(H))
        if same(got, [2 / diagonal[-1], 2 / (diagonal[0] + diagonal[-1])], rtol=1e-6):
            hint = "The diagonal holds the curvatures along the parameters. The bowl is turned: its"
            raise Mistake("diagonal-taken", f"{hint} own axes are the eigenvectors of H.")
        if same(got[0], 2 / flat, rtol=1e-6):
            hint = "Your limit is that of the flattest axis. Which axis throws you out first?"
            raise Mistake("flattest-for-the-limit", hint)
        if same(got[0], 1 / steep, rtol=1e-6):
            hint = "At that rate the steepest axis arrives in one step. It may overshoot a little:"
            raise Mistake("factor-zero-for-the-limit", f"{hint} down to which factor?")
        if same(got, [2 / steep, 1 / steep], rtol=1e-6):
            hint = "That rate is perfect for the steepest axis, and slow along the flattest. The"
            raise Mistake("only-the-steepest", f"{hint} best one makes both factors equally large.")
        if same(got[::-1], [2 / steep, 2 / (flat + steep)], rtol=1e-6):
            raise Mistake("in-the-other-order", "Return the limit first and the best rate second.")
        agree(got, [2 / steep, 2 / (flat + steep)], what="(limit, best)", rtol=1e-6)


@exercise("gradient_descent.noise_scale", "How large a batch is worth its price?", "medium", 20)
def noise_scale(answer: Any) -> None:
    """Compare with the solution of the two equations, for draws of two batch sizes each."""
    what = "The batch size"
    for seed, b, B in ((0, 2, 20), (1, 4, 16)):
        rng = np.random.default_rng(seed)
        g = rng.normal(size=30) / 3
        small, large = (g + rng.normal(size=(60, 30)) / np.sqrt(size) for size in (b, B))
        got = number(call(answer, small, b, large, B), what)

        of_small, of_large = (float((part**2).sum(axis=1).mean()) for part in (small, large))
        noise, square = _solved(b, B, of_small, of_large)
        if same(got, square / noise):
            raise Mistake("upside-down", "You divide gradient by noise.")
        shortcuts = (noise / of_large, b * (of_small - of_large) / of_large)
        if any(same(got, shortcut) for shortcut in shortcuts):
            hint = "You take the large batch for the whole data. Some noise is left in it, too:"
            raise Mistake("large-batch-taken-for-exact", f"{hint} two equations, two unknowns.")
        if same(got, (of_small - of_large) / square):
            hint = "The difference of the two squares is not the noise of one sample. How much of"
            raise Mistake("batch-sizes-left-out", f"{hint} it is in a batch of b, and of B?")
        lengths = [float(np.linalg.norm(part, axis=1).mean()) for part in (small, large)]
        if any(
            same(got, n / s)
            for n, s in (_solved(b, B, *lengths), _solved(b, B, *(n * n for n in lengths)))
        ):
            hint = "What adds up is squares. Square each length before you take the mean."
            raise Mistake("lengths-not-squared", hint)
        n, s = _solved(b, B, *(float(np.sum(part.mean(axis=0) ** 2)) for part in (small, large)))
        if same(got, n / s):
            hint = "You average the gradients first, and the noise is gone before it is measured."
            raise Mistake("averaged-first", hint)
        agree(got, noise / square, what=what, inputs={"b": b, "B": B})


def _solved(b: int, B: int, of_small: float, of_large: float) -> tuple[float, float]:
    """Return sigma^2 and |g|^2, where |g|^2 + sigma^2 / size is known for two sizes."""
    noise, square = np.linalg.solve([[1 / b, 1.0], [1 / B, 1.0]], [of_small, of_large])
    return float(noise), float(square)


@exercise("gradient_descent.early_mover", "Who moves too early?", "medium", 20)
def early_mover(answer: Any) -> None:
    """Try the learner's test on steps that are innocent, and on three that move too early."""
    steps = _Steps()
    ask(
        answer,
        (steps.innocent, False, "false-alarm",
         "You accuse theta - lr * gradient(theta), which is right."),
        (steps.slower, False, "compared-with-a-formula",
         "You accuse a step that goes half as far as lr says. It is slow, but it asks for the "
         "whole gradient before it moves."),
        (steps.asks_twice, False, "calls-counted",
         "You accuse a step that asks twice at the same place. That is a waste, not a crime: it "
         "matters where it asks."),
        (steps.in_place, False, "in-place-accused",
         "You accuse a step that asks once and then writes into theta. Keep a copy of theta from "
         "before the step to compare with."),
    )  # fmt: skip
    one_by_one = truth(call(answer, steps.one_by_one))
    if not one_by_one and max(steps.sizes, default=1) < 2:
        hint = "With one parameter there is no second one that could see the first one move."
        raise Mistake("one-parameter-only", hint)
    if not one_by_one:
        hint = "A step that moves one parameter after the other, and asks anew for each, gets away."
        raise Mistake("early-move-not-noticed", hint)
    ask(
        answer,
        (steps.one_by_one_in_place, True, "copy-forgotten",
         "The same step gets away if it writes into theta itself: what you have noted down is one "
         "array, seen several times. Note a copy."),
        (steps.from_the_last, True, "one-order-only",
         "A step that starts with the last parameter gets away. In your bowl the first slope does "
         "not depend on the others."),
    )  # fmt: skip


@exercise("gradient_descent.best_rates", "The best rate for every step", "hard", 30, [(12,), (5,)])
def best_rates(answer: Any, steps: int) -> None:
    """Compare with the closed form of the greedy rates, found from 1 / E growing evenly."""
    for curvature, variance, error in ((0.5, 2.5, 4.0), (2.0, 1.0, 0.3)):
        t = np.arange(steps)
        got = array(call(answer, curvature, variance, error, steps), "The rates", shape=t.shape)
        want = curvature / (curvature**2 * (t + 1) + variance / error)
        if same(got, np.full(steps, want[0])):
            hint = "After a step the expected square is smaller, and with it the best rate."
            raise Mistake("error-never-updated", hint)
        if same(got, np.full(steps, 1 / curvature)):
            raise Mistake("noise-forgotten", "That is the best rate where there is no noise.")
        if same(got[:-1], want[1:]):
            hint = "Your first rate belongs to the second step:"
            raise Mistake("one-step-ahead", f"{hint} you update the error before you use it.")
        root = np.sqrt(error)
        refuse(
            got[0],
            ("factor-two-lost", 2 * want[0],
             "A square has the slope 2 x: on both sides. You have lost one of the two factors."),
            ("root-of-the-error", curvature * root / (curvature**2 * root + variance),
             "The error that is given is a mean square already. Do not take its root."),
            ("rate-not-squared", 1 / curvature - variance / (2 * curvature**2 * error),
             "The noise is multiplied by the rate, so its square by the rate squared."),
        )  # fmt: skip
        if same(got[0], want[0]):
            e, square = error, []
            for _ in t:
                rate = curvature * e / (curvature**2 * e + variance)
                square.append(rate)
                e = (1 - rate * curvature) ** 2 * e
            if same(got, square):
                hint = "The first rate is right. Then you let the error shrink as if the step had"
                raise Mistake("noise-not-added", f"{hint} brought no new noise.")
        agree(got, want, what="The rate", inputs={"t": t})


class _Steps:
    """The steps, as methods; the first notes how many parameters it saw."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def innocent(self, gradient: Any, theta: Any, lr: float) -> Any:
        self.sizes.append(np.size(theta))
        return theta - lr * np.asarray(gradient(theta))

    def slower(self, gradient: Any, theta: Any, lr: float) -> Any:
        return theta - 0.5 * lr * np.asarray(gradient(theta))

    def asks_twice(self, gradient: Any, theta: Any, lr: float) -> Any:
        gradient(theta)
        return theta - lr * np.asarray(gradient(theta))

    def in_place(self, gradient: Any, theta: Any, lr: float) -> Any:
        place = np.asarray(theta, float)
        place -= lr * np.asarray(gradient(place))
        return place

    def one_by_one(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Ask anew for each parameter when those before have moved."""
        place = np.array(theta, float)
        for axis in np.eye(place.size):
            place = place - lr * np.asarray(gradient(place)) * axis
        return place

    def one_by_one_in_place(self, gradient: Any, theta: Any, lr: float) -> Any:
        place = np.asarray(theta, float)
        for i in range(place.size):
            place[i] -= lr * np.asarray(gradient(place))[i]
        return place

    def from_the_last(self, gradient: Any, theta: Any, lr: float) -> Any:
        place = np.array(theta, float)
        for axis in np.eye(place.size)[::-1]:
            place = place - lr * np.asarray(gradient(place)) * axis
        return place
