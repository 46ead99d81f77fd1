"""Exercises on error bars, on folds, on leaks, and on leaving one out.

Chapter: batches and validation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, ask, call, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("batches_validation.samples_needed", "Enough to tell them apart", "easy", 10)
def samples_needed(answer: Any) -> None:
    """Compare with the smallest n whose standard error of the difference is small enough."""
    for a, b, z in ((0.9, 0.93, 2), (0.62, 0.57, 3), (0.99, 0.983, 2)):
        got = number(call(answer, a, b, errors=z), "The number of samples")
        one, two, d = a * (1 - a), b * (1 - b), abs(a - b)
        exact = z**2 * (one + two) / d**2
        want = math.ceil(exact)
        for name, value, hint in (
            ("one-error-bar-only", z**2 * one / d**2,
             "You took the error of one network alone. The other was measured as well."),
            ("one-error-bar-only", z**2 * two / d**2,
             "You took the error of one network alone. The other was measured as well."),
            ("errors-added", z**2 * (math.sqrt(one) + math.sqrt(two)) ** 2 / d**2,
             "You add standard errors. Of independent measurements the variances add up."),
            ("errors-not-squared", z * (one + two) / d**2,
             "The number of standard errors goes under the root with the rest: square it, too."),
        ):  # fmt: skip
            refuse(got, (name, math.ceil(value), hint), (name, value, hint))
        if same(got, want - 1) or same(got, exact):
            hint = "Return a whole number, and one that is enough: round up."
            raise Mistake("not-rounded-up", hint)
        agree(got, want, what="The number of samples", inputs={"a": a, "b": b, "errors": z})


@exercise(
    "batches_validation.grouped_folds", "Folds that keep patients whole", "medium", 20, [(0,), (1,)]
)
def grouped_folds(answer: Any, seed: int) -> None:
    """Check what folds must be, for patients whose rows are scattered over the file."""
    rng = np.random.default_rng(seed)
    patients = np.array([104, 108, 112, 131, 116, 120, 124, 144, 128, 151, 160])
    groups = rng.permutation(np.repeat(patients, [1, 6, 2, 3, 9, 1, 4, 2, 5, 1, 7]))
    n = len(groups)
    for k in (3, 5):
        folds = [_pair(found, n) for found in call(list, call(answer, groups, k))]
        if len(folds) != k:
            hint = f"With k = {k} you return {len(folds)} folds."
            raise Mistake("wrong-number-of-folds", hint)
        for rest, fold in folds:
            if np.intersect1d(rest, fold).size:
                hint = "A row is in both parts of the same pair."
                raise Mistake("trained-on-what-it-judges", hint)
            both = np.intersect1d(groups[rest], groups[fold])
            if both.size:
                hint = f"Patient {both[0]} has rows on both sides. Deal out patients, not rows."
                raise Mistake("patients-torn-apart", hint)
            if not len(rest) or not len(fold):
                raise Mistake("empty-part", "One of your folds has nothing to train or to judge.")
        times = Counter(int(row) for _, fold in folds for row in fold)
        if max(times.values()) > 1:
            hint = "Some rows are held out in more than one fold. Each has its turn once."
            raise Mistake("held-out-twice", hint)
        if len(times) < n:
            hint = f"{n - len(times)} of {n} rows are never held out."
            raise Mistake("never-held-out", hint)
        if any(len(rest) + len(fold) < n for rest, fold in folds):
            hint = "Whoever is not held out is trained on: some rows are in neither part."
            raise Mistake("rows-left-out", hint)
        sizes = [len(np.unique(groups[fold])) for _, fold in folds]
        if max(sizes) > min(sizes) + 1:
            hint = f"Your folds have {sizes} patients. The numbers may differ by one at most."
            raise Mistake("folds-unequal", hint)


def _pair(found: Any, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the two arrays of row numbers of a fold."""
    hint = "Each fold is a pair: the rows to train on, the rows held out."
    pair = parts(found, 2, "no-pairs", hint)
    rest, fold = (array(part, "Each part of a fold").ravel() for part in pair)
    if any(part.dtype.kind not in "iu" and part.size for part in (rest, fold)):
        raise Mistake("no-row-numbers", "Each part of a fold should hold row numbers (integers).")
    rest, fold = rest.astype(int), fold.astype(int)
    if any(part.size and not 0 <= part.min() <= part.max() < n for part in (rest, fold)):
        hint = f"There are rows 0 to {n - 1}. Are yours the numbers of patients?"
        raise Mistake("patients-instead-of-rows", hint)
    return rest, fold


