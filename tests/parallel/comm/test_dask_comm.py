"""Messages between Dask workers, which are pretended: a loop, and calls that go to the peer."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("distributed")

from course_lib.parallel.comm import DaskComm
from course_lib.parallel.comm.dask_comm import PLUGIN, Mailboxes, topic
from course_lib.parallel.errors import Aborted, CommTimeout, PeerLeft, WorkerLost
from tests.patience import patient

RUN = "a-run"
ONE = np.array([1.0, 2.0])


class Cluster:
    """Workers by address; `instead` takes the place of what is called at one of them."""

    def __init__(self, loop, addresses):
        self.workers, self.calls, self.instead = {}, [], {}
        for address in addresses:
            worker = SimpleNamespace(
                handlers={}, plugins={PLUGIN: Mailboxes()}, data={}, address=address,
                loop=SimpleNamespace(asyncio_loop=loop), rpc=self.rpc, events=[],
            )  # fmt: skip
            worker.log_event = lambda name, message, w=worker: w.events.append((name, message))
            worker.plugins[PLUGIN].setup(worker)
            self.workers[address] = worker

    def rpc(self, address):
        def call(op):
            async def answer(**message):
                self.calls.append((address, op))
                if "array" in message:
                    message["array"] = message["array"].data  # what travels as bytes
                return await self.instead.get(address, self.workers[address].handlers[op])(
                    **message
                )

            return answer

        return type("Rpc", (), {"__getattr__": lambda _, op: call(op)})()

    def comm(self, rank, timeout=30.0):
        addresses = list(self.workers)
        return DaskComm(self.workers[addresses[rank]], RUN, rank, addresses, timeout)


@pytest.fixture
def loop():
    found = asyncio.new_event_loop()
    thread = threading.Thread(target=found.run_forever, daemon=True)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join()
    found.close()


@pytest.fixture
def cluster(loop):
    return Cluster(loop, ["tcp://10.0.0.1:1", "tcp://10.0.0.2:2", "tcp://10.0.0.2:3"])


def test_a_message_is_handed_to_the_worker_of_its_rank_at_once(cluster):
    start = time.monotonic()
    zero, two = cluster.comm(0), cluster.comm(2)
    zero.send(2, "a", ONE)
    assert two.recv(0, "a").tolist() == [1.0, 2.0]
    assert cluster.calls == [("tcp://10.0.0.2:3", "course_lib_deliver")]
    assert time.monotonic() - start < patient(5)  # far from the timeout: the answer wakes the rank
    assert (zero.host, two.host) == ("10.0.0.1", "10.0.0.2")
    assert (zero.counters.messages, zero.counters.bytes) == (1, ONE.nbytes)


def test_workers_that_are_threads_of_one_process_do_not_share_the_array(loop):
    near = Cluster(loop, ["inproc://a/1", "inproc://a/2"])
    zero, one, sent = near.comm(0), near.comm(1), ONE.copy()
    zero.send(1, "a", sent)
    sent += 5
    assert one.recv(0, "a").tolist() == [1.0, 2.0]


def test_a_rank_that_has_left_is_said(cluster):
    zero = cluster.comm(0)
    Mailboxes.of(cluster.workers["tcp://10.0.0.2:2"]).leave(RUN, "it has returned")
    zero.step = 6
    with pytest.raises(PeerLeft, match="to rank 1, which had already left") as e:
        zero.send(1, "a", ONE)
    assert e.value.step == 6


def test_to_abort_stops_all_others_once_and_this_rank(cluster):
    comms = [cluster.comm(rank) for rank in range(3)]
    comms[1].abort("rank 1 failed")
    for comm in comms:
        with pytest.raises(Aborted, match="rank 1 failed"):
            comm.recv((comm.rank + 1) % 3, "never")
    stopped = [(place, "course_lib_abort") for place in ("tcp://10.0.0.1:1", "tcp://10.0.0.2:3")]
    assert sorted(cluster.calls) == stopped


@pytest.fixture
def frozen(cluster):
    """What happened to a call of rank 1's worker, which does not answer."""
    fate = []

    async def wait(**_):
        try:
            await asyncio.sleep(patient(60))
        except asyncio.CancelledError:
            fate.append("cancelled")
            raise

    cluster.instead["tcp://10.0.0.2:2"] = wait
    return fate


def hear(fate):
    """Wait for it, a moment."""
    end = time.monotonic() + patient(5)
    while not fate and time.monotonic() < end:
        time.sleep(0.01)
    return fate


def test_a_worker_that_does_not_answer_is_named_in_time_and_the_call_is_given_up(cluster, frozen):
    zero = cluster.comm(0, timeout=0.2)
    zero.step = 4
    with pytest.raises(CommTimeout, match=r"rank 0 could not hand 'a'.* to rank 1 on tcp") as e:
        zero.send(1, "a", ONE)
    assert (e.value.rank, e.value.worker, e.value.step) == (1, "tcp://10.0.0.2:2", 4)
    assert hear(frozen) == ["cancelled"]
    assert zero.counters.messages == 0


def test_who_is_stopped_while_sending_gives_the_call_up(cluster, frozen):
    zero = cluster.comm(0)
    threading.Timer(0.1, Mailboxes.of(zero._worker).leave, (RUN, "stopped")).start()
    with pytest.raises(Aborted, match="stopped"):
        zero.send(1, "a", ONE)
    assert hear(frozen) == ["cancelled"]


def test_a_connection_that_breaks_is_a_lost_worker(cluster):
    async def broken(**_):
        raise OSError("connection reset")

    cluster.instead["tcp://10.0.0.2:2"] = broken
    zero = cluster.comm(0)
    zero.step = 2
    with pytest.raises(WorkerLost, match=r"rank 0 lost the connection to rank 1 on tcp") as e:
        zero.send(1, "a", ONE)
    assert (e.value.rank, e.value.worker, e.value.step) == (1, "tcp://10.0.0.2:2", 2)


def test_what_a_rank_reports_is_logged_for_its_own_run(cluster):
    zero = cluster.comm(0)
    zero.report({"epoch": 3})
    zero.tell_driver({"started": True})
    events = cluster.workers["tcp://10.0.0.1:1"].events
    assert [name for name, _ in events] == [topic(RUN)] * 2
    assert list(events[0][1]) == ["report"] and events[1][1] == {"started": True}
