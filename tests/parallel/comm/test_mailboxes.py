"""A mailbox holds the messages of one run, and nothing when the run is over."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from course_lib.parallel.comm.mailbox import Mailbox, _numbered
from course_lib.parallel.errors import Aborted
from tests.patience import patient

ONE = np.array([1.0])


def test_what_has_been_taken_leaves_nothing_behind():
    box = Mailbox()
    for step in range(5):
        box.put(1, step, ONE)
        box.put(1, step, 2 * ONE)
        assert [box.take(1, step, 0.0)[0], box.take(1, step, 0.0)[0]] == [1.0, 2.0]
    assert box.take(1, 0, 0.0) is None
    assert box._messages == {}  # a tag per step would otherwise pile up


def test_who_has_left_gets_no_more_messages_and_keeps_none():
    box = Mailbox()
    assert box.put(1, "a", ONE)
    box.close()
    assert not box.put(1, "a", ONE)
    assert box._messages == {}


def test_the_first_of_any_sender_is_the_oldest_with_this_tag_of_those_asked_for():
    box = Mailbox()
    for source, tag in ((3, "a"), (2, "b"), (4, "a"), (1, "a")):
        box.put(source, tag, ONE)
    assert box.first(lambda source, tag: tag == "a" and source in {1, 4}, 0.0) == 4
    assert box.first(lambda source, tag: tag == "a" and source == 2, 0.0) is None


def test_who_waits_for_any_sender_wakes_when_one_sends():
    box = Mailbox()
    threading.Timer(0.1, box.put, (2, "a", ONE)).start()
    assert box.first(lambda source, tag: tag == "a", patient(20)) == 2


def test_the_first_reason_to_stop_stays():
    box = Mailbox()
    box.abort("rank 1 failed")
    box.abort("rank 0 was told to stop")
    with pytest.raises(Aborted, match="rank 1 failed"):
        box.take(1, "a", 0.0)


@pytest.fixture
def worker():
    """As much of a Dask worker as its mailboxes need."""
    pytest.importorskip("distributed")
    from course_lib.parallel.comm.dask_comm import PLUGIN, Mailboxes

    found = SimpleNamespace(handlers={}, plugins={PLUGIN: Mailboxes()}, data={})
    found.plugins[PLUGIN].setup(found)
    return found


def deliver(worker, generation, array, tag="a"):
    """Whether a message that another worker sends is accepted."""
    handler = worker.handlers["course_lib_deliver"]
    return asyncio.run(handler(generation=generation, source=1, tag=tag, array=array))


def test_what_comes_for_a_run_that_has_ended_is_refused_and_enters_no_other(worker):
    from course_lib.parallel.comm.dask_comm import Mailboxes

    boxes = Mailboxes.of(worker)
    box = boxes.enter("first")
    assert deliver(worker, "first", ONE)
    boxes.leave("first", "the run has ended")
    boxes.leave("first", "heard later")
    assert not deliver(worker, "first", ONE)
    for again in (lambda: boxes.enter("first"), lambda: box.take(1, "a", 0.0)):
        with pytest.raises(Aborted, match="the run has ended"):
            again()
    assert box._messages == {} and boxes._open == {}
    assert boxes.enter("second").take(1, "a", 0.0) is None


def test_a_message_that_comes_before_its_rank_waits_for_it(worker):
    from course_lib.parallel.comm.dask_comm import Mailboxes

    assert deliver(worker, "run", ONE)
    assert Mailboxes.of(worker).enter("run").take(1, "a", 0.0) is ONE


def test_of_runs_that_have_ended_only_the_last_are_remembered(worker, monkeypatch):
    from course_lib.parallel.comm.dask_comm import Mailboxes

    monkeypatch.setattr("course_lib.parallel.comm.dask_comm._REMEMBERED", 3)
    boxes = Mailboxes.of(worker)
    for number in range(6):
        boxes.leave(f"run {number}", "over")
    assert list(boxes._ended) == ["run 3", "run 4", "run 5"]


def test_a_received_array_can_be_written_to_though_its_bytes_can_not(worker):
    from course_lib.parallel.comm import DaskComm

    bytes_received = np.frombuffer(ONE.tobytes())
    assert not bytes_received.flags.writeable
    comm = DaskComm(worker, "run", 0, ["tcp://a:1", "tcp://b:1"], timeout=0.0)
    for number, sent in enumerate((bytes_received, ONE.copy())):
        deliver(worker, "run", sent, _numbered("a", number))
        got = comm.recv(1, "a")
        got += 1.0
        assert got.tolist() == [2.0]
