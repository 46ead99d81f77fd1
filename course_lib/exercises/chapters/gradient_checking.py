"""Exercises on differences: how exact they are, and what they say about a gradient.

Chapter: gradient checking.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise(
    "gradient_checking.slopes", "All slopes, by nudging", "easy", 10, [(0.5, 0.1), (-2.0, 0.25)]
)
def slopes(answer: Any, first: float, h: float) -> None:
    """Compare with the slopes of a function whose derivatives are known, for a coarse step."""
    theta, n = np.array([first, -1.0, 2.0]), np.arange(1.0, 4.0)

    def f(t: NDArray[Any]) -> float:
        return float(np.sum(n * t**3) + first * t[0] * t[1])

    got = array(call(answer, f, theta, h), "The gradient", shape=(3,))
    steps = h * np.eye(3)
    up, down = (np.array([f(theta + sign * e) for e in steps]) for sign in (1, -1))
    refuse(
        got,
        ("one-sided", (up - f(theta)) / h, "A step to one side leaves an error of order h."),
        ("one-sided", (f(theta) - down) / h, "A step back alone leaves an error of order h."),
        ("width-of-one-step", (up - down) / h, "How far apart are theta + h and theta - h?"),
        ("all-moved-at-once", np.full(3, (f(theta + h) - f(theta - h)) / (2 * h)),
         "Only one moves."),
    )  # fmt: skip
    moved = theta + np.tril(np.full((3, 3), h), -1)
    if same(got, [(f(m + e) - f(m - e)) / (2 * h) for m, e in zip(moved, steps, strict=True)]):
        hint = "From the second entry on, the ones before are still moved."
        raise Mistake("not-moved-back", hint)
    agree(got, (up - down) / (2 * h), what="The gradient")


@exercise(
    "gradient_checking.extrapolate",
    "Better for free",
    "medium",
    20,
    [(0.5, 0.1, 5.0), (-1.0, 0.05, 2.0)],
)
def extrapolate(answer: Any, t: float, h: float, highest: float) -> None:
    """Compare with the true slope, which polynomials up to the fourth degree must get exactly."""
    calls: list[float] = []

    def f(t: float) -> float:
        calls.append(t)
        return 1.0 + 2.0 * t - 3.0 * t**2 + 4.0 * t**3 - highest * t**4

    want = 2.0 - 6.0 * t + 12.0 * t**2 - 4.0 * highest * t**3
    got = number(call(answer, f, t, h), "The slope")
    points = sorted({round((c - t) / h, 6) for c in calls})
    near, far = ((f(t + s) - f(t - s)) / (2 * s) for s in (h, 2 * h))
    refuse(
        got,
        ("no-extrapolation", near, "This is the central difference with h alone."),
        ("no-extrapolation", far, "This is the central difference with 2 h alone."),
        ("plain-mean", (near + far) / 2, "Their mean keeps 2.5 times the error of the better one."),
        ("error-taken-as-h", 2 * near - far, "The error grows with h^2: 2 h makes it four times."),
        ("exchanged", (4 * far - near) / 3, "Which of the two differences has the larger error?"),
    )
    if not set(points) <= {-2.0, -1.0, 0.0, 1.0, 2.0}:
        raise Mistake("other-points", f"Use t - 2h ... t + 2h. You asked at t + h times {points}.")
    agree(got, want, what="The slope", rtol=1e-8)


@exercise("gradient_checking.diagnose", "Name the illness", "medium", 20, [(0, 7, 3), (2, 5, 4)])
def diagnose(answer: Any, seed: int, rows: int, outputs: int) -> None:
    """Try right gradients, wrong factors in both directions, and vectors that point elsewhere."""
    n = np.random.default_rng(seed).normal(size=12)
    rounding = 1e-10 * np.random.default_rng(1).normal(size=12)
    turned = np.roll(n, 1)
    cases = [
        (n + rounding, "right", "rounding-taken-for-a-fault", "Rounding of 1e-10 is no illness."),
        (rows * n + rounding, "rows", "factor-not-seen", f"{rows} times too long: the rows."),
        (
            n / rows + rounding,
            "rows",
            "one-direction-only",
            "Too SHORT by the rows is the same illness.",
        ),
        (outputs * n, "outputs", "factor-not-seen", f"{outputs} times too long: the outputs."),
        (
            n / outputs,
            "outputs",
            "one-direction-only",
            "Too SHORT by the outputs is the same illness.",
        ),
        (-n, "sign", "sign-not-seen", "This gradient is exactly minus the right one."),
        (
            rows * turned,
            "other",
            "length-alone",
            "Its length fits a factor, its direction does not.",
        ),
        (n + 0.1 * turned, "other", "length-alone", "One term too many: not a factor of any kind."),
        (1.00001 * n, "other", "too-tolerant", "It is too long by 1e-5, which is no rounding."),
        (-1.00001 * n, "other", "too-tolerant", "It is -1.00001 times the right one."),
        (1.0001 * rows * n, "other", "too-tolerant", "It is 1.0001 times what the rows explain."),
        (0 * n, "other", "zero-not-handled", "A gradient of zeros is no multiple of interest."),
    ]
    hint = "Both gradients are zeros. They agree."
    tried = [(case[0], n, *case[1:]) for case in cases]
    tried.append((0 * n, 0 * n, "right", "zero-not-handled", hint))
    tried.append((n, 0 * n, "other", "zero-not-handled", "The right gradient is zeros, g is not."))
    for g, right, want, name, hint in tried:
        try:
            found = call(answer, g, right, rows, outputs)
        except Mistake as mistake:
            if mistake.name == "raises-an-error" and not (g.any() and right.any()):
                raise Mistake("zero-not-handled", f"A gradient of zeros: {mistake.hint}") from None
            raise
        if found not in ("right", "rows", "outputs", "sign", "other"):
            raise Mistake("not-a-diagnosis", f"{found!r} is none of the five words of the task.")
        if found != want:
            raise Mistake(name, f"{hint} Yours says {found!r} instead of {want!r}.")


@exercise(
    "gradient_checking.estimate", "How wrong is it?", "hard", 30, [(0, 60, 400), (5, 40, 300)]
)
def estimate(answer: Any, seed: int, size: int, K: int) -> None:
    """Compare with the error of a gradient that is wrong by a known vector."""
    target = np.linspace(-1, 1, size)
    calls = 0

    def loss(t: NDArray[Any]) -> float:
        nonlocal calls
        calls += 1
        return float((1 + seed) * np.sum((t - target) ** 2))

    theta = np.random.default_rng([seed, 2]).normal(size=size)
    right = 2 * (1 + seed) * (theta - target)
    d = np.random.default_rng([seed, 3]).normal(size=size)
    wrong = right + 0.5 * np.linalg.norm(right) * d / np.linalg.norm(d)
    want = np.linalg.norm(wrong - right) / np.linalg.norm(wrong)
    doubled = np.linalg.norm(wrong - 2 * right) / np.linalg.norm(wrong)
    got = number(call(answer, loss, wrong, theta, np.random.default_rng(seed), K), "The estimate")
    if calls > 2 * K:
        hint = f"You called the loss {calls} times for {K} directions. Two calls each are enough."
        raise Mistake("too-many-passes", hint)
    if abs(math.sqrt(abs(got)) / want - 1) < 0.1:
        hint = f"You find {got:.3g} where {want:.3g} is right. The mean"
        raise Mistake("root-missing", f"{hint} of the squares estimates the SQUARED length.")
    # The root mean square of so many misses is within 10 % of its expectation, nearly always.
    for factor, name, hint in (
        (1 / math.sqrt(size), "directions-of-length-one", "Do not shorten the directions."),
        (np.linalg.norm(wrong), "not-relative", "Divide by the length of the gradient."),
        (math.sqrt(1 / 3), "not-normal", "Draw from a normal distribution: variance 1."),
        (
            math.sqrt(2 / math.pi),
            "mean-of-sizes",
            "Average the squares of the misses, not the sizes.",
        ),
        (doubled / want, "width-of-one-step", "The two ends are 2 h apart."),
    ):
        if abs(got / (factor * want) - 1) < 0.1:
            raise Mistake(name, f"You find {got:.3g} where {want:.3g} is right. {hint}")
    if abs(got) < 0.2 * want:
        hint = f"You find {got:.3g} where {want:.3g} is right."
        raise Mistake("misses-cancel", f"{hint} Misses of both signs cancel if added.")
    if not abs(got / want - 1) <= 0.1:  # also if it is nan
        raise Mistake("wrong-size", f"You find {got:.3g}; {want:.3g} is right, to a tenth of it.")
