"""Exercises on text, images, ratings and DNA.

Chapter: applications.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise(
    "applications.bits",
    "The price of a word",
    "easy",
    10,
    [(np.array([0.5, 0.125, 0.25, 0.03]),), (np.array([0.1, 1.0]),)],
)
def bits(answer: Any, p: Any) -> None:
    """Compute bits per letter of a word whose letters had unequal probabilities."""
    got = number(call(answer, p), "The price")
    price = -np.log2(p)
    refuse(
        got,
        ("nats", -np.log(p).mean(),
         "This is measured with the natural logarithm; bits take log2."),
        ("log-of-the-mean", -math.log2(p.mean()), "First the price of each letter, then the mean."),
        ("sum-not-mean", price.sum(), "This is the price of the whole word: per letter is asked."),
        ("negative", -price.mean(), "A price is positive: the logarithm of a probability is not."),
    )  # fmt: skip
    agree(got, price.mean(), what="The price per letter", inputs={"p": p})


# Which rows of the table were looked up, and how many it has; one is used three times.
_USES: list[tuple[Any, int]] = [([[1, 3], [1, 0], [4, 1]], 5), ([[2, 0, 2], [2, 5, 1]], 7)]


@exercise("applications.embedding_gradient", "Back into the table", "medium", 15, _USES)
def embedding_gradient(answer: Any, ids: Any, count: int) -> None:
    """Send a gradient back to a table of five rows, of which one is used three times."""
    ids = np.array(ids)
    dy = count + np.arange(2.0 * ids.size).reshape(*ids.shape, 2)
    want = np.einsum("nkc,nkd->cd", np.eye(count)[ids], dy)
    got = array(call(answer, ids, dy, count), "The gradient")
    if got.shape == dy.shape:
        raise Mistake("of-the-rows", f"This is a gradient per use. The table has {count} rows.")
    last = np.zeros((count, 2))
    last[ids] = dy
    if same(got, last):
        hint = "A row was used three times, and only one of its gradients is there. "
        raise Mistake("added-once", hint + "With repeated numbers, NumPy's W[ids] += g adds once.")
    uses = np.bincount(ids.ravel(), minlength=count)[:, None]
    if same(got, want / np.maximum(uses, 1)):
        raise Mistake("averaged", "Effects along several paths add; here they were averaged.")
    agree(got, want, what="The gradient of the table")


@exercise("applications.conv1d", "A convolution over a sequence", "medium", 20, [(0, 3), (1, 2)])
def conv1d(answer: Any, seed: int, size: int) -> None:
    """Slide filters of size 3 that are not symmetric over two channels."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(2, 7, 2)), rng.normal(size=(size, 2, 4))

    def slide(x: Any, w: Any) -> Any:
        windows = [x[:, j : j + size].reshape(len(x), -1) for j in range(x.shape[1] - size + 1)]
        return np.stack([v @ w.reshape(-1, w.shape[2]) for v in windows], axis=1)

    want, got = slide(x, w), array(call(answer, x, w), "The output")
    if same(got, slide(x, w[::-1])):
        hint = "Yours turns the filter around first, as mathematicians do. Networks do not."
        raise Mistake("flipped", hint)
    if same(got, want[:, :-1]):
        raise Mistake("one-short", "One place in which the window fits is left out.")
    if got.shape == (2, 7, 4):
        hint = "Yours has an output for windows that stick out over the end. Leave these out."
        raise Mistake("padded", hint)
    if same(got, slide(x[..., ::-1], w)):
        raise Mistake("channels-swapped", "The channels of x and w must be matched in order.")
    if got.shape == (2, 8 - size, 2, 4) or same(got, slide(x[..., :1], w[:, :1])):
        raise Mistake("channels-not-summed", "One output per filter: add over the channels, too.")
    agree(got, want, what="The output")
    agree(call(answer, x[:1, :size], w), want[:1, :1], what="The output for one window")


@exercise("applications.both_strands", "Both strands of DNA", "hard", 30, [(1,), (3,)])
def both_strands(answer: Any, seed: int) -> None:
    """Plant a motif forwards, backwards, complemented, and both; compare all scores."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(5, 4))
    s = rng.integers(4, size=(12, 14))
    motif = w.argmax(axis=1)
    s[0, 4:9], s[1, 2:7], s[2, 2:7] = motif, motif[::-1], 3 - motif
    s[3, 9:14] = 3 - motif[::-1]  # at the very end, on the other strand

    def scan(s: Any) -> Any:
        return np.stack([w[np.arange(5), s[:, j : j + 5]].sum(axis=1) for j in range(10)], axis=1)

    forward, other = scan(s), scan(3 - s[:, ::-1])
    want = np.maximum(forward.max(axis=1), other.max(axis=1))
    got = array(call(answer, s, w), "The scores", shape=(12,))
    refuse(
        got,
        ("one-strand", forward.max(axis=1), "The other strand is not scanned."),
        ("not-complemented", np.maximum(forward, scan(s[:, ::-1])).max(axis=1),
         "The other strand is read backwards AND has the partner of each base."),
        ("not-reversed", np.maximum(forward, scan(3 - s)).max(axis=1),
         "The other strand has the partner of each base AND is read backwards."),
        ("added", forward.max(axis=1) + other.max(axis=1),
         "A protein sits on one strand: take the better of the two, not their sum."),
        ("last-place-missing", np.maximum(forward, other)[:, :-1].max(axis=1),
         "The motif may also start at the last place in which it fits."),
    )  # fmt: skip
    agree(got, want, what="The score of a sequence")
