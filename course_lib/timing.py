"""Which of two ways is faster? Measured so that the answer is the same on every run.

A single timing says little: the machine has other work, and slows down and speeds up. So the two
take turns, and what is compared is the ratio of a pair of neighbours, of which the median counts.
Text that must not change from run to run (a notebook's output) gets :meth:`Comparison.verdict`, a
sentence without measured numbers; the numbers belong in a figure, :meth:`Comparison.plot`.

Chapter: where the time goes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.arrays import (
    check_callable,
    check_instance,
    check_integer,
    check_number,
    check_sequence,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Comparison:
    """How long two ways to the same result took, when they were run in turns.

    Parameters
    ----------
    names : tuple of two str
        What they are called.
    seconds_a, seconds_b : tuple of float
        How long each run took; runs of the same index were neighbours.

    Raises
    ------
    ValueError, TypeError
        If there are not two names, or not as many times above 0 of one as of the other.

    Examples
    --------
    >>> c = Comparison(("loop", "matrix product"), (3.0, 2.0, 9.0), (1.0, 1.0, 1.0))
    >>> c.ratio
    3.0
    >>> c.verdict(at_least=2)
    'matrix product is at least 2 times as fast as loop.'
    """

    names: tuple[str, str]
    seconds_a: tuple[float, ...]
    seconds_b: tuple[float, ...]

    def __post_init__(self) -> None:
        where = "Comparison"
        for name in ("names", "seconds_a", "seconds_b"):
            check_sequence(getattr(self, name), where=where, name=name, of="values")
        for text in self.names:
            check_instance(text, str, where=where, name="each of names")
        for name in ("seconds_a", "seconds_b"):
            for seconds in getattr(self, name):
                check_number(seconds, where=where, name=f"each of {name}", above=0)
        if len(self.names) != 2 or not len(self.seconds_a) == len(self.seconds_b) > 0:
            raise ValueError(
                f"{where}: names must be two, and seconds_a and seconds_b as many times, got "
                f"{len(self.names)} names, {len(self.seconds_a)} and {len(self.seconds_b)} times."
            )

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long a took as b, pair by pair."""
        return tuple(a / b for a, b in zip(self.seconds_a, self.seconds_b, strict=True))

    @property
    def ratio(self) -> float:
        """The median of :attr:`ratios`: above 1 if b is faster."""
        return statistics.median(self.ratios)

    def verdict(self, *, at_least: float = 1.0) -> str:
        """Say in a sentence whether b is at least so many times as fast as a.

        Choose `at_least` well below what you measure, and the sentence is the same on every run
        and on most machines.

        Examples
        --------
        >>> Comparison(("old", "new"), (1.0,), (2.0,)).verdict()
        'new is not faster than old here.'
        """
        at_least = check_number(at_least, where="verdict", name="at_least", above=0)
        a, b = self.names
        if at_least == 1:
            return (
                f"{b} is faster than {a}."
                if self.ratio > 1
                else f"{b} is not faster than {a} here."
            )
        if self.ratio >= at_least:
            return f"{b} is at least {at_least:g} times as fast as {a}."
        return f"{b} is not {at_least:g} times as fast as {a} here."

    def plot(self, ax: Axes) -> None:
        """Draw every run as a dot and the medians as lines; on the log scale distance is ratio."""
        if not hasattr(ax, "hlines"):
            raise TypeError(f"Comparison.plot: ax must be axes of matplotlib, got {shown(ax)}.")
        for position, (name, seconds) in enumerate(
            zip(self.names, (self.seconds_a, self.seconds_b), strict=True)
        ):
            milliseconds = [1e3 * s for s in seconds]
            # Runs are spread sideways in the order in which they happened: a drift shows.
            spread = [position + 0.3 * (i / len(seconds) - 0.5) for i in range(len(seconds))]
            ax.plot(spread, milliseconds, "o", alpha=0.6, label=name)
            median = statistics.median(milliseconds)
            ax.hlines(median, position - 0.25, position + 0.25, color="black")
        ax.set_xticks([0, 1], self.names)
        ax.set_xlim(-0.5, 1.5)
        ax.set_yscale("log")
        ax.set_ylabel("time of a run (ms)")


def compare(
    name_a: str,
    a: Callable[[], Any],
    name_b: str,
    b: Callable[[], Any],
    *,
    repeats: int = 15,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run a and b in turns, once each unmeasured and then `repeats` times each.

    Parameters
    ----------
    name_a, name_b : str
        What they are called in the verdict.
    a, b : callable
        Called without arguments. A run should take a millisecond or more: put a loop inside.
    repeats : int
        How many pairs to measure, at least 3.
    clock : callable
        Returns seconds.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If `repeats` is below 3, or the clock so coarse that a run takes no time.

    Examples
    --------
    >>> slow, fast = (lambda: sum(range(100_000))), (lambda: sum(range(1_000)))
    >>> compare("a long sum", slow, "a short one", fast, repeats=5).verdict(at_least=5)
    'a short one is at least 5 times as fast as a long sum.'
    """
    for name, text in (("name_a", name_a), ("name_b", name_b)):
        check_instance(text, str, where="compare", name=name)
    for name, run in (("a", a), ("b", b), ("clock", clock)):
        check_callable(run, where="compare", name=name, takes=())
    repeats = check_integer(repeats, where="compare", name="repeats", at_least=3)
    a(), b()  # the first run pays for caches, pages and lazy imports
    seconds: tuple[list[float], list[float]] = ([], [])
    for i in range(repeats):
        # Who goes first alternates too: the second may find the caches warmed by the first.
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            start = clock()
            (a, b)[which]()
            seconds[which].append(clock() - start)
    return Comparison((name_a, name_b), tuple(seconds[0]), tuple(seconds[1]))
