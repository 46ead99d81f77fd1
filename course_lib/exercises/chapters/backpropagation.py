"""Exercises on the way back: one neuron, a layer, a graph, and a layer with a shortcut.

Chapter: backpropagation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, parts, refuse, same, slopes
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("backpropagation.neuron", "One neuron, by hand", "easy", 10, [(0.1, 1.0), (-0.7, 0.25)])
def neuron(answer: Any, b: float, y: float) -> None:
    """Compare with a complex step, for a neuron with three inputs."""
    x, w = np.array([1.5, y, 2.0]), np.array([0.4, 0.3, b])
    dw, db = _parts(call(answer, x, w, b, y), ("dw", (3,)), ("db", ()))
    a = 1 / (1 + np.exp(-(w @ x + b)))
    slope = ((1 / (1 + np.exp(-(w @ x + b + 1e-30j))) - y) ** 2).imag / 1e-30
    at_a = 1 / (1 + np.exp(-a))
    inputs = np.append(x, 1.0)
    refuse(
        np.append(dw, db),
        ("bend-left-out", 2 * (a - y) * inputs,
         "Between a and z stands the sigmoid, with its slope."),
        ("factor-of-two-missing", (a - y) * a * (1 - a) * inputs, "What is the slope of a square?"),
        ("slope-taken-at-a", 2 * (a - y) * at_a * (1 - at_a) * inputs,
         "sigma'(z) is a (1 - a), no more."),
        ("sign-reversed", -slope * inputs, "If a is below y, should raising z raise the loss?"),
    )  # fmt: skip
    if same(dw, np.full(3, slope)):
        raise Mistake("inputs-left-out", "How fast does the weight w_i move z? Not with rate 1.")
    agree(dw, slope * x, what="dw")
    agree(db, slope, what="db")


@exercise("backpropagation.layer", "The way back through a layer", "medium", 20, [(0,), (1,)])
def layer(answer: Any, seed: int) -> None:
    """Compare with sums over single rows and units, written out."""
    rng = np.random.default_rng(seed)
    x, W, b = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    da = rng.normal(size=(5, 3))
    a = np.tanh(x @ W + b)
    shapes = ("dx", x.shape), ("dW", W.shape), ("db", b.shape)
    dx, dW, db = _parts(call(answer, x, W, a, da), *shapes)
    dz = da * np.cosh(x @ W + b) ** -2
    for wrong, name, hint in (
        (da, "bend-left-out", "You take da for dz. Between them stands the slope of tanh."),
        (da * (1 - np.tanh(a) ** 2), "slope-taken-at-a", "a is tanh(z) already: 1 - a^2 is all."),
        (da * (1 - a), "slope-is-not-squared", "The slope of tanh is 1 - a^2."),
    ):
        if same(dW, x.T @ wrong) or same(dx, wrong @ W.T):
            raise Mistake(name, hint)
    want = sum(np.outer(x[i], dz[i]) for i in range(5))
    if same(dW, want / 5) or same(db, dz.mean(axis=0)):
        hint = "A mean over the rows was taken. The division by N is part of the loss,"
        raise Mistake("divided-again", f"{hint} and so of da.")
    agree(dW, want, what="dW")
    if same(db, np.full(3, dz.sum())):
        hint = "Each unit has its own bias: sum over the rows only."
        raise Mistake("bias-summed-over-units", hint)
    agree(db, [sum(dz[i, j] for i in range(5)) for j in range(3)], what="db")
    agree(dx, np.array([[W[k] @ dz[i] for k in range(4)] for i in range(5)]), what="dx")


@exercise("backpropagation.order", "In which order?", "medium", 20)
def order(answer: Any) -> None:
    """Walk the order that was found, and look whether each derivative was complete."""
    for made_from in (
        {"c": ["b", "b"], "b": ["a", "a"], "a": [], "unused": ["a"]},
        {"L": ["s", "x"], "s": ["t"], "t": ["x", "w"], "x": ["w", "v"], "w": [], "v": []},
        {"L": ["x", "s"], "s": ["x", "t"], "x": ["t"], "t": ["w"], "w": []},
    ):
        result = next(iter(made_from))
        found = call(answer, made_from, result)
        if not isinstance(found, tuple | list) or not all(name in made_from for name in found):
            raise Mistake("not-a-list", "Return a list of the names of numbers.")
        names, case = list(found), f"In {made_from} your order is {', '.join(map(str, found))}."
        if len(set(names)) < len(names):
            raise Mistake("handled-twice", f"{case} A number is handled once, when it is complete.")
        if "unused" in names:
            hint = f"{case} Leave out what the result is not made from: nothing arrives there."
            raise Mistake("not-below-the-result", hint)
        missing = {name for name in made_from if name != "unused"} - set(names)
        if missing:
            hint = f"{case} These never get a turn: {', '.join(sorted(missing))}."
            raise Mistake("left-out", hint)
        if names[-1] == result:
            hint = f"{case} That is the order for the values. Derivatives flow the other way."
            raise Mistake("values-first", hint)
        done: set[str] = set()
        for name in names:
            above = {user for user in names if name in made_from[user]}
            if not above <= done:
                hint = f"{case} When it is {name}'s turn, {', '.join(sorted(above - done))} has not"
                raise Mistake("too-early", f"{hint} handed anything on yet.")
            done.add(name)


@exercise("backpropagation.shortcut", "A layer with a shortcut", "hard", 30, [(1,), (2,)])
def shortcut(answer: Any, seed: int) -> None:
    """Compare with complex steps through the forward pass."""
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    W1, W2 = rng.normal(size=(4, 6)), rng.normal(size=(6, 4))
    shapes = ("dx", x.shape), ("dW1", W1.shape), ("dW2", W2.shape)
    dx, dW1, dW2 = _parts(call(answer, x, W1, W2, dy), *shapes)

    def loss(x: NDArray[Any], W1: NDArray[Any], W2: NDArray[Any]) -> Any:
        return ((x + np.tanh(x @ W1) @ W2) * dy).sum()

    straight = slopes(lambda moved: loss(moved, W1, W2), x)
    refuse(
        dx,
        ("shortcut-forgotten", straight - dy,
         "x reaches the output on two paths. Their effects add."),
        ("only-the-shortcut", dy, "x reaches the output through the layers as well."),
        ("paths-multiplied", (straight - dy) * dy,
         "Rates multiply along a path, and add over paths."),
        ("bend-left-out", (dy @ W2.T) @ W1.T + dy,
         "On the way through the layers there is a tanh."),
    )  # fmt: skip
    agree(dW2, slopes(lambda moved: loss(x, W1, moved), W2), what="dW2")
    if same(dW1, x.T @ (dy @ W2.T)):
        raise Mistake("bend-left-out-of-dW1", "dx is right, but W1 acts through the tanh as well.")
    agree(dW1, slopes(lambda moved: loss(x, moved, W2), W1), what="dW1")
    agree(dx, straight, what="dx")


def _parts(found: Any, *wanted: tuple[str, tuple[int, ...]]) -> list[NDArray[Any]]:
    names = ", ".join(name for name, _ in wanted)
    found = parts(found, len(wanted), "other-results", f"Return ({names}), in this order.")
    pairs = zip(found, wanted, strict=True)
    return [array(part, name, shape=shape) for part, (name, shape) in pairs]
