"""Exercises on a schedule, on a relative of Adam, and on two forms of momentum.

Chapter: optimizers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("optimizers.triangle", "Up and down in straight lines", "easy", 10)
def triangle(answer: Any) -> None:
    """Compare the schedule with the two lines, before, between and after its corners."""
    for peak, up, steps in ((0.4, 4, 10), (0.3, 1, 7)):
        schedule = call(answer, peak, up, steps)
        if not callable(schedule):
            hint = "Return a function of t, so that an optimizer can take it as its lr."
            raise Mistake("no-schedule", hint)
        t = np.arange(steps + 3)
        rates = np.array([number(call(schedule, int(k)), "The rate") for k in t])
        left, right = (t + 1) / up, (steps - t) / (steps - up)
        want = peak * np.where(t < up, left, np.maximum(right, 0.0))
        inside = t < steps
        if same(rates[:up], peak * t[:up] / up) and up > 1:
            hint = "With t = 0 your rate is 0, so the first gradient is computed for nothing."
            raise Mistake("first-step-lost", hint)
        if same(rates[up:steps], (peak * (1 - t / steps))[up:steps]):
            hint = "The way down begins below the peak: count its steps from the end of the way up."
            raise Mistake("way-down-not-shifted", hint)
        if same(rates[up:steps], (peak * (1 - (t - up) / steps))[up:steps]):
            hint = "The way down does not reach zero at the end. It has steps - up steps only."
            raise Mistake("way-down-too-long", hint)
        if same(rates[inside], want[inside]) and rates[-1] < 0:
            hint = "After the end your rate is negative, and the descent goes uphill."
            raise Mistake("below-zero-after-the-end", hint)
        if same(rates, want / peak):
            raise Mistake("peak-left-out", "Yours rises to 1, whatever the peak is.")
        agree(rates, want, what="The rate", inputs={"t": t})
        for k in (steps - 1, 0, up, 0):
            if not same(number(call(schedule, k), "The rate"), want[k]):
                hint = f"Asked again, out of order, your schedule says something else for t = {k}."
                raise Mistake("calls-counted", f"{hint} Compute from t; count nothing.")


def _adamax(
    gradients: NDArray[Any], variant: str, *, lr: float, beta1: float, beta2: float, eps: float
) -> NDArray[Any]:
    """Return the path of Adamax from zero, or that of a variant of it."""
    theta, m, u = np.zeros((3, gradients.shape[1]))
    path = []
    for t, g in enumerate(gradients, start=1):
        if variant == "state-forgotten":
            m, u, t = np.zeros_like(m), np.zeros_like(u), 1
        m = beta1 * m + (1 - beta1) * g
        new = g if variant == "sign-kept" else np.abs(g)
        if variant == "mean-instead-of-maximum":
            u = beta2 * u + (1 - beta2) * new
        else:
            u = np.maximum(u if variant == "never-forgets" else beta2 * u, new + eps)
        below = u / (1 - beta2**t) if variant == "maximum-corrected" else u
        above = m if variant == "not-corrected" else m / (1 - beta1**t)
        theta = theta - lr * above / below
        path.append(theta)
    return np.array(path)


_ADAMAX = {
    "not-corrected": "The mean starts at zero and is too small at first. Divide it by its weights.",
    "maximum-corrected": "A maximum is not too small at the start: it needs no correction.",
    "sign-kept": "A large negative gradient does not raise your u. Its size has to come in.",
    "never-forgets": "Your u never falls. Which factor lets the distant past fade?",
    "mean-instead-of-maximum": "You have a running mean of |g|. Adamax takes the larger of two.",
    "state-forgotten": "Every step of yours looks like the first one. Return m, u and t as they "
    "are after the step.",
}


@exercise(
    "optimizers.adamax",
    "Adam with a maximum",
    "medium",
    15,
    [(0.1, 0.8, 0.6, 1e-8), (0.02, 0.5, 0.9, 0.05)],
)
def adamax(answer: Any, lr: float, beta1: float, beta2: float, eps: float) -> None:
    """Run the learner's step on gradients of changing signs and sizes; compare the paths."""
    gradients = np.array([[1.0, 3.0], [-2.0, 0.5], [0.3, 0.1], [0.2, -4.0], [-0.1, 0.2]])
    settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
    theta = np.zeros(2)
    state: Any = {"t": 0, "m": np.zeros(2), "u": np.zeros(2)}
    path: list[Any] = []
    for g in gradients:
        got = call(answer, theta, g, state, **settings)
        pair = isinstance(got, tuple | list) and len(got) == 2 and isinstance(got[1], dict)
        if not pair:
            raise Mistake("no-pair", "Return theta and the state, in this order, state as a dict.")
        theta, state = array(got[0], "theta", shape=(2,)), got[1]
        if not path and not np.isfinite(theta).all():
            hint = "In the first step 1 - beta1**t is 0. The step that you take is number 1."
            raise Mistake("counter-too-late", hint)
        path.append(theta)
    wrong = ((v, _adamax(gradients, v, **settings), hint) for v, hint in _ADAMAX.items())
    refuse(np.array(path), *wrong, rtol=1e-6)
    want = _adamax(gradients, "", **settings)
    agree(np.array(path), want, what="The path (one step per line)", rtol=1e-6)
    zero = {"t": 0, "m": np.zeros(2), "u": np.zeros(2)}
    blank = call(answer, np.zeros(2), np.zeros(2), zero)[0]
    if not same(blank, np.zeros(2)):
        hint = "A parameter whose gradient is always zero (a blank pixel) becomes nan."
        raise Mistake("epsilon-left-out", f"{hint} Where does epsilon come in?")


