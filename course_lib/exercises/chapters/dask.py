"""Exercises on tasks: what they cost, how they are ordered, and what they send back.

Chapter: Dask in one chapter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, call, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("dask.steps_per_task", "How much to put into a task", "easy", 10)
def steps_per_task(answer: Any) -> None:
    """Compare with a search for the smallest number of steps that wastes little enough."""
    for step, overhead, share in ((0.0002, 0.001, 0.93), (0.003, 0.005, 0.91), (0.5, 0.001, 0.7)):
        want = next(k for k in range(1, 10_000) if k * step / (k * step + overhead) >= share)
        got = number(call(answer, step, overhead, share), "The number of steps")
        if same(got, want):
            continue
        exact = share / (1 - share) * overhead / step
        if same(got, exact):
            raise Mistake("not-whole", "A task holds whole steps. Round, in the right direction.")
        if want > 1 and same(got, want - 1):
            raise Mistake("rounded-down", "With so many steps the share is just missed.")
        if same(got, math.ceil(share * overhead / step)):
            hint = "You compare the work with the overhead. The share is of work AND overhead."
            raise Mistake("share-of-the-overhead", hint)
        if same(got, max(1, math.ceil(overhead / step / share))):
            hint = "At that many steps work and overhead are about equal: a share of one half."
            raise Mistake("half-and-half", hint)
        inputs = {"step": step, "overhead": overhead, "share": share}
        agree(got, want, what="The number of steps", inputs=inputs)


class _Future:
    """A result that counts as waited for when it is asked for."""

    def __init__(self, client: _Client, value: Any, key: str) -> None:
        self._client, self._value, self.key = client, value, key

    def result(self) -> Any:
        self._client.waits.append(self._client.ordered)
        return self._value


class _Client:
    """What an exercise needs of a Dask client, with its keys, and without processes."""

    def __init__(self) -> None:
        self.ordered, self.waits = 0, list[int]()
        self._known: dict[str, _Future] = {}

    def submit(
        self, f: Callable[..., Any], *args: Any, pure: bool = True, key: str | None = None
    ) -> _Future:
        self.ordered += 1
        name = key or (f"{id(f)}-{args}" if pure else f"{self.ordered}")
        if name not in self._known:
            self._known[name] = _Future(self, f(*args), name)
        return self._known[name]

    def map(
        self, f: Callable[..., Any], items: Iterable[Any], *, pure: bool = True
    ) -> list[_Future]:
        return [self.submit(f, item, pure=pure) for item in items]

    def gather(self, futures: Iterable[_Future]) -> list[Any]:
        return [future.result() for future in list(futures)]


@exercise("dask.throw_dice", "Throw dice on a cluster", "medium", 15, [(12,), (5,)])
def throw_dice(answer: Any, n: int) -> None:
    """Give a client that knows keys as Dask does, and watch when the answer waits."""
    client = _Client()
    thrown: list[int] = []

    def die() -> int:
        thrown.append(len(thrown) + 1)
        return thrown[-1]

    got = call(answer, client, die, n)
    if client.ordered == 0:
        raise Mistake("not-on-the-cluster", "You call the die here. Let the client order it.")
    if not isinstance(got, list | tuple | np.ndarray):
        raise Mistake("not-a-list", f"Return a list of {n} numbers.")
    if any(isinstance(part, _Future) for part in got):
        raise Mistake("futures-returned", "You return slips of paper. Collect the results.")
    if client.waits and min(client.waits) < n:
        hint = f"You wait for a result when {min(client.waits)} of {n} are ordered. Order all first"
        raise Mistake("waits-in-the-loop", f"{hint}, then collect.")
    if len(thrown) < n:
        hint = f"{n} orders, and the die was thrown {len(thrown)} times: same function, same"
        raise Mistake("pure-by-mistake", f"{hint} arguments, same key. Say that it is not pure.")
    agree(got, list(range(1, n + 1)), what="The list of throws")


@exercise("dask.block_std", "A standard deviation in blocks", "medium", 25)
def block_std(answer: Any) -> None:
    """Give blocks of unequal height, then the same far from zero; NumPy sees all rows at once."""
    hint = "Give the check the pair (summarise, combine)."
    summarise, combine = parts(answer, 2, "not-a-pair", hint)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3)) * [1.0, 2.0, 0.5]
    for offset in (0.0, 1e7):
        x = rows + offset
        blocks = [x[:1], x[1:250], x[250:300], x[300:]]
        notes = [call(summarise, block) for block in blocks]
        if max(_numbers(note) for note in notes) > 20:
            hint = "A summary grows with its block. It has to be a few numbers per column."
            raise Mistake("whole-block-sent", hint)
        hint = "combine returns the pair (mean, deviation)."
        result = parts(call(combine, notes), 2, "not-mean-and-deviation", hint)
        mean = array(result[0], "The mean", shape=(3,))
        deviation = array(result[1], "The deviation", shape=(3,))
        means = np.array([b.mean(axis=0) for b in blocks])
        if same(mean, means.mean(axis=0)) and not same(mean, x.mean(axis=0)):
            raise Mistake("mean-of-means", "A block of one row weighs as much as one of 249.")
        agree(mean, x.mean(axis=0), what="The mean")
        weights = np.array([len(b) for b in blocks]) / 400
        inner = weights @ np.array([b.var(axis=0) for b in blocks])
        if same(deviation, np.sqrt(inner), rtol=1e-6):
            hint = "You leave out that the blocks differ in their means. A block of one row has no"
            raise Mistake("between-blocks-ignored", f"{hint} spread at all, and yet adds some.")
        if same(deviation, x.std(axis=0, ddof=1), rtol=1e-6):
            raise Mistake("divided-by-n-minus-1", "Divide by the number of rows, as np.std does.")
        if offset and not np.allclose(deviation, x.std(axis=0), rtol=1e-6):
            hint = "Far from zero your deviation is noise: a mean of squares minus a squared mean"
            raise Mistake("digits-lost", f"{hint}. Sum squares of distances from the block's mean.")
        agree(deviation, x.std(axis=0), what="The deviation", rtol=1e-6)


def _numbers(note: Any) -> int:
    if isinstance(note, dict):
        return sum(_numbers(value) for value in note.values())
    if isinstance(note, tuple | list):
        return sum(_numbers(value) for value in note)
    return int(np.size(note))


@exercise("dask.busy_scheduler", "When the scheduler is the limit", "hard", 30)
def busy_scheduler(answer: Any) -> None:
    """Compare with a simulation in which tasks are handed out one after the other."""
    for n, p, work, order in ((42, 4, 0.1, 0.01), (40, 16, 0.1, 0.01), (7, 3, 0.02, 0.05),
                              (1, 5, 0.3, 0.1), (10, 2, 1.0, 0.25)):  # fmt: skip
        free, lag = [0.0] * p, [0.0] * p
        clock = 0.0
        for i in range(n):
            first = free.index(min(free))
            free[first] = max(free[first], (i + 1) * order) + work
            # The mistaken scheduler waits until a worker is free before it writes an order.
            idle = lag.index(min(lag))
            clock = max(clock, lag[idle]) + order
            lag[idle] = clock + work
        got = number(call(answer, n, p, work, order), "The time")
        want, inputs = max(free), {"n": n, "p": p, "work": work, "order": order}
        if same(got, want):
            continue
        refuse(
            got,
            ("scheduler-ignored", math.ceil(n / p) * work, "Orders cost nothing in your cluster."),
            ("one-order-only", order + math.ceil(n / p) * work,
             "You count one order. Each task needs its own."),
            ("a-scheduler-per-worker", math.ceil(n / p) * (work + order),
             "You let every worker write its own orders. There is one scheduler for all."),
            ("scheduler-waits", max(lag),
             "Your scheduler waits for a free worker before it writes. It can write ahead."),
            ("bound-instead", max(n * order, n * work / p),
             "That is a bound from below. Who waits for the first order, and for the last task?"),
        )  # fmt: skip
        agree(got, want, what="The time", inputs=inputs)
