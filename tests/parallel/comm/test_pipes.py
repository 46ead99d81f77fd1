"""Ranks that talk through pipes; here all are in this process, which changes nothing for a pipe."""

from __future__ import annotations

import time
from multiprocessing import Pipe

import numpy as np
import pytest

from course_lib.parallel.comm import Pipes
from course_lib.parallel.errors import Aborted, CommTimeout, PeerLeft
from tests.patience import patient

ONE = np.array([1.0, 2.0])


@pytest.fixture
def gang():
    """Makes the communicators of some ranks, and gives the driver's ends of their pipes."""
    kept = []

    def make(size, timeout=30.0):
        ends = [{} for _ in range(size)]
        for a in range(size):
            for b in range(a + 1, size):
                ends[a][b], ends[b][a] = Pipe()
        drivers = [Pipe() for _ in range(size)]
        kept.extend([*drivers, *(tuple(peers.values()) for peers in ends)])
        comms = [Pipes(r, ends[r], theirs, timeout) for r, (_, theirs) in enumerate(drivers)]
        return comms, [ours for ours, _ in drivers]

    yield make
    for ends in kept:
        for end in ends:
            end.close()


def test_messages_of_each_pair_arrive_in_order(gang):
    comms, _ = gang(3)
    for source in comms:
        for target in comms:
            if source is not target:
                source.send(target.rank, "a", ONE + source.rank)
                source.send(target.rank, "a", ONE - source.rank)
    for target in comms:
        for source in comms:
            if source is not target:
                assert target.recv(source.rank, "a").tolist() == (ONE + source.rank).tolist()
                assert target.recv(source.rank, "a").tolist() == (ONE - source.rank).tolist()
    assert [comm.counters.messages for comm in comms] == [4, 4, 4]


def test_what_was_sent_before_leaving_arrives_and_nothing_can_be_sent_after(gang):
    (zero, one, two), _ = gang(3)
    one.send(0, "a", ONE)
    one.leave()
    assert zero.recv(1, "a").tolist() == [1.0, 2.0]
    for comm in (zero, two):
        with pytest.raises(PeerLeft, match="to rank 1, which had already left"):
            end = time.monotonic() + patient(10)
            while time.monotonic() < end:  # until its thread has noticed
                comm.send(1, "b", ONE)
        sent = comm.counters.messages
        with pytest.raises(PeerLeft, match="to rank 1, which had already left"):
            comm.send(1, "b", ONE)
        assert comm.counters.messages == sent
    zero.send(2, "a", ONE)  # the others go on
    assert two.recv(0, "a").tolist() == [1.0, 2.0]


def test_a_process_that_does_not_read_is_noticed_in_time():
    (ours, theirs), (driver, end) = Pipe(), Pipe()
    zero = Pipes(0, {1: ours}, end, timeout=0.4)
    zero.step = 3
    start = time.monotonic()
    with pytest.raises(CommTimeout, match=r"could not hand 'a'.* to rank 1 within 0.4 s") as e:
        zero.send(1, "a", np.zeros(10_000_000))
    assert 0.3 < time.monotonic() - start < patient(5)
    assert (e.value.rank, e.value.step) == (1, 3)
    for connection in (theirs, driver):
        connection.close()


def test_the_driver_hears_reports_and_who_wants_to_stop_all(gang):
    (zero, _), (driver, _) = gang(2)
    zero.report({"epoch": 1})
    zero.abort("rank 0 has seen enough")
    assert driver.recv() == ("report", {"epoch": 1})
    assert driver.recv() == ("abort", "rank 0 has seen enough")
    with pytest.raises(Aborted, match="rank 0 has seen enough"):
        zero.recv(1, "a")


@pytest.mark.parametrize("says", ["rank 1 failed", None])
def test_a_rank_stops_when_the_driver_says_so_or_is_gone(gang, says):
    (zero, _), (driver, _) = gang(2)
    if says is None:
        driver.close()
    else:
        driver.send(says)
    with pytest.raises(Aborted, match=says or "the process that started the ranks is gone"):
        zero.recv(1, "a")


def test_a_pipe_that_breaks_while_sending_is_a_rank_that_has_left(gang):
    """It may do so before the thread that listens to it has noticed."""

    class Broken:
        def send(self, message):
            raise BrokenPipeError

    (zero, _), _ = gang(2)
    zero._peers[1] = Broken()
    with pytest.raises(PeerLeft, match="to rank 1, which had already left"):
        zero.send(1, "a", ONE)
    assert zero.counters.messages == 0
