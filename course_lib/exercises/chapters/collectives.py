"""Exercises on what ranks send to each other, and what it costs.

Chapter: collectives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake
from course_lib.parallel.comm import Comm, run_threads
from course_lib.parallel.cost import AlphaBeta
from course_lib.parallel.cost.channel import CHAINS
from course_lib.parallel.errors import CommTimeout, ParallelError

_TIMEOUT = 0.4


def run_ranks(size: int, program: Callable[[Comm], Any]) -> list[Any]:
    """Run the learner's program as ranks in threads; what goes wrong on a rank is a Mistake."""
    try:
        return run_threads(size, program, timeout=_TIMEOUT)
    except ParallelError as error:
        mistake = error.__cause__
        if not isinstance(mistake, Mistake):
            raise Mistake("ranks-disagree", f"With {size} ranks: {error}") from None
        if isinstance(mistake.__cause__, CommTimeout):
            waited = str(mistake.__cause__).split(". ")[0]
            hint = f"With {size} ranks, {waited}. Who should have sent that, and when?"
            raise Mistake("waits-in-vain", hint) from None
        raise mistake from None


class _Noted:
    """A communicator that notes, for each message, to whom and how many numbers, or from whom."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm
        self.rank, self.size, self.counters = comm.rank, comm.size, comm.counters
        self.sent: list[tuple[int, int]] = []
        self.heard: list[int] = []

    def send(self, dst: int, tag: Any, array: Any) -> None:
        self._comm.send(dst, tag, array)
        self.sent.append((dst, int(np.size(array))))

    def recv(self, src: int, tag: Any) -> Any:
        array = self._comm.recv(src, tag)
        self.heard.append(src)
        return array


@exercise("collectives.fastest", "Which all-reduce?", "easy", 10, [(1e-3, 1e-8), (2e-5, 1e-9)])
def fastest(answer: Any, alpha: float, beta: float) -> None:
    """Compare the choice with the model of a channel, for eight pairs of ranks and bytes."""
    cases = [(p, n) for p in (2, 8, 32) for n in (1e2, 1e5, 5e5, 1e7)] + [(8, 8.5e5)]
    want = _choices(cases, AlphaBeta(alpha, beta))
    got = [call(answer, alpha, beta, p, n) for p, n in cases]
    if not all(isinstance(name, str) and name in CHAINS for name in got):
        raise Mistake("not-a-name", f"Return one of the names {', '.join(CHAINS)}.")
    if got == _choices(cases, AlphaBeta(alpha, 0.0)):
        hint = "You choose by the number of rounds alone. Bytes take time, too."
        raise Mistake("latency-only", hint)
    if got == _choices(cases, AlphaBeta(0.0, beta)):
        hint = "You choose by bytes alone. Each message costs alpha, too."
        raise Mistake("bytes-only", hint)
    if got == _choices(cases, AlphaBeta(alpha, beta), ring_trips=1):
        hint = "Your ring goes round once. It has two trips: one to add, one to copy."
        raise Mistake("one-trip-only", hint)
    for (p, n), right, name in zip(cases, want, got, strict=True):
        if name != right:
            hint = f"{p} ranks, {n:g} bytes, alpha {alpha:g}, beta {beta:g}:"
            raise Mistake("wrong-choice", f"{hint} {right} is faster than {name}.")


def _choices(
    cases: list[tuple[int, float]], channel: AlphaBeta, *, ring_trips: int = 2
) -> list[str]:
    """Return the fastest algorithm of each case, with a ring of so many trips."""
    chosen = []
    for p, n in cases:
        seconds = {name: channel.all_reduce(p, n, name) for name in CHAINS}
        seconds["ring"] *= ring_trips / 2
        chosen.append(min(seconds, key=seconds.__getitem__))
    return chosen


@exercise("collectives.reduce", "A reduction along a tree", "medium", 20)
def reduce(answer: Any) -> None:
    """Look at rank 0's sum, and at who sends how much to whom, for one to eight ranks."""
    for p in (1, 2, 4, 8, 3, 5, 6, 7):
        found = run_ranks(p, partial(_reduced, answer))
        total = np.sum([_summand(rank) for rank in range(p)], axis=0)
        to_root = sum(dst == 0 for _, sent, _ in found for dst, _ in sent)
        every = sum(len(sent) for _, sent, _ in found)
        got = array(found[0][0], "What rank 0 returns", shape=total.shape)
        if np.array_equal(got, _summand(0)) and p > 1:
            raise Mistake("sum-not-kept", "Rank 0 returns its own summand, not the sum.")
        if p & (p - 1) and not np.allclose(got, total):
            hint = f"Right for powers of two, but among {p} ranks a summand is lost,"
            raise Mistake("powers-of-two-only", f"{hint} or added twice.")
        agree(got, total, what=f"The sum of {p} ranks")
        rounds = (p - 1).bit_length()
        if to_root > rounds:
            hint = f"Among {p} ranks, rank 0 receives {to_root} messages one after the other. Let"
            raise Mistake("all-to-the-root", f"{hint} pairs add first: {rounds} are enough.")
        if every > p - 1:
            hint = f"{every} messages among {p} ranks. Each rank but 0 has to send once, no more."
            raise Mistake("too-many-messages", hint)
        hops = _height([heard for _, _, heard in found])
        if hops > rounds:
            hint = f"Among {p} ranks, {hops} messages have to wait for one another: that is a"
            raise Mistake("chain", f"{hint} chain. In a tree pairs add at the same time.")


