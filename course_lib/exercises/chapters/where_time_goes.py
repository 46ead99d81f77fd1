"""Exercises on operations, bytes, overhead, and the laws of speed-up.

Chapter: where the time goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import mean, median
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, array, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake
from course_lib.parallel.cost import amdahl


@exercise("where_time_goes.ranks_for", "How many processors?", "easy", 10)
def ranks_for(answer: Any) -> None:
    """Compare with a search for the smallest p, for targets in and out of reach."""
    for serial, target in ((0.05, 7.3), (0.2, 3.1), (0.0, 6.5), (0.1, 1.0)):
        want = next(p for p in range(1, 1000) if amdahl(serial, p) >= target)
        got = number(call(answer, target, serial), "The number of processors")
        exact = (1 - serial) / (1 / target - serial)
        inputs = {"target": target, "serial": serial}
        if same(got, want - 1) and want - 1 == math.floor(exact):
            raise Mistake("rounded-down", "With one processor fewer the target is just missed.")
        if same(got, exact) and not same(got, want):
            raise Mistake("not-whole", "Nobody rents a part of a processor: round up.")
        weak = math.ceil((target - serial) / (1 - serial))
        if same(got, weak) and weak != want:
            hint = "That is the answer for work that grows with the processors. Ours is fixed."
            raise Mistake("gustafson-instead", hint)
        agree(got, want, what="The number of processors", inputs=inputs)
    for target in (20.0, 25.0):
        got = number(call(answer, target, 0.05), "The number of processors")
        if not math.isinf(got) or got < 0:
            hint = f"With 5 % serial work the speed-up stays below 20; {target:g} is out"
            raise Mistake("limit-not-noticed", f"{hint} of reach, so return math.inf.")
    if number(call(answer, 4.0, 0.2), "The number of processors") == 17:
        hint = "Sixteen give exactly 4. Your division is off by a rounding error,"
        raise Mistake("rounding-error-rounded-up", f"{hint} and ceil made 17: allow for 1e-9.")


@exercise("where_time_goes.rows_to_corner", "Leave the slope of the roofline", "medium", 20)
def rows_to_corner(answer: Any) -> None:
    """Compare with a search for the smallest batch whose intensity reaches the corner."""
    what = "The number of rows"
    for m, n, item, peak, bandwidth in (
        (500, 200, 8, 45e9, 9e9), (784, 128, 4, 60e9, 9e9), (300, 700, 4, 50e9, 12e9),
        (60, 700, 4, 50e9, 12e9),
    ):  # fmt: skip
        corner = peak / bandwidth

        def enough(
            rows: int, m: int = m, n: int = n, item: int = item, corner: float = corner
        ) -> bool:
            return 2 * rows * m * n >= corner * item * (rows * m + m * n + rows * n)

        want = next(rows for rows in range(1, 10_000) if enough(rows))
        got = number(call(answer, m, n, item, peak, bandwidth), what)
        exact = corner * item * m * n / (2 * m * n - corner * item * (m + n))
        if same(got, math.ceil(corner * item / 2)) and math.ceil(corner * item / 2) != want:
            hint = "You counted the bytes of the weights alone. Inputs and outputs travel as well."
            raise Mistake("only-weights-counted", hint)
        if same(got, want - 1) or same(got, exact):
            raise Mistake("not-rounded-up", "Return the smallest whole number that is enough.")
        if same(got, math.ceil(exact / item)):
            raise Mistake("numbers-for-bytes", "You count numbers; each of them has bytes.")
        agree(got, want, what=what, inputs={"m": m, "n": n})
    if number(call(answer, 16, 10, 8, 40e9, 4e9), what) != math.inf:
        hint = "A layer of 16 inputs and 10 outputs never gets there, with any batch: math.inf."
        raise Mistake("out-of-reach-not-noticed", hint)


class _Clock:
    """A clock that a list of slow moments moves; it writes down who ran when."""

    def __init__(self, slowness: Callable[[int], float]) -> None:
        self.now, self.order, self._slowness = 0.0, "", slowness

    def __call__(self) -> float:
        return self.now

    def task(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            first = 50.0 if name not in self.order else 1.0
            self.now += seconds * first * self._slowness(len(self.order))
            self.order += name

        return run


@exercise(
    "where_time_goes.stopwatch", "A fair stopwatch", "medium", 20, [(1.5, 1.0, 9), (0.5, 2.0, 6)]
)
def stopwatch(answer: Any, of_a: float, of_b: float, repeats: int) -> None:
    """Run the learner's comparison on a clock whose machine slows down and is interrupted."""
    weather = [1.0, 9.0, 2.0, 5.0, 1.0, 7.0, 3.0, 4.0, 8.0, 2.5]
    clock = _Clock(lambda i: weather[i // 2 % 10] * (4.0 if i % 5 == 4 else 1.0))
    a, b = clock.task("a", of_a), clock.task("b", of_b)
    got = number(call(answer, a, b, clock, repeats), "The ratio")
    order = clock.order
    if order.count("a") == order.count("b") == repeats:
        raise Mistake("no-warm-up", "The first run of each is slow. Run each once before you time.")
    if "aaa" in order or "bbb" in order:
        hint = "You time all runs of one, then all of the other. The machine changes meanwhile:"
        raise Mistake("not-in-turns", f"{hint} let them take turns.")
    if order.count("a") != repeats + 1 or order.count("b") != repeats + 1:
        hint = f"expected one unmeasured run of each and {repeats} measured ones, got"
        raise Mistake("wrong-number-of-runs", f"{hint} {order.count('a')} and {order.count('b')}.")
    # The same runs in the same order, timed by us.
    replay = _Clock(clock._slowness)
    times: dict[str, list[float]] = {"a": [], "b": []}
    for name in order:
        began = replay.now
        replay.task(name, {"a": of_a, "b": of_b}[name])()
        times[name].append(replay.now - began)
    pairs = list(zip(times["a"][1:], times["b"][1:], strict=True))
    ratios = [x / y for x, y in pairs]
    refuse(
        got,
        ("mean-of-ratios", mean(ratios),
         "One interrupted run spoils a mean. The median of the ratios does not notice it."),
        ("ratio-of-medians", median(x for x, _ in pairs) / median(y for _, y in pairs),
         "You compare the typical a with the typical b, at two different moments. Divide within "
         "each pair first."),
        ("upside-down", 1 / median(ratios), "Your ratio is b to a."),
    )  # fmt: skip
    agree(got, median(ratios), what="The ratio")


@exercise(
    "where_time_goes.diagnose",
    "Whose fault is it?",
    "hard",
    30,
    [(0.04, 0.003, [2, 4, 8, 16, 32]), (0.1, 0.001, [3, 6, 12])],
)
def diagnose(answer: Any, serial: float, exchange: float, ranks: Any) -> None:
    """Give speed-ups made from a serial share and an exchange; both and the best p are asked."""
    ranks = np.array(ranks)
    inverse = serial + (1 - serial) / ranks + exchange * (ranks - 1)
    want = np.array([serial, exchange, math.sqrt((1 - serial) / exchange)])
    got = array(call(answer, ranks, 1 / inverse), "(serial, exchange, best p)", shape=(3,))
    karp_flatt = (inverse - 1 / ranks) / (1 - 1 / ranks)
    if same(got[0], karp_flatt[0]) or same(got[0], karp_flatt.mean()) or got[1] == 0:
        hint = "All that is lost is blamed on the serial part. The share that you get grows with p:"
        raise Mistake("exchange-blamed-on-serial", f"{hint} there is a second cause.")
    columns = np.stack([1 - 1 / ranks, ranks - 1.0], axis=1)
    if same(got[:2], np.linalg.lstsq(columns, 1 / inverse - ranks)[0]):
        hint = "The model is about times. A speed-up is one over a time."
        raise Mistake("speedup-not-inverted", hint)
    extra = np.stack([np.ones(len(ranks)), ranks - 1.0], axis=1)
    if same(got[:2], np.linalg.lstsq(extra, inverse - 1 / ranks)[0]):
        hint = "On one rank the serial part is in the time T(1) = 1 already:"
        raise Mistake("serial-part-twice", f"{hint} s comes with (1 - 1/p).")
    if same(got[:2], want[:2]) and same(got[2], math.sqrt(1 / exchange), rtol=1e-6):
        hint = "Only 1 - s gets shorter with p. Set the slope to zero."
        raise Mistake("serial-part-shared", hint)
    agree(got, want, what="(serial, exchange, best p)", rtol=1e-6)
