"""What the driver makes of what its processes say, or do not; the pipes are real, no process is."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import threading
import time
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import Counters
from course_lib.parallel.comm import outcome as outcome_file
from course_lib.parallel.comm.outcome import Outcome
from course_lib.parallel.comm.pipes import limit
from course_lib.parallel.errors import Aborted, CommTimeout, RankFailed, WorkerLost
from course_lib.parallel.launch import processes as processes_file
from course_lib.parallel.launch.processes import _main, _watch, handshake, run_processes


@pytest.fixture
def ranks():
    """So many pipes: the drivers' ends, and those of the ranks, which say what they are told to."""
    open_ = []

    def make(size):
        pipes = [multiprocessing.Pipe() for _ in range(size)]
        open_.extend(end for pipe in pipes for end in pipe)
        return [ours for ours, _ in pipes], [theirs for _, theirs in pipes]

    yield make
    for end in open_:
        end.close()


def process(exitcode):
    return SimpleNamespace(exitcode=exitcode, join=lambda timeout: None)


def watch(drivers, timeout=20.0, on_report=None, codes=None):
    codes = codes or [0] * len(drivers)
    return _watch([process(code) for code in codes], drivers, timeout, on_report)


def heard(theirs):
    """What a rank was told since."""
    found = []
    while theirs.poll():
        found.append(theirs.recv())
    return found


def test_values_come_by_rank_and_reports_as_they_were_sent(ranks):
    for listens in (True, False):
        drivers, theirs = ranks(3)
        for rank in (2, 0, 1):
            theirs[rank].send(("started", None))
            theirs[rank].send(("report", {"rank": rank}))
            theirs[rank].send(("outcome", Outcome(rank, value=rank**2)))
        seen = []
        assert watch(drivers, on_report=seen.append if listens else None) == [0, 1, 4]
        assert sorted(report["rank"] for report in seen) == ([0, 1, 2] if listens else [])
        assert not any(heard(end) for end in theirs)


@pytest.mark.parametrize(
    ("code", "how"), [(-9, r"was killed by signal 9"), (3, r"exited \(3\)"), (0, r"exited \(0\)")]
)
def test_a_process_that_is_gone_is_lost_and_the_others_are_stopped(ranks, code, how):
    drivers, theirs = ranks(3)
    theirs[1].close()
    for rank in (0, 2):
        theirs[rank].send(("outcome", Outcome(rank, error=Aborted("stopped"))))
    sentence = f"the process of rank 1 {how} before its function had returned"
    with pytest.raises(WorkerLost, match=sentence) as e:
        watch(drivers, codes=[0, code, 0])
    assert e.value.rank == 1
    assert all(len(heard(theirs[rank])) == 1 for rank in (0, 2))


def test_a_rank_that_asks_for_it_has_all_stopped(ranks):
    drivers, theirs = ranks(2)
    theirs[0].send(("abort", "enough"))
    for rank in range(2):
        theirs[rank].send(("outcome", Outcome(rank, error=Aborted("enough"))))
    with pytest.raises(Aborted, match="enough"):
        watch(drivers)
    assert "enough" in heard(theirs[0]) and "enough" in heard(theirs[1])


def test_processes_that_do_not_start_are_told_of_in_time(ranks):
    drivers, _ = ranks(2)
    with pytest.raises(CommTimeout, match=r"the 2 processes did not start within 0\.1 s"):
        watch(drivers, timeout=0.1)


def test_a_rank_that_does_not_stop_is_not_waited_for(ranks, monkeypatch):
    monkeypatch.setattr(outcome_file, "GRACE", 0.1)
    drivers, theirs = ranks(2)
    theirs[0].send(("started", None))
    theirs[0].send(("outcome", Outcome(0, error=ValueError("no such row"))))
    start = time.monotonic()
    with pytest.raises(RankFailed, match="no such row"):
        watch(drivers, timeout=60.0)
    assert time.monotonic() - start < 30


def test_who_is_silent_is_asked_and_who_answers_may_go_on(ranks):
    """Rank 0 answers each time, and ends after the third; rank 1 has ended long before."""
    drivers, theirs = ranks(2)
    theirs[0].send(("started", None))
    theirs[1].send(("outcome", Outcome(1, value="b")))

    def answer():
        for _ in range(3):
            asked.append(theirs[0].recv())
            theirs[0].send(("alive", None))
        theirs[0].send(("outcome", Outcome(0, value="a")))

    asked = []
    thread = threading.Thread(target=answer)
    thread.start()
    assert watch(drivers, timeout=0.5) == ["a", "b"]
    thread.join()
    assert asked == [None] * 3
    assert heard(theirs[1]) == []


def test_who_does_not_answer_is_frozen(ranks, monkeypatch):
    monkeypatch.setattr(outcome_file, "GRACE", 0.0)
    drivers, theirs = ranks(2)
    theirs[0].send(("started", None))
    with pytest.raises(CommTimeout, match=r"rank 0 did not answer for 0\.2 s: it is stopped") as e:
        watch(drivers, timeout=0.2)
    assert e.value.rank == 0
    assert [end.recv() for end in theirs] == [None, None]