def _height(heard: list[list[int]]) -> int:
    """Return how many messages in a row the longest way to rank 0 takes."""
    reached, hops = [0], 0
    while hops < len(heard) and (reached := [src for r in reached for src in heard[r]]):
        hops += 1
    return hops


def _reduced(answer: Any, comm: Comm) -> tuple[Any, list[tuple[int, int]], list[int]]:
    noted = _Noted(comm)
    return call(answer, noted, _summand(comm.rank)), noted.sent, noted.heard


def _summand(rank: int) -> NDArray[Any]:
    return np.array([10.0**rank, rank + 1.0, 0.5])


@exercise("collectives.halving", "Reduce-scatter in few rounds", "hard", 30)
def halving(answer: Any) -> None:
    """Look at every rank's part, at the rounds and at the bytes, for one to eight ranks."""
    n = 16
    for p in (1, 2, 4, 8):
        found = run_ranks(p, partial(_halved, answer, n))
        total = np.sum([_long(rank, n) for rank in range(p)], axis=0)
        parts = np.split(total, p)
        got = [array(part, "A rank's part") for part, _ in found]
        if p > 1 and all(any(_close(g, part) for part in parts) for g in got):
            wrong = [rank for rank in range(p) if not _close(got[rank], parts[rank])]
            if wrong:
                hint = f"Among {p} ranks, rank {wrong[0]} ends with another rank's part. Which half"
                raise Mistake("parts-swapped", f"{hint} does a rank keep whose bit is set?")
        for rank in range(p):
            if _close(got[rank], total) and p > 1:
                hint = "A rank ends with the whole sum. Only its own part is asked for."
                raise Mistake("whole-sum", hint)
            agree(got[rank], parts[rank], what=f"Part {rank} of {p}")
        for rank, (_, sent) in enumerate(found):
            if sum(size for _, size in sent) > n * (p - 1) // p:
                hint = f"Among {p} ranks, rank {rank} sends {sum(s for _, s in sent)} of {n}"
                raise Mistake("too-much-sent", f"{hint} numbers; {n * (p - 1) // p} are enough.")
            if len(sent) > (p - 1).bit_length():
                hint = (
                    f"{len(sent)} messages from rank {rank} of {p}: as many as a ring. Send larger"
                )
                raise Mistake("too-many-rounds", f"{hint} pieces, half of what is left at a time.")


def _halved(answer: Any, n: int, comm: Comm) -> tuple[Any, list[tuple[int, int]]]:
    noted = _Noted(comm)
    return call(answer, noted, _long(comm.rank, n)), noted.sent


def _long(rank: int, n: int) -> NDArray[Any]:
    return np.arange(n) * 1.0 + 100.0 * rank**2


def _close(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b))
