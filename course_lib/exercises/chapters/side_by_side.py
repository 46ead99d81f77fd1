"""Exercises on the same computation in two libraries.

Chapter: side by side.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, call, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise(
    "side_by_side.state_dict",
    "The weights, for PyTorch",
    "easy",
    10,
    [(1, ((4, 3), (3, 5), (5, 2))), (7, ((2, 4), (4, 3)))],
)
def state_dict(answer: Any, first: int, shapes: Any) -> None:
    """Layers, none of them square: names, order and layout of all arrays."""
    numbers = count(first)
    layers = [
        (np.array([[next(numbers) for _ in range(n)] for _ in range(m)], float), np.arange(n) / 8)
        for m, n in shapes
    ]
    got = call(answer, layers)
    if not isinstance(got, dict):
        raise Mistake("not-a-dict", f"A dict from names to arrays is asked for, not {got!r:.60}.")
    if "1.weight" in got and f"{2 * len(shapes) - 2}.weight" not in got:
        hint = "nn.ReLU() has no parameters, but it has a number: the second Linear is module 2."
        raise Mistake("relu-not-counted", hint)
    names = [f"{2 * i}.{kind}" for i in range(len(shapes)) for kind in ("weight", "bias")]
    if set(got) != set(names):
        raise Mistake("wrong-names", f"The names should be {', '.join(names)}.")
    for i, (w, b) in enumerate(layers):
        weight = array(got[f"{2 * i}.weight"], f"{2 * i}.weight")
        if weight.shape == w.shape:
            hint = "nn.Linear stores its weight as (fan_out, fan_in). Yours has our layout."
            raise Mistake("not-transposed", hint)
        if same(weight, w.reshape(w.shape[::-1])):
            hint = "The shape is right, the numbers are not: reshape keeps the order in memory. "
            raise Mistake("reshaped", hint + "Rows have to become columns.")
        agree(weight, w.T, what=f"{2 * i}.weight")
        agree(got[f"{2 * i}.bias"], b, what=f"{2 * i}.bias")


@exercise("side_by_side.first_difference", "The first number that differs", "medium", 15)
def first_difference(answer: Any) -> None:
    """Pairs of records that differ early a little, in scale, in shape, or by a nan."""
    base = {"z": np.array([1.0, 2.0]), "a": np.zeros(3), "loss": np.array(5.0)}
    base["dz"] = 1e-12 * np.array([3.0, 4.0])

    def said(*, limit: float = 1e-10, **changes: Any) -> Any:
        return call(answer, base, {**base, **changes}, limit=limit)

    if said() != "equal":
        hint = "The two records are the same, one array in them is all zeros: return 'equal'."
        raise Mistake("equal-not-recognised", hint)
    if said(z=base["z"] * (1 + 1e-8), loss=np.array(50.0)) != "z":
        hint = "z differs by 1e-8, the loss by far more, but z comes first. Return at once."
        raise Mistake("largest-instead-of-first", hint)
    if said(dz=2 * base["dz"]) != "dz":
        hint = "dz is twice what it should be, and tiny. Compare relative to the size of the array."
        raise Mistake("absolute-difference", hint)
    if said(dz=np.array([np.nan, 4e-12])) != "dz":
        hint = "A nan went through as equal. Comparisons with nan are False: ask 'not below'."
        raise Mistake("nan-passes", hint)
    if said(z=np.array([[1.0, 2.0], [1.0, 2.0]])) != "z":
        hint = "Arrays of the shapes (2,) and (2, 2) were taken as equal: they broadcast."
        raise Mistake("shape-ignored", hint)
    if said(dz=base["dz"] * [1, 1 + 1e-13]) != "equal":
        raise Mistake("too-strict", "A relative difference of 1e-13 is below the limit of 1e-10.")
    if said(z=1.01 * base["z"], limit=0.1) != "equal":
        raise Mistake("limit-ignored", "With limit=0.1, arrays that are 1 % apart are equal.")
    if said(z=base["z"] * (1 + 1e-8), limit=1e-6) != "equal" or said(dz=0.9 * base["dz"]) != "dz":
        raise Mistake("limit-ignored", "The limit that is given decides, and nothing else.")
    broken = {"x": np.array([1.0, np.nan]), "y": np.ones(2)}
    if call(answer, broken, {name: value.copy() for name, value in broken.items()}) != "x":
        hint = "The same nan in both records went through as equal. A nan differs from everything,"
        raise Mistake("nan-equals-nan", f"{hint} also from a nan with the same bits.")
    if call(answer, base, dict(reversed(base.items()))) != "equal":
        hint = "The second record has the same arrays in another order. Compare by name."
        raise Mistake("compared-by-place", hint)


@exercise(
    "side_by_side.adam",
    "Adam, as PyTorch has it",
    "medium",
    20,
    [(0.8, 0.95, 1e-8, 0.1), (0.5, 0.9, 1e-3, 0.02)],
)
def adam(answer: Any, beta1: float, beta2: float, eps: float, lr: float) -> None:
    """Small gradients, in the first step and in a later one, show where epsilon stands."""
    g = np.array([2e-8, -1e-8, 5 * lr])
    m, s = np.array([1e-8, 2e-8, -0.1]), np.array([4e-16, 1e-16, 0.2])
    for t, m0, s0 in ((1, np.zeros(3), np.zeros(3)), (4, m, s)):
        got = call(answer, g, m0, s0, t, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        got = parts(got, 3, "not-three", "Return three things: the change, m and s.")
        m1, s1 = beta1 * m0 + (1 - beta1) * g, beta2 * s0 + (1 - beta2) * g * g
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        want = -lr * (m1 / c1) / (np.sqrt(s1 / c2) + eps)
        change = array(got[0], "The change", shape=g.shape)
        agree(got[1], m1, what="m", atol=0.0)
        agree(got[2], s1, what="s", atol=0.0)
        refuse(
            change,
            ("uphill", -want, "The change has the wrong sign: theta goes against the mean."),
            ("no-bias-correction", -lr * m1 / (np.sqrt(s1) + eps),
             "The means start at zero and are too small at first: divide by 1 - beta**t."),
            ("epsilon-before-correction", -lr * np.sqrt(c2) / c1 * m1 / (np.sqrt(s1) + eps),
             "This is the cheaper form, with epsilon added before the correction of s."),
            ("epsilon-inside-root", -lr * (m1 / c1) / np.sqrt(s1 / c2 + eps),
             "Take the root first, then add epsilon."),
        )  # fmt: skip
        agree(change, want, what=f"The change in step {t}", inputs={"g": g})


# Labels of four rows, and the weights of the three classes.
_WEIGHTED = [([2, 0, 1, 0], [1.0, 4.0, 0.5]), ([1, 1, 0, 2], [2.0, 0.25, 3.0])]


@exercise("side_by_side.class_weights", "Cross-entropy with class weights", "hard", 30, _WEIGHTED)
def class_weights(answer: Any, labels: Any, weights: Any) -> None:
    """Four rows, unequal weights; the gradient by differences of the loss; then huge logits."""
    logits = np.array([[0.2, -1.0, 0.5], [1.5, 0.3, -0.2], [0.0, 0.1, 0.2], [-1.0, 2.0, 0.4]])
    labels, weights = np.array(labels), np.array(weights)

    def loss_at(z: np.ndarray) -> float:
        log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        return float(-np.average(log_p[np.arange(4), labels], weights=weights[labels]))

    got = call(answer, logits, labels, weights)
    got = parts(got, 2, "not-two", "Return two things: the loss and its gradient.")
    loss, total = number(got[0], "The loss"), weights[labels].sum()
    if same(loss, loss_at(logits) * total / 4):
        hint = "You divide by the number of rows. PyTorch divides by the sum of the rows' weights."
        raise Mistake("divided-by-rows", hint)
    if same(loss, loss_at(logits) * total):
        raise Mistake("not-a-mean", "This is the weighted sum; divide by the sum of the weights.")
    agree(loss, loss_at(logits), what="The loss")
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)) - np.eye(3)[labels]
    want = weights[labels][:, None] * p / total
    gradient = array(got[1], "The gradient", shape=logits.shape)
    if same(gradient, p / 4) or same(gradient, p / total):
        hint = "The loss is weighted, its gradient is not: each row gets the weight of its label."
        raise Mistake("gradient-not-weighted", hint)
    if same(gradient, weights * p / total):
        hint = "Each column got a weight. It is the row that has one: that of its label."
        raise Mistake("weights-by-column", hint)
    agree(gradient, want, what="The gradient")
    far = call(answer, 1000 * logits, labels, weights)
    far = number(far[0], "The loss"), array(far[1], "The gradient", shape=logits.shape)
    if not np.isfinite(far[0]) or not np.isfinite(far[1]).all():
        hint = "Logits near 1000 overflow in exp. Subtract the largest of each row first."
        raise Mistake("overflow", hint)
    agree(far[0], loss_at(1000 * logits), what="The loss of large logits")
