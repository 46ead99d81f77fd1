"""Exercises on networks that are cut: between layers, and through them.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np

from course_lib.exercises import answers
from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("pipeline_tensor.micro_batches", "Enough micro-batches", "easy", 10)
def micro_batches(answer: Any) -> None:
    """Find the smallest m by trying, also where the bubble reaches the share exactly."""
    from course_lib.parallel.cost import pipeline_bubble

    for p, idle in ((4, 0.3), (4, 0.25), (8, 0.125), (3, 0.7), (1, 0.5)):
        want = next(m for m in range(1, 1000) if pipeline_bubble(p, m) <= idle)
        got = number(call(answer, p, idle), "The number of micro-batches")
        where = f"For {p} stages and at most {idle:g} idle"
        if got == want:
            continue
        if got == int(np.ceil((p - 1) / idle)) and p > 1:
            hint = f"{where} you divide the idle time by the working time, (p - 1) / m. The bubble "
            raise Mistake("idle-over-work", hint + "is idle time over the WHOLE time.")
        if got < 1:
            raise Mistake("no-micro-batch", f"{where} you return {got:g}: a batch is at least one.")
        if got == want + 1:
            hint = f"{where}, {want} micro-batches are enough: 'at most' includes equality."
            raise Mistake("one-too-many", hint)
        if got == want - 1:
            raise Mistake("rounded-down", f"{where}, {got:g} micro-batches idle longer. Round up.")
        raise Mistake("wrong-values", f"{where}, expected {want}, got {got:g}.")


@exercise("pipeline_tensor.one_stage", "Write 1F1B", "medium", 25)
def one_stage(answer: Any) -> None:
    """Play the schedule through: is it whole, how much does it keep, how long does it take."""
    from course_lib.parallel.schedules import Action, ScheduleError, gpipe, simulate

    for p, m in ((3, 5), (4, 2), (1, 3), (4, 8)):
        said = [call(answer, stage, p, m) for stage in range(p)]
        try:
            schedule = tuple(tuple(Action.parse(text) for text in row) for row in said)
            run = simulate(schedule)
        except (TypeError, ScheduleError, ValueError) as error:
            hint = f"For {p} stages and {m} micro-batches: {error}"
            raise Mistake("not-a-schedule", hint) from None
        where = f"With {p} stages and {m} micro-batches"
        if p > 1 and m > p and schedule == gpipe(p, m):
            hint = f"{where} you run all forward passes first. That is GPipe."
            raise Mistake("gpipe-instead", hint)
        allowed = tuple(min(m, p - stage) for stage in range(p))
        if any(kept > most for kept, most in zip(run.in_flight, allowed, strict=True)):
            hint = f"{where} your stages keep {run.in_flight} micro-batches, {allowed} would do."
            raise Mistake("too-many-in-flight", hint)
        if run.length > (m + p - 1) * 3:
            hint = f"{where} yours takes {run.length:g}, {(m + p - 1) * 3} is possible: let the "
            raise Mistake("stages-idle", hint + "early stages run ahead before they alternate.")


@exercise(
    "pipeline_tensor.pair_backward",
    "Backward through a shared pair",
    "hard",
    30,
    [(0, (0, 1, 4, 6)), (1, (0, 2, 6))],
)
def pair_backward(answer: Any, seed: int, cuts: Any) -> None:
    """Ranks with unequal parts, against the backward pass of the whole pair."""
    rng = np.random.default_rng(seed)
    x, dz = rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    w1, b1, w2 = rng.normal(size=(5, 6)), rng.normal(size=6), rng.normal(size=(6, 2))
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    columns, biases, rows = (
        [w1[:, s] for s in parts],
        [b1[s] for s in parts],
        [w2[s] for s in parts],
    )
    h = np.tanh(x @ w1 + b1)
    dz1 = (dz @ w2.T) * (1 - h**2)
    shares = [dz1[:, s] @ w1[:, s].T for s in parts]
    got = call(answer, x, columns, biases, rows, dz)
    dx, dw1 = answers.parts(got, 2, "not-a-pair", "Return dx and the list of the ranks' dW1.")
    hint = f"dW1 should be a list with one array for each of the {len(parts)} ranks."
    dw1 = answers.parts(dw1, len(parts), "not-a-pair", hint)
    if any(same(dx, share) for share in shares):
        raise Mistake("dx-of-one-rank", "Your dx is what one rank says. All ranks used x.")
    refuse(
        dx,
        ("dx-averaged", sum(shares) / len(shares),
         "Your dx is an average over the ranks. Paths add: it is a sum."),
        ("derivative-missing", (dz @ w2.T) @ w1.T, "The slope of tanh, 1 - h^2, does not come in."),
        ("derivative-at-h", ((dz @ w2.T) * (1 - np.tanh(h) ** 2)) @ w1.T,
         "The slope is 1 - h^2. You apply tanh to h once more."),
    )  # fmt: skip
    agree(dx, sum(shares), what="dx")
    for rank, s in enumerate(parts):
        agree(dw1[rank], x.T @ dz1[:, s], what=f"dW1 of rank {rank}")


@exercise("pipeline_tensor.best_cut", "The best cut", "hard", 30)
def best_cut(answer: Any) -> None:
    """Four networks, against the best of all cuts, tried one by one."""
    cases: tuple[tuple[list[int], int], ...] = (
        ([6, 1, 1, 1, 1, 2], 2),
        ([5, 1, 5, 1, 5, 1, 6], 3),
        ([2, 3, 4], 3),
        ([1, 1, 9, 1, 1, 1, 1, 1], 4),
    )
    for costs, stages in cases:
        where = f"For costs {costs} in {stages} stages"
        got = call(answer, list(costs), stages)
        found = array(got, "The list of cuts")
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise Mistake("not-a-list-of-cuts", "Return the cuts as a list of integers.")
        cuts = [int(c) for c in found]
        if len(cuts) == stages and sum(cuts) == len(costs):
            hint = f"{where} you return how many layers each has. Say where to cut instead."
            raise Mistake("numbers-of-layers", hint)
        if len(cuts) != stages - 1:
            hint = f"{where} there are {stages - 1} cuts, you return {len(cuts)}."
            raise Mistake("wrong-number-of-cuts", hint)
        if any(b <= a for a, b in pairwise([0, *cuts, len(costs)])):
            hint = f"{where} your cuts {cuts} leave a stage without layers. A cut c lies BEFORE"
            raise Mistake("empty-stage", f"{hint} layer c, and layers are counted from 0.")
        best = min(_slowest(costs, list(c)) for c in combinations(range(1, len(costs)), stages - 1))
        if _slowest(costs, cuts) > best:
            even = [len(part) for part in np.array_split(costs, stages)]
            hint = f"{where} your slowest stage costs {_slowest(costs, cuts)}, {best} is possible."
            if cuts == np.cumsum(even)[:-1].tolist():
                raise Mistake(
                    "cut-by-number", f"{hint} Equal numbers of layers are not equal work."
                )
            raise Mistake("not-the-best", hint)


def _slowest(costs: list[int], cuts: list[int]) -> int:
    return max(sum(costs[a:b]) for a, b in pairwise([0, *cuts, len(costs)]))
