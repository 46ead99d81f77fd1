"""Exercises on what each rank adds to the sum, and on ranks that are not alike.

Chapter: data parallelism.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.calling import kind_of
from course_lib.exercises.chapters.collectives import run_ranks
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake
from course_lib.parallel.comm import Comm


@exercise("data_parallel.rows_to_pay", "Rows until it pays", "easy", 10)
def rows_to_pay(answer: Any) -> None:
    """Compare the smallest batch for three pairs of times, one of them a draw, and one rank."""
    # Times that binary fractions hold exactly, so that a draw is a draw.
    cases = [(0.25, 8.0, 2), (0.5, 10.0, 4), (1.0, 3.0, 4), (0.25, 0.125, 2)]
    got = [number(call(answer, c, k, p), "The number of rows") for c, k, p in cases]
    want = [math.floor(k * p / (c * (p - 1))) + 1 for c, k, p in cases]
    if got != want:
        exact = [k * p / (c * (p - 1)) for c, k, p in cases]
        if same(got, np.ceil(exact)):
            hint = "Where the exchange takes just as long as what it saves, nobody has won yet."
            raise Mistake("a-draw-counted", hint)
        if same(got, exact) or any(n != int(n) for n in got):
            raise Mistake("not-whole", "There are no broken rows. Return a whole number.")
        if same(got, [math.floor(k / c) + 1 for c, k, p in cases]):
            hint = "You compare the exchange with the whole computation, not with what is saved."
            raise Mistake("all-of-it-saved", hint)
        if same(got, [math.floor(k * p / c) + 1 for c, k, p in cases]):
            hint = "You compare the exchange with what one rank computes, not with what it saves."
            raise Mistake("share-instead-of-saving", hint)
        agree(got, want, what="The number of rows", inputs={"ranks": [p for _, _, p in cases]})
    if number(call(answer, 0.25, 8.0, 1), "The number of rows") != math.inf:
        raise Mistake("one-rank-wins", "A single rank never beats itself. What does 1 - 1/p say?")


@exercise(
    "data_parallel.with_penalty", "A penalty on several ranks", "medium", 15, [(6, 0.3), (7, 1.5)]
)
def with_penalty(answer: Any, seed: int, decay: float) -> None:
    """Add up what one to four ranks contribute, and compare with the serial gradient."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=5)
    for size in (1, 2, 4):
        parts = rng.normal(size=(size, 5))
        found = [
            array(call(answer, parts[rank], theta, decay, rank, size), "The part", shape=(5,))
            for rank in range(size)
        ]
        got, data = np.sum(found, axis=0), parts.sum(axis=0)
        if same(got, data + decay * theta):
            continue
        refuse(
            got,
            ("penalty-left-out", data, "The sum over the ranks has no penalty in it."),
            ("penalty-from-every-rank", data + size * decay * theta,
             f"Each of the {size} ranks adds the whole penalty, so the sum has it {size} times."),
            ("loss-instead-of-gradient", data + decay / 2 * theta**2,
             "You add the penalty itself. Its derivative belongs in the gradient."),
            ("half-kept", data + decay / 2 * theta,
             "Half the penalty's gradient: what is the derivative of a square?"),
            ("all-divided", (data + size * decay * theta) / size,
             "You divide the gradient of the data, too. That was divided by N already."),
            ("uphill", data - decay * theta, "The sign: the penalty is added to the loss."),
        )  # fmt: skip
        agree(got, data + decay * theta, what=f"The sum over {size} ranks")