def test_who_stops_in_the_middle_of_a_message_is_frozen(ranks, monkeypatch):
    monkeypatch.setattr(outcome_file, "GRACE", 0.0)
    drivers, theirs = ranks(1)
    limit(drivers[0], socket.SO_RCVTIMEO, 0.2)
    os.write(theirs[0].fileno(), (1000).to_bytes(4, "big") + b"half")
    with pytest.raises(CommTimeout, match="rank 0 did not answer"):
        watch(drivers, timeout=0.2)


# --- a rank ---


def rank_program(comm, *, factor=1, fails=False):
    comm.step = 7
    if fails:
        raise KeyError("no such row")
    return factor * all_reduce(comm, np.array([comm.rank + 1.0])), comm.counters.messages


def run_ranks(ranks, *programs):
    """Run ranks as threads; return what each told its driver."""
    drivers, theirs = ranks(len(programs))
    peers = [{} for _ in programs]
    if len(programs) == 2:
        [peers[0][1]], [peers[1][0]] = ranks(1)
    threads = [
        threading.Thread(target=_main, args=(r, peers[r], theirs[r], 10.0, pickle.dumps(program)))
        for r, program in enumerate(programs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [heard(end) for end in drivers]


def test_a_rank_says_that_it_has_started_and_what_its_program_returned(ranks):
    program = (rank_program, (), {"factor": 10})
    for rank, told in enumerate(run_ranks(ranks, program, program)):
        assert told[0] == ("started", None)
        kind, outcome = told[1]
        assert (kind, outcome.rank, outcome.error, len(told)) == ("outcome", rank, None, 2)
        total, messages = outcome.value
        assert total.tolist() == [30.0]
        assert 0 < messages < 4  # without those of the beginning


def test_what_a_rank_raises_comes_with_its_step_process_and_traceback(ranks):
    [[_, (kind, outcome)]] = run_ranks(ranks, (rank_program, (), {"fails": True}))
    assert (kind, outcome.rank, outcome.step) == ("outcome", 0, 7)
    assert isinstance(outcome.error, KeyError)
    assert outcome.worker == f"process {os.getpid()}"
    assert "in rank_program" in outcome.error.__notes__[0]
    # What can not be sent is an error, too.
    [[_, (_, outcome)]] = run_ranks(ranks, (threading.Lock, (), {}))
    assert "TypeError" in repr(outcome.error)


class Process:
    """A thread in place of a process; what it is given it has copies of, as a process would."""

    made: ClassVar = []

    def __init__(self, target, args, daemon):
        assert daemon  # it must not outlive the driver
        rank, peers, driver, *rest = args
        peers = {peer: copied(pipe) for peer, pipe in peers.items()}
        given = (rank, peers, copied(driver), *rest)
        self.thread = threading.Thread(target=target, args=given, daemon=True)
        self.start, self.told, self.exitcode = self.thread.start, [], 0
        self.made.append(self)

    def kill(self):
        self.told.append("kill")

    def join(self, timeout):
        self.told.append("join")
        self.thread.join(timeout)

    def close(self):
        self.told.append("close")
        raise ValueError("the system still holds it")


def copied(pipe):
    return Connection(os.dup(pipe.fileno()))


def test_a_run_starts_its_ranks_connects_each_two_and_leaves_no_process(monkeypatch):
    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=Process)
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)
    monkeypatch.setattr(Process, "made", [])
    found = run_processes(3, rank_program, factor=10, timeout=20)
    assert [total.tolist() for total, _ in found] == [[60.0]] * 3
    with pytest.raises(RankFailed, match="no such row"):
        run_processes(2, rank_program, fails=True, timeout=20)
    assert [process.told for process in Process.made] == [["kill", "join", "close"]] * 5


def test_ranks_wait_longer_for_each_other_to_start_than_the_driver_does(monkeypatch):
    waits = []
    monkeypatch.setattr(processes_file, "barrier", lambda comm: waits.append(comm.timeout))
    comm = SimpleNamespace(timeout=4.0, counters=Counters(messages=5))
    handshake(comm)
    assert waits[0] > 4.0
    assert (comm.timeout, comm.counters) == (4.0, Counters())


def test_what_can_not_be_sent_or_started_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(processes_file, "check_can_start", lambda: None)
    monkeypatch.setattr(processes_file, "_watch", lambda *_: pytest.fail("it was started"))
    with pytest.raises(TypeError, match=r"or an argument can not be sent to another process"):
        run_processes(1, print, threading.Lock())
    with pytest.raises(ValueError, match="run_processes: size must be an integer of at least 1"):
        run_processes(0, print)
    with pytest.raises(ValueError, match="run_processes: timeout must be"):
        run_processes(1, print, timeout=0)
