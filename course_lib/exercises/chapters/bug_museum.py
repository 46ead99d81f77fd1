"""Exercises on mistakes that raise no error, and on the checks that find them.

Chapter: the bug museum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.exercises.answers import agree, array, ask, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake
from course_lib.network import mlp

# What is to be judged, the right verdict, and the name and the hint for whoever judges otherwise.
_Case = tuple[Any, bool, str, str]


@exercise(
    "bug_museum.right_labels",
    "Each row its own label",
    "easy",
    10,
    [([0, 1, 1, 2, 0],), ([2, 0, 0, 1, 1],)],
)
def right_labels(answer: Any, labels: Any) -> None:
    """Five rows, three classes, labels that are not in order and do not cover all rows evenly."""
    p = np.array([[5, 3, 2], [1, 8, 1], [2, 2, 6], [4, 5, 1], [7, 1, 2]]) / 10.0
    p = np.roll(p, labels[0], axis=1)
    log_p, labels = np.log(p), np.array(labels)
    got = number(call(answer, log_p, labels), "The loss")
    want = -np.mean([np.log(p[i, c]) for i, c in enumerate(labels)])
    refuse(
        got,
        ("all-columns", -log_p[:, labels].mean(),
         "log_p[:, labels] is a table of 5 x 5 entries. One entry of each row is wanted."),
        ("sign-reversed", -want, "Logarithms of probabilities are negative, a loss is not."),
        ("sum-for-mean", 5 * want, "You add the rows up. The mean over the rows is wanted."),
    )  # fmt: skip
    if same(got, 5 * want / 3) or same(got, want / 3):
        raise Mistake("divided-by-classes", "The mean is over the rows; the classes do not count.")
    agree(got, want, what="The loss")


@exercise("bug_museum.combine", "Means of unequal shards", "medium", 15)
def combine(answer: Any) -> None:
    """Three ranks with 7, 2 and 3 rows; then a rank whose mean is nan because it has no rows."""
    rng = np.random.default_rng(0)
    rows, counts = rng.normal(size=(12, 4)), [7, 2, 3]
    means = [part.mean(axis=0) for part in np.split(rows, [7, 9])]
    got = array(call(answer, means, counts), "The gradient", shape=(4,))
    if same(got, np.mean(means, axis=0)):
        hint = "This is the mean of means. A rank with 7 rows has to count more than one with 2."
        raise Mistake("mean-of-means", hint)
    if same(got, np.sum(means, axis=0)):
        raise Mistake("sum-of-means", "You add the means: the step gets longer with every rank.")
    if same(got, rows.sum(axis=0)) or same(got, rows.sum(axis=0) / 3):
        hint = "You have the sum over all rows. Divide it by their number, not by that of ranks."
        raise Mistake("wrong-division", hint)
    agree(got, rows.mean(axis=0), what="The gradient")
    for rank in (1, 0, 3):
        some, numbers = means.copy(), counts.copy()
        some.insert(rank, np.full(4, np.nan))
        numbers.insert(rank, 0)
        got = array(call(answer, some, numbers), "The gradient", shape=(4,))
        if np.isnan(got).any():
            hint = f"Rank {rank} has no rows, its mean is nan, and 0 * nan is nan. Leave such ranks"
            raise Mistake("nan-spreads", f"{hint} out, wherever they stand.")
        agree(got, rows.mean(axis=0), what=f"The gradient where rank {rank} has no rows")
    broken = [means[0], np.array([1.0, np.nan, 1.0, 1.0]), means[2]]
    got = array(call(answer, broken, counts), "The gradient", shape=(4,))
    if not np.isnan(got[1]):
        hint = "A rank WITH rows sent a nan: its training has gone wrong. Your mean hides that."
        raise Mistake("real-nan-hidden", f"{hint} Leave out by the number of rows, not by the nan.")


@exercise("bug_museum.same_bits", "To the last bit", "medium", 15)
def same_bits(answer: Any) -> None:
    """Replicas that are equal, off by one bit, nan, of signed zeros, and of two types."""
    one = np.array([0.1, -2.5, 1e300, 0.0])
    last = np.nextafter(one, 1)
    nan = np.array([np.nan, 1.0])
    cases: list[_Case] = [
        ([one, one.copy(), one.copy()], True, "false-alarm",
         "Three copies of one array were called different."),
        ([one, last, one], False, "rounding-forgiven",
         "Arrays that differ in the last bit were called equal. Replicas have no such excuse."),
        ([one, one.copy(), last], False, "not-all-compared",
         "The third replica differs from the others, and it went unnoticed."),
        ([nan, nan.copy()], True, "nan-unequal",
         "The same bits twice, a nan among them: nan == nan is False. Compare bytes."),
        ([one, one * [1, 1, 1, -1]], False, "signed-zero",
         "0.0 and -0.0 are equal as numbers, but their bits are not."),
        ([np.zeros(2), np.zeros(4, np.float32)], False, "type-ignored",
         "Two float64 zeros and four float32 zeros: as many bytes, but not the same array."),
        ([np.zeros(2), np.zeros(2, np.int64)], False, "type-ignored",
         "Zeros of float64 and of int64 have the same shape and the same bits, not the same type."),
        ([np.zeros((2, 3)), np.zeros((3, 2))], False, "shape-ignored",
         "Six zeros in two rows and in three: the same type and bits, but not the same shape."),
    ]  # fmt: skip
    ask(answer, *cases)


_NET = mlp([5, 4, 3])  # ReLU, softmax cross-entropy; 39 parameters


def _right(theta: Array, x: Array, y: Array) -> tuple[float, Array]:
    return _NET.loss_and_grad(np.asarray(theta, float), np.asarray(x, float), np.asarray(y))


def _summed(theta: Array, x: Array, y: Array) -> tuple[float, Array]:
    loss, g = _right(theta, x, y)
    return loss * len(x), g * len(x)


def _with(change: Callable[[Array], Array]) -> Any:
    """Return a program with the right loss and a changed gradient."""

    def program(theta: Array, x: Array, y: Array) -> tuple[float, Array]:
        loss, g = _right(theta, x, y)
        return loss, change(g)

    return program


def _no_slope(theta: Array, x: Array, y: Array) -> tuple[float, Array]:
    loss, g = _right(theta, x, y)
    first, _, last = _NET.unpack(np.asarray(theta, float))
    logits = np.maximum(np.asarray(x) @ first["W"] + first["b"], 0) @ last["W"] + last["b"]
    d = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    d1 = (d - np.eye(3)[np.asarray(y)]) @ last["W"].T / len(x)
    g[:20], g[20:24] = (np.asarray(x).T @ d1).ravel(), d1.sum(axis=0)
    return loss, g


def _first_row(theta: Array, x: Array, y: Array) -> tuple[float, Array]:
    loss, g = _right(theta, x, y)
    g[36:] = _right(theta, x[:1], y[:1])[1][36:]
    return loss, g


@exercise("bug_museum.examiner", "Write the examiner", "hard", 30)
def examiner(answer: Any) -> None:
    """Two programs whose gradient is right, and six whose gradient is not."""
    programs: list[_Case] = [
        (_right, True, "false-alarm", "A correct program was rejected. Is the limit too strict, or "
         "was it asked at a corner of ReLU?"),
        (_summed, True, "sum-rejected", "This program adds up its rows, in the loss and in the "
         "gradient: the gradient is that of its loss. Nothing else was asked."),
        (_with(lambda g: g / 2), False, "direction-only", "A gradient of half the length passed. "
         "It points downhill, so the loss falls; compare its length with differences of the loss, "
         "too."),
        (_with(lambda g: np.r_[g[:20], np.full(4, g[20:24].sum()), g[24:]]), False, "bias-missed",
         "Hidden biases that all get the same number passed."),
        (_first_row, False, "one-row-only", "A program that looks at the first row only for its "
         "last bias passed. With one row, first and all are the same."),
        (_no_slope, False, "all-units-on", "A program without the derivative of ReLU passed. It "
         "shows only where some units are off: use weights and inputs of both signs."),
        (_with(lambda g: np.append(g[:-1], 0.0)), False, "not-every-parameter", "The gradient of "
         "the last bias is zero in this program, and it passed. Ask for all 39 slopes."),
        (_with(lambda g: g * 1.0003), False, "too-tolerant", "A gradient that is 0.03 percent too "
         "long passed. In float64 you can ask for a relative error below 1e-7."),
    ]  # fmt: skip
    ask(answer, *programs)