@exercise("data_parallel.weighted_rows", "Rows of unequal weight", "medium", 20)
def weighted_rows(answer: Any) -> None:
    """Compare the weighted mean on each rank, also where ranks have one row or none."""
    rng = np.random.default_rng(7)
    for counts in ((4,), (3, 1), (2, 5, 4), (1, 0, 3)):
        total = sum(counts)
        gradients, weights = rng.normal(size=(total, 3)), rng.uniform(0.5, 4.0, total)
        edges = np.cumsum((0, *counts))
        parts = [slice(a, b) for a, b in pairwise(edges)]

        def program(comm: Comm, g: Any = gradients, w: Any = weights, s: Any = parts) -> Any:
            value = call(answer, comm, g[s[comm.rank]], w[s[comm.rank]])
            return array(value, f"What rank {comm.rank} returns", shape=(3,)).copy()

        found = run_ranks(len(counts), program)
        want = weights @ gradients / weights.sum()
        if all(same(got, want) for got in found):
            continue
        summed = [weights[s] @ gradients[s] for s in parts]
        full = [r for r, n in enumerate(counts) if n]
        means = {r: summed[r] / weights[parts[r]].sum() for r in full}
        every = weights @ gradients
        for name, values, hint in (
            ("mean-of-means", [sum(means.values()) / len(parts)] * len(parts),
             "You average the ranks' own weighted means. The trap of the chapter: the ranks do not "
             "have equal weight."),
            ("divided-by-rows", [every / total] * len(parts),
             "You divide by the number of rows. The weights do not add up to it."),
            ("own-weights", [every / (weights[s].sum() or np.nan) for s in parts],
             "You divide the sum of all ranks by the weights of one of them. The denominator has "
             "to be added up, too."),
            ("own-rows-only", [means.get(r) for r in range(len(parts))],
             "Each rank returns the mean of its own rows. Who adds them up?"),
            ("sum-of-means", [sum(means.values())] * len(parts),
             "Each rank divides by its own weights before the sum. First add, then divide."),
            ("never-divided", [every] * len(parts),
             "The sum over the ranks is right; divide it by all the weights."),
            ("weights-left-out", [gradients.mean(axis=0)] * len(parts),
             "That is the plain mean of the rows. Where do the weights come in?"),
        ):  # fmt: skip
            if all(same(got, value) for got, value in zip(found, values, strict=True)):
                raise Mistake(name, hint)
        if 0 in counts and not all(np.isfinite(got).all() for got in found):
            hint = "One rank has no row, and there 0 / 0 comes out, which spoils the sum of all."
            raise Mistake("empty-rank", hint)
        for rank, got in enumerate(found):
            agree(got, want, what=f"What rank {rank} of {len(counts)} returns")


@exercise("data_parallel.unequal_ranks", "A slow colleague", "hard", 30)
def unequal_ranks(answer: Any) -> None:
    """Compare the time of the slowest rank with the best possible, for five teams."""
    for n, speeds in _TEAMS:
        found = call(answer, n, list(speeds))
        if not isinstance(found, Sequence | np.ndarray) or len(found) != len(speeds):
            hint = f"Return a list with one number per rank, not {kind_of(found)}."
            raise Mistake("not-one-number-per-rank", hint)
        rows = array(list(found), "The list").astype(float)
        if np.any(rows != np.round(rows)) or np.any(rows < 0):
            hint = "There are no broken rows and no negative ones. Return whole numbers."
            raise Mistake("not-whole", hint)
        if rows.sum() != n:
            hint = f"{n} rows for the speeds {list(speeds)}: yours are {int(rows.sum())} together."
            raise Mistake("rows-lost-or-invented", hint)
        counts, team = [int(r) for r in rows], np.asarray(speeds)
        slowest, best = max(rows / team), max(_shares(n, team, "") / team)
        if slowest <= best * (1 + 1e-12):
            continue
        for variant, hint in (
            ("even", "Everybody gets the same, and all wait for the slow one."),
            ("rest-to-the-fastest",
             "You round down and give all that is left to the fastest. It may be too much."),
            ("rest-to-the-first",
             "You round down and give what is left to the first ranks, however slow they are."),
            ("largest-fraction-first",
             "You give what is left to the largest fractions. A broken row costs a slow rank"
             " more time than a fast one: compare times, not fractions."),
            ("slow-ranks-favoured", "The slower a rank, the more it gets. Is that what you want?"),
        ):  # fmt: skip
            refuse(counts, (variant, _shares(n, team, variant), hint))
        hint = f"{n} rows for the speeds {list(speeds)} as {counts} take {slowest:.4g} s; "
        raise Mistake("not-the-fastest", f"{hint}{best:.4g} s is possible.")


_TEAMS: list[tuple[int, list[float]]] = [
    (7, [2.0, 1.0]),
    (10, [1.0, 10.0, 1.0]),
    (5, [1.0, 1.0, 1.0, 1.0]),
    (11, [1.5, 1.6, 9.0]),
    (40, [1.0, 3.3, 3.4, 7.9]),
    (3, [0.1, 5.0]),
]


def _shares(n: int, speeds: NDArray[Any], variant: str) -> NDArray[Any]:
    """Return the rows per rank by the best rule, or by another one that people use."""
    p = len(speeds)
    if variant == "even":
        return np.array([n // p + (r < n % p) for r in range(p)], float)
    if variant:
        weight = 1 / speeds if variant == "slow-ranks-favoured" else speeds
        exact = n * weight / weight.sum()
        rows = np.floor(exact + 1e-9)
        order = {
            "rest-to-the-first": np.arange(p),
            "rest-to-the-fastest": np.full(p, int(np.argmax(speeds))),
        }.get(variant, np.argsort(rows - exact, kind="stable"))
        for r in order[: int(n - rows.sum())]:
            rows[r] += 1
        return np.asarray(rows)
    rows = np.zeros(p)
    for _ in range(n):
        rows[int(np.argmin((rows + 1) / speeds))] += 1
    return rows