@exercise(
    "optimizers.inside_form",
    "Move a schedule to another library",
    "medium",
    20,
    [([0.01, 0.05, 0.1, 0.1, 0.02, 0.004],), ([0.3, 0.1, 0.2],)],
)
def inside_form(answer: Any, rates: Any) -> None:
    """Compare the momenta with those under which both forms of momentum walk the same path."""
    rates = np.array(rates)
    for mu in (0.9, 0.5):
        got = array(call(answer, rates, mu), "The momenta", shape=rates.shape)
        ratio = rates[1:] / rates[:-1]
        if not np.isfinite(got[0]):
            hint = "The first one multiplies a velocity of zero, so any number will do,"
            raise Mistake("first-not-finite", f"{hint} but not {got[0]}.")
        refuse(
            got[1:],
            ("left-as-it-was", np.full(len(ratio), mu),
             "When the rate falls, the old speed rolls on."),
            ("upside-down", mu / ratio,
             "When the rate falls, the old speed has to fall with it. Yours grows."),
            ("momentum-left-out", ratio, "Where the rate does not change, mu must come out."),
            ("change-added", mu * (1 + rates[1:] - rates[:-1]),
             "Rates are factors: what counts is how many times as large the new one is."),
        )  # fmt: skip
        if same(got[:-1], mu * ratio):
            hint = "The right numbers, one step too early: entry t belongs to the step with rate t."
            raise Mistake("one-step-early", hint)
        agree(got[1:], mu * ratio, what="The momenta from the second step on")


@exercise("optimizers.nesterov_limit", "Where Nesterov flies off", "hard", 30)
def nesterov_limit(answer: Any) -> None:
    """Compare with the rate at which the matrix of one step gets an eigenvalue of size 1."""
    for mu, curvature in ((0.9, 2.5), (0.5, 0.4), (0.0, 3.0)):
        got = number(call(answer, mu, curvature), "The limit")
        low, high = 1e-6, 10.0
        for _ in range(60):
            middle = (low + high) / 2
            # Of the slope and the velocity, as the two lines of the update say it.
            move = np.array([1 - middle * (1 + mu), -middle * mu**2])
            matrix = np.array([move, [1, mu]])
            stable = np.abs(np.linalg.eigvals(matrix)).max() < 1
            low, high = (middle, high) if stable else (low, middle)
        if mu > 0:
            refuse(
                got,
                ("heavy-ball-instead", 2 * (1 + mu) / curvature,
                 "That is the limit of plain momentum. In Nesterov's form the new slope counts "
                 "twice."),
                ("plain-descent-instead", 2.0 / curvature,
                 "That is the limit without momentum. Try mu = 0.9 just below it."),
                ("determinant-alone", (1 + 1 / mu) / curvature,
                 "There the product of the eigenvalues reaches -1. One of them is outside long "
                 "before."),
                ("half-of-it", low / 2 / curvature,
                 "You stop at half of the limit. At it one eigenvalue is -1, not 0."),
                ("curvature-left-out", low,
                 "That is the limit of eta * lambda. The rate itself is asked for."),
                rtol=1e-6,
            )  # fmt: skip
        agree(got, low / curvature, what="The limit", inputs={"mu": mu}, rtol=1e-6)
