"""A barrier in shared memory: every rank counts how often it has come, where all can see it.

Rank r writes only its own counter and reads those of the others, so no instruction has to be
atomic beyond the store of 8 aligned bytes. Two things need care:

- *Order.* A processor may let others see its stores, and may do its own loads, in another order
  than the program's (ARM does, x86 hardly). What was written before the counter must be visible
  before the counter is, and what is read after the others' counters must not have been read
  before them. Python has no fence; but releasing a lock lets nothing from before it pass, taking
  one nothing from after it, and a release stays before the next taking of the same lock. So
  taking and releasing a lock of one's own, twice, is a fence in both directions, on every
  processor that Python runs on, for a tenth of a microsecond.
- *Waiting.* Peers that come within microseconds should be noticed within microseconds, peers that
  compute for a second should not cost a core for that second. So a rank looks again and again for
  a tenth of a millisecond, soon leaving its core to others in between; then it sleeps, each time
  for an eighth of the time that it has waited: it notices an eighth too late at most.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import in_vain, left

# 128 bytes apart: two processors that write into one cache line, or in two that are fetched
# together, slow each other down.
LINE = 128

_WORDS = LINE // 8

_ALONE, _SPIN = 1e-5, 1e-4

_LONGEST_SLEEP = 5e-3

_give_way: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Barrier:
    """One rank's view of the counters, ``comm.size * LINE`` shared bytes of zeros."""

    def __init__(self, comm: Comm, memory: memoryview) -> None:
        self._comm = comm
        self._words = memory.cast("q")
        self._own = comm.rank * _WORDS
        self._others = [r * _WORDS for r in range(comm.size) if r != comm.rank]
        self._lock = threading.Lock()
        self._come = 0

    def wait(self) -> None:
        """Return when all ranks have called wait as often as this one; raise if one will not."""
        self._come += 1
        self._fence()
        self._words[self._own] = self._come
        for other in self._others:
            if self._words[other] < self._come:
                self._wait_for(other)
        self._fence()

    def leave(self) -> None:
        """Say that this rank will not come any more."""
        self._fence()
        self._words[self._own + 1] = 1

    def _wait_for(self, other: int) -> None:
        words, come = self._words, self._come
        start = time.perf_counter()
        while words[other] < come:
            waited = time.perf_counter() - start
            if waited < _SPIN:
                # The peer may be waiting for this very core, whatever the number of cores.
                if waited > _ALONE:
                    _give_way()
                continue
            self._comm.check()
            self._give_up_on(other // _WORDS, waited)
            time.sleep(min(waited / 8, _LONGEST_SLEEP))
        self._comm.counters.waiting += time.perf_counter() - start

    def _give_up_on(self, peer: int, waited: float) -> None:
        comm = self._comm
        if self._words[peer * _WORDS + 1]:
            self._fence()
            if self._words[peer * _WORDS] < self._come:
                raise left(f"rank {comm.rank} waits for", peer, comm.step)
        if waited > comm.timeout:
            what = f"rank {peer} to come to a reduction in shared memory"
            raise in_vain(comm.rank, comm.timeout, what, f"rank {peer}", peer=peer, step=comm.step)

    def _fence(self) -> None:
        lock = self._lock
        lock.acquire()
        lock.release()
        lock.acquire()
        lock.release()
