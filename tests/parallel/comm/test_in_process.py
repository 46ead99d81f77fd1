"""Threads as ranks never hang, and report the first cause."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.parallel import train
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import CommTimeout, RankFailed
from tests.patience import patient


def test_results_come_by_rank():
    assert run_threads(4, lambda comm: (comm.rank, comm.size)) == [(r, 4) for r in range(4)]


def test_any_sender_is_waited_for_as_long_as_was_said():
    def fn(comm):
        for seconds in (None, 0.05):
            with pytest.raises(
                CommTimeout, match=f"waited {seconds or 0.2:g} s for 'x' from a peer"
            ):
                comm.recv_any({1}, "x", timeout=seconds)

    run_threads(1, fn, timeout=0.2)


def test_a_rank_that_never_ends_does_not_keep_python_from_ending():
    def fn(comm):
        return threading.current_thread().daemon

    assert run_threads(2, fn) == [True, True]


def test_a_rank_that_computes_for_ever_does_not_keep_the_others_failure_back():
    for_ever = threading.Event()

    def fn(comm):
        if comm.rank == 1:
            for_ever.wait()
        comm.recv(1, "x")

    start = time.monotonic()
    with pytest.raises(CommTimeout, match=r"rank 0 waited 0.2 s for 'x' from rank 1"):
        run_threads(2, fn, timeout=0.2)
    assert time.monotonic() - start < patient(2)
    for_ever.set()


def test_an_exception_of_the_caller_stops_the_ranks():
    stopped = threading.Event()

    def fn(comm):
        comm.report({})
        try:
            comm.recv(1 - comm.rank, "never")
        finally:
            stopped.set()

    def angry(message):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_threads(2, fn, on_report=angry)
    assert stopped.is_set()  # they have ended, and no thread is left


def test_a_training_whose_listener_raises_leaves_no_thread():
    def angry(event):
        raise ZeroDivisionError("in on_event")

    x, y = np.ones((64, 3)), np.zeros(64, int)
    with pytest.raises(ZeroDivisionError, match="in on_event"):
        train(
            mlp([3, 2]), (x, y), optimizer=SGD(0.1), epochs=100_000, batch_size=8, workers=3,
            comm="inprocess", on_event=angry,
        )  # fmt: skip
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rank-")]


def test_reports_come_in_the_callers_thread():
    seen = []
    run_threads(
        2,
        lambda c: c.report({"rank": c.rank}),
        on_report=lambda m: seen.append(threading.get_ident()),
    )
    assert seen == [threading.get_ident()] * 2


def test_even_leaving_python_is_reported():
    def fn(comm):
        raise SystemExit(3)

    with pytest.raises(RankFailed, match="rank 0 failed: SystemExit: 3"):
        run_threads(1, fn)


def test_the_number_of_ranks_is_checked():
    with pytest.raises(ValueError, match="size must be an integer of at least 1, got 0"):
        run_threads(0, np.zeros)
