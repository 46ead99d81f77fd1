"""Late and overtaking messages change nothing; a rank that dies anywhere ends the run at once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from course_lib import SGD
from course_lib.parallel import AsyncParameterServer, Mesh, train
from course_lib.parallel.channels import SharedMemory
from course_lib.parallel.collectives import (
    all_agree,
    all_gather,
    all_reduce,
    barrier,
    broadcast,
    reduce_scatter,
)
from course_lib.parallel.comm import InProcess, run_threads
from course_lib.parallel.errors import CommTimeout, WorkerLost
from course_lib.parallel.faults import Faults
from tests.parallel.sessions import NOISY, X, Y, start
from tests.patience import patient


def everything(comm):
    """All collectives, several times, so that rounds could mix."""
    results = []
    for k in range(3):
        array = np.random.default_rng([comm.rank, k]).normal(size=17)
        for algorithm in ("ordered", "tree", "ring", "recursive_doubling"):
            results.append(all_reduce(comm, array.copy(), algorithm).tobytes())
        results.append(reduce_scatter(comm, array.copy()).tobytes())
        results.append(broadcast(comm, array.copy(), root=k % comm.size).tobytes())
        results += [a.tobytes() for a in all_gather(comm, array[: comm.rank])]
        results.append(all_agree(comm, comm.rank != k))
        barrier(comm)
    return results


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_collectives_give_the_same_bits_however_late_their_messages_come(size):
    expected = run_threads(size, everything)
    for seed in range(3):
        faults = Faults(delay=0.003, seed=seed)
        assert run_threads(size, everything, faults=faults) == expected


def test_messages_overtake_each_other_but_not_those_with_the_same_tag():
    def fn(comm):
        if comm.rank:
            for k in range(20):
                comm.send(0, k % 2, np.array([k]))
            return None
        order = []
        while len(order) < 20:
            for tag in (0, 1):
                try:
                    order.append(int(comm.recv(1, tag, timeout=0.001)[0]))
                except Exception:
                    continue
        return order

    order = run_threads(2, fn, faults=Faults(delay=0.02))[0]
    assert [k for k in order if k % 2 == 0] == list(range(0, 20, 2))
    assert [k for k in order if k % 2 == 1] == list(range(1, 20, 2))


def test_a_later_message_with_another_tag_may_come_first():
    def fn(comm):
        if comm.rank == 0:
            for tag in range(50):
                comm.send(1, tag, np.array([tag]))
            return None
        time.sleep(0.2)
        # Behind each tag stands the number of the message, here always 0.
        return [int(tag.split()[0]) for _, tag in comm._mailbox._messages]

    arrived = run_threads(2, fn, faults=Faults(delay=0.05))[1]
    assert sorted(arrived) == list(range(50))
    assert arrived != list(range(50))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_death_at_any_operation_of_any_rank_is_reported_and_nobody_hangs(size):
    def fn(comm):
        for comm.step in range(2):
            all_reduce(comm, np.ones(5), "ring")
            all_agree(comm, True)

    start = time.monotonic()
    for rank in range(size):
        for operation in range(2 * 4 * (size - 1)):
            with pytest.raises(WorkerLost, match=rf"rank {rank} died at its operation {operation}"):
                run_threads(size, fn, timeout=20, faults=Faults(death={rank: operation}))
    assert time.monotonic() - start < patient(20)


def test_death_stops_those_who_wait_in_shared_memory():
    def fn(comm):
        shared = SharedMemory(comm)
        barrier(shared)
        if comm.rank == 1:
            comm.send(0, "x", np.ones(1))
        barrier(shared)

    handshake = run_threads(3, lambda c: SharedMemory(c) and c.counters.messages)[1]
    start = time.monotonic()
    with pytest.raises(WorkerLost, match="rank 1 died at its operation"):
        # Its receives in the handshake: one of the path, one of the vote.
        run_threads(3, fn, timeout=30, faults=Faults(death={1: handshake + 2}))
    assert time.monotonic() - start < patient(10)


class Unfaithful:
    """Delivers one of a rank's messages not once but as often as asked, and counts them all."""

    def __init__(self, monkeypatch, rank, number, times):
        self.sent, self._wrong, self._times = [0, 0], (rank, number), times
        self._deliver = InProcess._deliver
        monkeypatch.setattr(InProcess, "_deliver", lambda comm, *message: self(comm, *message))

    def __call__(self, comm, dst, tag, array):
        here = comm.rank, self.sent[comm.rank]
        self.sent[comm.rank] += 1
        for _ in range(self._times if here == self._wrong else 1):
            if not self._deliver(comm, dst, tag, array):
                return False
        return True


@pytest.mark.parametrize("times", [0, 2], ids=["lost", "twice"])
@pytest.mark.parametrize(
    "strategy",
    [
        "sync", "virtual:4", "local:3", AsyncParameterServer(0), "zero1", "topk:0.2", "powersgd:2",
        "pipeline:2:4", "pipeline:2:2:1f1b", "tensor", Mesh(pipeline=2, micro_batches=4),
    ],
    ids=str,
)  # fmt: skip
def test_a_message_that_is_lost_or_comes_twice_changes_no_bit(strategy, times, monkeypatch):
    """At most, the wait for it is in vain; no later one is taken for it."""
    options = {
        "optimizer": SGD(0.1), "strategy": strategy, "workers": 2, "epochs": 2, "batch_size": 16,
        "seed": 5, "theta": start(NOISY), "validation": (X[:11], Y[:11]), "comm": "inprocess",
    }  # fmt: skip
    with monkeypatch.context() as patch:
        honest = Unfaithful(patch, None, None, 1)
        quiet = train(NOISY, (X, Y), **options)
    chance = np.random.default_rng(0)
    in_vain = 0
    for rank, sent in enumerate(honest.sent):
        for number in {0, sent - 1, *chance.integers(0, sent, 3).tolist()} - {-1}:
            with monkeypatch.context() as patch:
                Unfaithful(patch, rank, number, times)
                try:
                    result = train(NOISY, (X, Y), timeout=30 if times else 0.4, **options)
                except CommTimeout:
                    in_vain += 1
                    continue
            assert result.digests == quiet.digests
            assert result.history == quiet.history
    assert (in_vain > 0) == (times == 0)


def test_no_faults_are_no_faults():
    assert run_threads(3, everything, faults=Faults()) == run_threads(3, everything)


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"death": {0: -1}}, {"death": {-1: 0}}])
def test_negative_faults_are_refused(wrong):
    with pytest.raises(ValueError, match="Faults: (delay|death|each rank of death).* must be"):
        Faults(**wrong)


def test_what_delivers_late_messages_ends_with_the_run():
    run_threads(2, lambda comm: barrier(comm), faults=Faults(delay=0.001))
    end = time.monotonic() + patient(5)
    while any(thread.name == "courier" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
