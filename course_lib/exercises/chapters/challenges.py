"""Exercises on few bits, importance and distillation.

Chapter: challenges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, parts, refuse, same, slopes
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("challenges.quantise", "Round to a few bits, unit by unit", "easy", 10, [(0, 4), (1, 6)])
def quantise(answer: Any, seed: int, bits: int) -> None:
    """Compare with a loop over the entries; the columns differ in size, and one is zero."""
    W = np.random.default_rng(seed).normal(size=(5, 4)) * [1.0, 30.0, 0.0, 0.1]
    levels = 2 ** (bits - 1) - 1
    want_scale = np.array([max(abs(v) for v in column) / levels for column in W.T])
    want = [[round(v / s) if s else 0 for v, s in zip(row, want_scale, strict=True)] for row in W]
    given = call(answer, W, bits)
    given = parts(given, 2, "not-a-pair", "Return two things: the integers, then the scales.")
    q, scale = array(given[0], "q", shape=W.shape), array(given[1], "scale")
    if same(scale, np.abs(W).max() / levels):
        hint = "Your one scale is that of the largest unit. The others lose their bits to it."
        raise Mistake("one-scale-for-all", hint)
    if scale.shape == (5,):
        raise Mistake("scale-per-row", "A row is an input. A unit is a column.")
    for divisor in (levels + 1, 2 * levels + 1, 2 * levels + 2):
        if same(scale, want_scale * levels / divisor):
            hint = f"You divide by {divisor}. How many integers lie above zero if one bit is the"
            raise Mistake("wrong-range", f"{hint} sign and the range is symmetric?")
    if not np.isfinite(q).all():
        raise Mistake("not-finite", "A column of zeros has the scale 0, and 0 / 0 is not 0.")
    if q.dtype.kind not in "iu":
        raise Mistake("not-integers", f"q should have an integer dtype, but yours is {q.dtype}.")
    with np.errstate(invalid="ignore"):
        ratio = np.nan_to_num(W / want_scale)
    if same(q, np.trunc(ratio)):
        hint = "A conversion to int cuts the digits off: 2.9 becomes 2. Round first."
        raise Mistake("cut-off-not-rounded", hint)
    agree(scale, want_scale, what="scale")
    agree(q, want, what="q")


@exercise(
    "challenges.importance", "Permutation importance for any model", "medium", 15, [(0, 3), (1, 6)]
)
def importance(answer: Any, seed: int, repeats: int) -> None:
    """Look at what the score is asked for: one column shuffled, the rest as it was."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(12, 3)), np.array([2.0, 0.0, -1.0 - seed])
    y = x @ w + 0.1 * rng.normal(size=12)
    asked: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def score(images: Any, labels: Any) -> float:
        asked.append((np.array(images, float), np.array(labels, float)))
        return _goodness(images, labels, w) if asked[-1][0].shape == x.shape else 0.0

    got = array(call(answer, score, x, y, repeats, rng), "The importance", shape=(3,))
    lost: list[list[float]] = [[], [], []]
    for images, labels in asked:
        column = _shuffled_column(images, labels, x, y)
        if column is not None:
            lost[column].append(_goodness(x, y, w) - _goodness(images, labels, w))
    if any(len(values) < repeats for values in lost):
        counts = [len(values) for values in lost]
        hint = f"With repeats = {repeats} you asked for shuffled columns {counts} times."
        raise Mistake("too-few-shuffles", hint)
    want = np.array([np.mean(values) for values in lost])
    if same(got, -want):
        hint = "A column that matters lowers the score; its importance is positive."
        raise Mistake("sign-reversed", hint)
    if same(got, _goodness(x, y, w) - want):
        hint = "These are the scores after shuffling. What was lost is asked for."
        raise Mistake("score-not-loss", hint)
    agree(got, want, what="The importance")


def _goodness(x: NDArray[Any], y: NDArray[Any], w: NDArray[Any]) -> float:
    return float(-np.mean((x @ w - y) ** 2))


def _shuffled_column(
    images: NDArray[Any], labels: NDArray[Any], x: NDArray[Any], y: NDArray[Any]
) -> int | None:
    if not np.array_equal(labels, y):
        raise Mistake("labels-shuffled", "The labels stay as they are; shuffle a column of x.")
    if images.shape != x.shape:
        hint = f"The model is used to {x.shape[1]} columns, and you give it {images.shape}."
        raise Mistake("columns-removed", hint)
    changed = np.flatnonzero((images != x).any(axis=0))
    if len(changed) == 0:
        return None
    if not np.array_equal(np.sort(images, axis=0), np.sort(x, axis=0)):
        hint = "The values of the column should stay, in another order. Yours are new values."
        raise Mistake("values-changed", hint)
    if len(changed) > 1:
        if sorted(map(tuple, images)) == sorted(map(tuple, x)):
            hint = "You shuffle whole rows. Shuffle one column and leave the others in place."
            raise Mistake("rows-shuffled", hint)
        hint = "More than one column is shuffled at a time. Start from the data as it was."
        raise Mistake("not-put-back", hint)
    return int(changed[0])


@exercise(
    "challenges.distil", "The gradient of a student", "hard", 20, [(2, 2.5, 0.3), (3, 4.0, 0.6)]
)
def distil(answer: Any, seed: int, T: float, alpha: float) -> None:
    """Compare with the complex-step derivative of the loss, which has no rounding error."""
    rng = np.random.default_rng(seed)
    z, t, y = rng.normal(size=(4, 3)), 2 * rng.normal(size=(4, 3)), np.roll([2, 0, 1, 1], seed)
    n = 4
    p, q, one, hot = _softmax(t / T), _softmax(z / T), _softmax(z), np.eye(3)[y]

    def loss(logits: NDArray[Any]) -> Any:
        soft = -(p * np.log(_softmax(logits / T))).sum() / n * T**2
        hard = -(hot * np.log(_softmax(logits))).sum() / n
        return alpha * soft + (1 - alpha) * hard

    want = slopes(loss, z)
    got = array(call(answer, z, t, y, T, alpha), "The gradient", shape=z.shape)
    soft, hard = q - p, one - hot
    refuse(
        got,
        ("weights-swapped", ((1 - alpha) * T * soft + alpha * hard) / n,
         "alpha is the weight of the teacher, 1 - alpha that of the labels."),
        ("t-squared-forgotten", (alpha / T * soft + (1 - alpha) * hard) / n,
         "Your teacher's part is too small by T squared, which stands in front of the loss."),
        ("inner-derivative-forgotten", (alpha * T**2 * soft + (1 - alpha) * hard) / n,
         "Your teacher's part is too large by T: z is divided by T inside the softmax."),
        ("labels-at-temperature", (alpha * T * soft + (1 - alpha) * (q - hot)) / n,
         "The labels are compared with the student's probabilities at temperature 1."),
        ("sum-not-mean", n * want, "Both losses are means over the rows."),
        ("sign-reversed", -want, "Each entry is right but for its sign."),
    )  # fmt: skip
    agree(got, want, what="The gradient")


def _softmax(z: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(z)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
