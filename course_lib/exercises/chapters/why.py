"""Exercises on what learning is, what it is compared with, and what it costs.

Chapter: why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, in_double, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("why.baseline", "The most stupid answer", "easy", 10, [([3, 0, 1], 3), ([1, 2, 0], 2)])
def baseline(answer: Any, classes: Any, hits: int) -> None:
    """Compare on labels whose most frequent class differs between training and test."""
    train = np.repeat(classes, [6, 3, 1])
    test = np.repeat([classes[1], classes[0], classes[2]], [4, hits, 1])
    got = number(call(answer, train, test), "The share")
    refuse(
        got,
        ("chosen-on-the-test-labels", 4 / len(test),
         "The test labels chose the answer. Choose it as if they did not exist yet."),
        ("measured-on-the-training-labels", 6 / 10,
         "You chose well, but counted on the labels that you chose by. Count on the others."),
        ("guessing-among-the-classes", 1 / 3,
         "That is what guessing gives. One class is more frequent: always answer that one."),
    )  # fmt: skip
    agree(got, hits / len(test), what="The share of right answers on the test labels")


@exercise("why.threshold", "Learn the threshold", "medium", 20)
def threshold(answer: Any) -> None:
    """Count the mistakes of the threshold that was found, for data where short cuts fail."""
    values = np.array([0.5, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.2, 9.0, 30.0])
    labels = np.array([0, 0, 1, 0, 0, 0, 0, 1, 1, 1])
    middle = (values[labels == 0].mean() + values[labels == 1].mean()) / 2
    found = call(answer, values, labels)
    got = number(found, "The threshold")
    made = _mistakes(got, values, labels)
    if same(got, middle) or same(got, values.mean()):
        hint = "A mean follows the few large values. Let the number of mistakes decide,"
        raise Mistake("a-mean-instead-of-counting", f"{hint} nothing else.")
    if made == max(_mistakes(t, values, labels) for t in [0.0, *values]):
        hint = "You found the worst threshold: which side does your rule call 1?"
        raise Mistake("sides-swapped", hint)
    if made > 1:
        in_double(found, "The threshold")
    _at_best(made, 1, "ten values with one label that no threshold gets right")
    small = values / 100
    made = _mistakes(number(call(answer, small, labels), "The threshold"), small, labels)
    if made > 1:
        hint = "With all values divided by 100 it fails. Let the values say which thresholds"
        raise Mistake("thresholds-of-a-fixed-grid", f"{hint} to try.")
    ones = np.ones(10, int)
    if _mistakes(number(call(answer, values, ones), "The threshold"), values, ones):
        hint = "If every label is 1, every value has to lie above the threshold, the smallest too."
        raise Mistake("never-below-the-smallest", hint)
    made = _mistakes(number(call(answer, values, 1 - ones), "The threshold"), values, 1 - ones)
    _at_best(made, 0, "labels that are all 0")


@exercise("why.workers", "One gradient from unequal parts", "medium", 20, [(0,), (1,)])
def workers(answer: Any, seed: int) -> None:
    """Compare with the mean over all rows; then with a worker that has no row at all."""
    rng = np.random.default_rng(seed)
    slopes = [rng.normal(size=(n, 4)) for n in (5, 1, 3)]
    means, rows = [part.mean(axis=0) for part in slopes], [len(part) for part in slopes]
    want = np.concatenate(slopes).mean(axis=0)
    got = array(call(answer, means, rows), "The gradient", shape=(4,))
    refuse(
        got,
        ("mean-of-means", np.mean(means, axis=0),
         "One row of the small worker counts as much as five rows of the large one."),
        ("sum-of-means", np.sum(means, axis=0),
         "The sum of the means grows with the number of workers. It should be a mean itself."),
        ("sum-over-rows", want * 9,
         "You have the sum over all rows. One division is missing, and only one."),
    )  # fmt: skip
    agree(got, want, what="The gradient of the whole batch")
    with np.errstate(invalid="ignore"):
        nothing = np.zeros(4) / 0
    got = array(call(answer, [*means, nothing], [*rows, 0]), "The gradient", shape=(4,))
    if np.isnan(got).any():
        hint = "A worker without rows has the mean 0 / 0 = nan, and 0 times nan is nan, not 0."
        raise Mistake("empty-worker", hint)
    agree(got, want, what="The gradient with one worker that has no rows")


@exercise("why.best_number", "How many workers pay?", "hard", 25)
def best_number(answer: Any) -> None:
    """Compare the time of the number that was found with the best of all numbers."""
    cases = (
        (100.0, 1.0, 64),
        (6.2, 1.0, 64),
        (100.0, 1.0, 4),
        (1.0, 5.0, 8),
        (5.5, 1.0, 64),
        (100.0, 3.0, 64),
    )
    for compute, exchange, limit in cases:
        got = number(call(answer, compute, exchange, limit), "The number of workers")
        numbers = np.arange(1, limit + 1)
        times = compute / numbers + (numbers - 1) * exchange
        best = int(numbers[times.argmin()])
        case = f"compute = {compute:g}, exchange = {exchange:g}, limit = {limit}"
        root = np.sqrt(compute / exchange)
        if got != int(got):
            hint = f"For {case} you answer {got:.3g}. There is no third of a worker."
            raise Mistake("not-a-whole-number", hint)
        if got > limit:
            hint = f"For {case} you answer {got:g}. Then the best that can be had is at the limit."
            raise Mistake("more-than-there-are", hint)
        if got < 1:
            raise Mistake("less-than-one", f"For {case} you answer {got:g}: nobody works.")
        if got == limit != best:
            hint = f"For {case} you take all. Each costs an exchange, and the last gains little."
            raise Mistake("as-many-as-there-are", hint)
        if got != best and abs(got - root) < 1:
            hint = f"For {case} the time of {best:g} workers is lower than that of your {got:g}."
            raise Mistake("rounded-without-comparing", hint)
        agree(got, best, what=f"The best number for {case}")


def _mistakes(found: float, values: NDArray[Any], labels: NDArray[Any]) -> int:
    return int(np.sum((values > found) != labels))


def _at_best(made: int, best: int, case: str) -> None:
    if made > best:
        hint = f"For {case}, your threshold makes {made} mistakes; {best} can be reached."
        raise Mistake("not-the-best-threshold", hint)