@exercise("batches_validation.find_leak", "Does anything leak?", "medium", 20)
def find_leak(answer: Any) -> None:
    """Try the learner's test on a pipeline without a leak, and on three with one."""
    ask(
        answer,
        (_pipeline(""), False, "false-alarm",
         "You accuse a pipeline that looks at its own rows only. Change nothing in these, and ask "
         "both times for the scores of the same points."),
        (_pipeline("statistics"), True, "statistics-not-noticed",
         "A pipeline whose mean and standard deviation come from all inputs gets away. A leak "
         "need not change the accuracy: compare scores."),
        (_pipeline("choice"), True, "choice-not-noticed",
         "A pipeline that chooses its inputs by looking at all rows gets away. Has it enough "
         "inputs to choose from, and is the change large enough to change its mind?"),
        (_pipeline("share"), True, "labels-not-noticed",
         "A pipeline that counts how many of all labels are 1 gets away. Not only inputs can "
         "leak."),
    )  # fmt: skip


@exercise("batches_validation.leave_one_out", "Leave one out, train once", "hard", 35)
def leave_one_out(answer: Any) -> None:
    """Compare with as many fits as there are samples, each without one of them."""
    for seed, n, d in ((0, 20, 3), (1, 9, 2)):
        rng = np.random.default_rng(seed)
        x = rng.normal(2.0, 1.0, size=(n, d))
        y = x @ rng.normal(size=d) + 4.0 + rng.normal(size=n)
        ones = np.column_stack([x, np.ones(n)])
        errors = []
        for i in range(n):
            rest = np.arange(n) != i
            fitted = np.linalg.lstsq(ones[rest], y[rest])[0]
            errors.append(y[i] - ones[i] @ fitted)
        want = np.mean(np.square(errors))
        found = call(answer, x, y)
        if same(found, errors, rtol=1e-6) or same(found, np.square(errors), rtol=1e-6):
            raise Mistake("not-a-mean", "These are right for each sample. Return one mean square.")
        got = number(found, "The error")
        r, h = _residuals_and_shares(ones, y)
        bare_r, bare_h = _residuals_and_shares(x, y)
        refuse(
            got,
            ("training-error", np.mean(r**2),
             "That is the error on the samples that were trained on: too good."),
            ("bias-left-out", np.mean((bare_r / (1 - bare_h)) ** 2),
             "Your fit has no bias. Append a column of ones to x."),
            ("bias-left-out", np.mean((r / (1 - bare_h)) ** 2),
             "Your H has no bias. Append a column of ones to x."),
            ("square-after-division", np.mean(r**2 / (1 - h)),
             "Divide the error by 1 - h, and square the quotient: not the error alone."),
            ("all-shares-alike", np.mean((r / (1 - h.mean())) ** 2),
             "You gave each sample the mean of all h. A sample far out has more."),
            ("multiplied", np.mean((r * (1 - h)) ** 2),
             "A sample that is left out is hit less well, so its error has to grow."),
            rtol=1e-6,
        )  # fmt: skip
        agree(got, want, what="The mean square", rtol=1e-6)


def _residuals_and_shares(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    H = x @ np.linalg.pinv(x)
    return y - H @ y, np.diag(H)


def _pipeline(leak: str) -> Callable[..., Any]:
    """Return a pipeline that standardises, chooses inputs and fits, with that leak or none."""

    def train(x: Any, y: Any, rows: Any) -> Callable[[Any], Any]:
        x, y, rows = np.asarray(x, float), np.asarray(y, float), np.asarray(rows)
        own = np.arange(len(x))[rows]
        seen = {step: own for step in ("statistics", "choice", "share")}
        if leak:
            seen[leak] = np.arange(len(x))
        mean, std = x[seen["statistics"]].mean(0), x[seen["statistics"]].std(0) + 1e-9
        judged, labels = x[seen["choice"]], y[seen["choice"]]
        merit = np.abs((judged - judged.mean(0)).T @ (labels - labels.mean()))
        kept = np.argsort(-merit)[: max(1, x.shape[1] // 2)]
        centred = ((x[own] - mean) / std)[:, kept]
        w = centred.T @ (y[own] - y[own].mean()) / len(own)
        share = y[seen["share"]].mean()
        return lambda new: ((np.asarray(new, float) - mean) / std)[:, kept] @ w + share

    return train
