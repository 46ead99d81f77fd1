"""What a Dask worker keeps of runs: the mailbox of each, while it lasts, and what is told of it."""

from __future__ import annotations

import asyncio
import os
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

from course_lib.parallel import gang
from course_lib.parallel.comm.dask_comm import ABORT, DELIVER, PLUGIN, RESULT, Mailboxes
from course_lib.parallel.errors import Aborted, RankFailed
from tests.patience import patient


class FakeWorker:
    def __init__(self):
        self.handlers, self.data = {}, {}


@pytest.fixture
def worker():
    worker = FakeWorker()
    worker.mailboxes = Mailboxes()
    worker.mailboxes.setup(worker)
    return worker


def call(worker, op, **message):
    return asyncio.run(worker.handlers[op](**message))


def test_a_message_reaches_its_own_run_only_also_before_the_rank_has_begun(worker):
    for run in ("a", "b"):
        assert call(worker, DELIVER, generation=run, source=1, tag="x", array=np.array([run]))
    box = worker.mailboxes.enter("b")
    assert box.take(1, "x", 1.0).tolist() == ["b"]
    assert box.take(1, "x", 0.0) is None
    assert worker.mailboxes.enter("b") is box


@pytest.mark.parametrize("how", ["leave", "abort"])
def test_a_run_that_has_ended_takes_no_message_and_says_why(worker, how):
    boxes = worker.mailboxes
    box, other = boxes.enter("a"), boxes.enter("b")
    boxes.begin("a")
    if how == "leave":
        boxes.leave("a", "rank 1 failed")
    else:
        assert call(worker, ABORT, generation="a", reason="rank 1 failed") == "OK"
    boxes.leave("a", "later")  # the first reason stays
    with pytest.raises(Aborted, match="^rank 1 failed$"):
        box.take(1, "x", 1.0)
    with pytest.raises(Aborted, match="^rank 1 failed$"):
        boxes.enter("a")
    deliver = {"generation": "a", "source": 1, "tag": "x", "array": np.zeros(1)}
    assert call(worker, DELIVER, **deliver) is False
    assert not box.put(1, "x", np.zeros(1))
    assert call(worker, RESULT, generation="a", key="k") == {"started": False}
    assert other.put(1, "x", np.zeros(1))  # the other run goes on


def test_whether_all_have_started_and_what_a_rank_returned_can_be_asked(worker):
    ask = {"generation": "a", "key": "rank-a-1"}
    worker.mailboxes.enter("a")  # one rank has begun, or a message has come
    assert call(worker, RESULT, **ask) == {"started": False}
    worker.mailboxes.begin("a")
    assert call(worker, RESULT, **ask) == {"started": True}
    worker.data |= {"rank-a-1": 5, "rank-b-1": 6}
    worker.mailboxes.leave("a", "over")
    answer = call(worker, RESULT, **ask)
    assert answer["started"] and answer["result"].data == 5


def kept(dask_worker):
    boxes = dask_worker.plugins[PLUGIN]
    return len(boxes._open), len(boxes._begun), len(boxes._ended), id(boxes)


def test_a_worker_keeps_nothing_of_a_run_but_its_name(client):
    gang(client, lambda comm: comm.rank, 3)
    before = client.run(kept)
    with pytest.raises(RankFailed):
        gang(client, lambda comm: [comm.send(0, "never read", np.zeros(9)), 1 // comm.rank], 3)
    gang(client, lambda comm: comm.rank, 2)
    after = client.run(kept)
    for address, (_, _, ended, plugin) in before.items():
        runs = 1 + (address in sorted(before)[:2])
        assert after[address] == (0, 0, ended + runs, plugin)  # and the plugin is the same


# --- what a rank may say ---

UNUSUAL = {
    "a name that is not UTF-8": os.fsdecode(b"caf\xe9"),
    "a number of NumPy": np.float32(0.5),
    "a set": {1, 2},
    "a large integer": 2**80,
    "an array": np.arange(3),
    "a key that is a tuple": {(1, 2): 3},
}


@pytest.mark.parametrize("value", UNUSUAL.values(), ids=UNUSUAL)
def test_whatever_is_reported_arrives_and_costs_no_worker(client, value):
    """What Dask can not encode would break the worker's connection, and so remove it."""
    workers, heard = set(client.nthreads()), []
    gang(client, lambda comm: comm.report({"it": value}), 1, on_report=heard.append)
    [report] = heard
    np.testing.assert_equal(report, {"it": value})
    assert type(report["it"]) is type(value)
    assert gang(client, lambda comm: comm.rank, 3, timeout=patient(20)) == [0, 1, 2]
    assert set(client.nthreads()) == workers


def test_what_can_not_be_sent_is_refused_where_it_is_reported(client):
    import threading

    with pytest.raises(RankFailed, match=r"TypeError: rank 0: a report must be a dictionary of"):
        gang(client, lambda comm: comm.report({"lock": threading.Lock()}), 1)


@pytest.mark.parametrize("how", ["raise", "abort"])
def test_a_reason_that_is_no_text_stops_the_others_too(client, how):
    name = UNUSUAL["a name that is not UTF-8"]

    def fn(comm):
        if comm.rank == 0:
            comm.recv(1, "never")
        if how == "abort":
            comm.abort(name)
            return comm.recv(0, "never")
        raise ValueError(name)

    start = time.monotonic()
    with pytest.raises((RankFailed, Aborted), match=r"caf"):
        gang(client, fn, 2, timeout=patient(30))
    assert time.monotonic() - start < patient(8)
    assert gang(client, lambda comm: comm.rank, 3, timeout=patient(20)) == [0, 1, 2]
