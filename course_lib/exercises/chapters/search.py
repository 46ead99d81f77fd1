"""Exercises on searches: what to draw, who goes on, what it takes, and what the winner is worth.

Chapter: search.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise(
    "search.log_uniform",
    "From an even draw to a factor",
    "easy",
    10,
    [([0.0, 0.25, 0.5, 0.9], 0.002, 5.0), ([0.75, 0.1], 1e-5, 0.02)],
)
def log_uniform(answer: Any, u: Any, low: float, high: float) -> None:
    """Compare with the geometric mean of the ends, weighted by u."""
    u = np.array(u)
    want = low ** (1 - u) * high**u
    got = array(call(answer, u, low, high), "The draws", shape=u.shape)
    if same(got, low + u * (high - low)):
        raise Mistake(
            "evenly-drawn",
            "Your draws are even. Half of them should lie below the root of low times high.",
        )
    if same(got, np.log(want)) or same(got, np.log10(want)):
        raise Mistake("logarithm-returned", "That is the logarithm of the draw. Go back from it.")
    if same(got, 10 ** np.log(want)) or same(got, np.exp(np.log10(want))):
        raise Mistake("bases-mixed", "You take the logarithm in one base and return in another.")
    if same(got, low ** (1 - u[::-1]) * high ** u[::-1]) or same(got, low**u * high ** (1 - u)):
        raise Mistake("ends-swapped", "At u = 0 the draw is the lower end.")
    if same(got, np.exp(u * np.log(high / low))):
        raise Mistake("starts-at-one", "You stretch the range but start at 1, not at the low end.")
    agree(got, want, what="The draw", inputs={"u": u})


@exercise("search.promote", "Who goes on?", "medium", 15)
def promote(answer: Any) -> None:
    """Give the scores in several orders of arrival, with ties, and with failed trials."""
    scores = {4: 0.7, 1: 0.9, 6: None, 3: 0.7, 0: 0.2, 5: 0.7, 2: None}
    orders = [list(scores), sorted(scores), sorted(scores, reverse=True)]
    found = []
    for order in orders:
        got = call(answer, {trial: scores[trial] for trial in order}, 3)
        found.append(_trials(got))
    if any({2, 6} & set(got) for got in found):
        raise Mistake("failed-promoted", "Trials 2 and 6 have no score: they failed.")
    if any(0 in got for got in found):
        raise Mistake("worst-promoted", "Trial 0 has the lowest score, and higher is better.")
    if any(len(got) != 3 for got in found):
        hint = f"3 may go on; you let {len(found[0])} go on. Ties have to be broken."
        raise Mistake("wrong-number", hint)
    if len({tuple(sorted(got)) for got in found}) > 1:
        hint = "The choice among equal scores depends on who arrived first. The lower number wins."
        raise Mistake("ties-by-arrival", hint)
    if any(sorted(got) != [1, 3, 4] for got in found):
        hint = "1 is the best; 3, 4 and 5 are equal, and the lower numbers go on."
        raise Mistake("ties-to-the-higher-number", hint)
    if any(got != [1, 3, 4] for got in found):
        raise Mistake("not-sorted", "Return the numbers in increasing order.")
    if _trials(call(answer, scores, 1)) != [1]:
        raise Mistake("always-as-many", "n = 1 may go on; it is not always the same number.")
    few = _trials(call(answer, {0: None, 1: 0.5, 2: None}, 2))
    if few != [1]:
        hint = "If fewer have a score than may go on, only those go on."
        raise Mistake("places-filled-up", hint)


def _trials(got: Any) -> list[int]:
    found = array(got, "The list of trials")
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise Mistake("not-a-list-of-trials", "Return a list with the numbers of the trials.")
    return [int(trial) for trial in found]


def _rungs(n: int, r: int, eta: int) -> list[tuple[int, int]]:
    rungs = []
    while n:
        rungs.append((n, r))
        n, r = n // eta, r * eta
    return rungs


@exercise("search.halving_time", "How long does halving take?", "medium", 20)
def halving_time(answer: Any) -> None:
    """Compare with rungs that are run wave by wave, each trial going on from its state."""
    what = "The time"
    for n, r, eta, p in ((27, 1, 3, 4), (30, 2, 3, 8), (16, 1, 2, 16), (10, 3, 2, 1)):
        rungs = _rungs(n, r, eta)
        before = [0, *(budget for _, budget in rungs)]
        more = [budget - b for (_, budget), b in zip(rungs, before, strict=False)]
        waves = [math.ceil(k / p) for k, _ in rungs]
        want = sum(w * m for w, m in zip(waves, more, strict=True))
        got = number(call(answer, n, r, eta, p), what)
        if same(got, want):
            continue
        work = sum(k * m for (k, _), m in zip(rungs, more, strict=True))
        if same(got, work / p) or same(got, math.ceil(work / p)):
            hint = "You divide the work by p. The last rung has one trial, and p - 1 workers watch."
            raise Mistake("idle-workers-forgotten", hint)
        refuse(
            got,
            ("state-forgotten", sum(w * b for w, (_, b) in zip(waves, rungs, strict=True)),
             "You train from the start in each rung. A trial goes on from its state."),
            ("work-instead-of-time", work, "That is the time of one worker alone."),
            ("enough-workers-assumed", sum(more), f"There are {p} workers for {n} trials."),
        )  # fmt: skip
        agree(got, want, what=what, inputs={"n": n, "p": p})


@exercise("search.honest_score", "What is the winner worth?", "hard", 30)
def honest_score(answer: Any) -> None:
    """Give a table of folds on which the recipes differ, then one of coins worth one half."""
    rng = np.random.default_rng(2)
    small = np.round(rng.uniform(0.4, 0.9, size=(4, 5)), 2)
    coins = rng.binomial(40, 0.5, size=(200, 5)) / 40
    for table in (small, coins):
        k = table.shape[1]
        chosen = [int(np.argmax(np.delete(table, j, axis=1).mean(axis=1))) for j in range(k)]
        want = np.mean([table[c, j] for j, c in enumerate(chosen)])
        got = number(call(answer, table), "The score")
        if same(got, want):
            continue
        refuse(
            got,
            ("winner-flattered", table.mean(axis=1).max(),
             "The winner was chosen with the same folds that praise it now."),
            ("chosen-on-its-own-fold", table.max(axis=0).mean(),
             "In each fold you take the best of that fold. Choose with the OTHER folds."),
            ("nobody-chosen", table.mean(), "That is the mean of all configurations."),
        )  # fmt: skip
        inner = [np.delete(table, j, axis=1).mean(axis=1).max() for j in range(k)]
        if same(got, np.mean(inner)):
            hint = "You choose with the other folds, rightly, and then report those folds as well."
            raise Mistake("reported-where-chosen", hint)
        if same(got, table.mean(axis=0).max()):
            raise Mistake("rows-for-columns", "A row is a configuration, a column a fold.")
        agree(got, want, what="The score")
