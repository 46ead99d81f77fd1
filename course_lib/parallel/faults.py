"""Faults to order, for threads as ranks: late messages, overtaking messages, a rank that dies.

What works on a laptop in microseconds fails on a cluster in ways that depend on timing. Here the
timing is decided by a seed, so that a failure can be looked at again.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from course_lib.arrays import check_instance, check_integer, check_number
from course_lib.parallel.errors import WorkerLost

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Faults:
    """What is to go wrong in :func:`~course_lib.parallel.comm.run_threads`.

    Parameters
    ----------
    delay : float
        Each message is on its way for a random time of up to so many seconds. Messages with the
        same sender, receiver and tag stay in order, as a channel must keep them; others may
        overtake each other.
    death : mapping of int to int
        By rank, the number of the send or receive, counted from 0, at which it dies.
    seed : int
        Decides the delays.

    Raises
    ------
    ValueError, TypeError
        If the delay or a number is negative, or none.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.collectives import all_reduce
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda c: all_reduce(c, np.ones(1)), faults=Faults(delay=0.01))
    [array([2.]), array([2.])]
    >>> run_threads(2, lambda c: all_reduce(c, np.ones(1)), faults=Faults(death={1: 0}))
    Traceback (most recent call last):
    ...
    course_lib.parallel.errors.WorkerLost: rank 1 died at its operation 0, as Faults(death) asked.
    """

    delay: float = 0.0
    death: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        check_number(self.delay, where="Faults", name="delay (seconds)", at_least=0)
        check_integer(self.seed, where="Faults", name="seed", at_least=0)
        check_instance(self.death, Mapping, where="Faults", name="death", hint="such as {1: 20}")
        for rank, operation in self.death.items():
            check_integer(rank, where="Faults", name="each rank of death", at_least=0)
            check_integer(operation, where="Faults", name=f"death[{rank}]", at_least=0)

    def for_rank(self, rank: int) -> RankFaults:
        """Return what goes wrong on one rank."""
        return RankFaults(self, rank)


class RankFaults:
    """The faults of one rank: counts its operations, and draws its delays."""

    def __init__(self, faults: Faults, rank: int) -> None:
        self._rank, self._longest = rank, faults.delay
        self._dies_at = faults.death.get(rank)
        self._done = 0
        self._rng = np.random.default_rng([faults.seed, rank])

    def operate(self) -> None:
        """Count a send or receive; raise WorkerLost if the rank dies at it."""
        if self._done == self._dies_at:
            raise WorkerLost(
                f"rank {self._rank} died at its operation {self._done}, as Faults(death) asked.",
                rank=self._rank,
            )
        self._done += 1

    def delay(self) -> float:
        """Draw the seconds that the next message takes."""
        return self._longest * self._rng.random()


class Courier:
    """A thread that delivers later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._last: dict[Key, float] = {}
        self._closed = False
        threading.Thread(target=self._run, name="courier", daemon=True).start()

    def take(self, key: Key, delay: float, deliver: Callable[[], object]) -> None:
        """Call `deliver` after so many seconds, and never before an earlier one of the same key."""
        with self._changed:
            due = max(time.monotonic() + delay, self._last.get(key, 0.0))
            self._last[key] = due
            # The number keeps those in order that are due at the same time.
            heapq.heappush(self._waiting, (due, next(self._numbers), deliver))
            self._changed.notify()

    def close(self) -> None:
        """End the thread; what is still on its way is lost."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is None or left > 0:
                    self._changed.wait(left)
                else:
                    heapq.heappop(self._waiting)[2]()
