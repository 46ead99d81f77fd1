"""Every channel keeps the rules of Comm: the same tests, on threads and on Dask workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from course_lib.parallel.collectives import all_gather, all_reduce, barrier, broadcast
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import Aborted, CommTimeout, PeerLeft, RankFailed

pytestmark = pytest.mark.timeout(60)

Run = Callable[..., list[Any]]


@pytest.fixture(scope="module", params=["threads", "dask", "dask in one process"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run fn(comm) as ranks, on each channel."""
    if request.param == "threads":
        yield run_threads
        return
    distributed = pytest.importorskip("distributed")
    from course_lib.parallel import gang

    with (
        distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            processes=request.param == "dask",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield lambda n, fn, **options: gang(client, fn, n, **options)


def test_messages_with_one_tag_arrive_in_order_and_tags_do_not_mix(run):
    def fn(comm):
        if comm.rank == 0:
            for i in range(5):
                comm.send(1, "a", np.array([i]))
                comm.send(1, 7, np.array([10 + i]))
            return None
        sevens = [int(comm.recv(0, 7)[0]) for _ in range(5)]
        return sevens, [int(comm.recv(0, "a")[0]) for _ in range(5)]

    assert run(2, fn)[1] == ([10, 11, 12, 13, 14], [0, 1, 2, 3, 4])


def test_messages_of_different_senders_do_not_mix(run):
    def fn(comm):
        if comm.rank:
            comm.send(0, "x", np.array([comm.rank]))
            return None
        return [int(comm.recv(source, "x")[0]) for source in (2, 1)]

    assert run(3, fn)[0] == [2, 1]


ARRAYS = [
    np.array(3.5),  # no dimension
    np.zeros((0, 4)),
    np.arange(6.0).reshape(2, 3).T,  # not contiguous
    np.arange(12, dtype=np.float32)[::2],
    np.array([[1, -2]], dtype=np.int64),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.ones((300, 500)),  # large enough to be sent in its own frame
]


def test_arrays_arrive_as_they_were_sent_and_belong_to_the_receiver(run):
    def fn(comm):
        if comm.rank == 0:
            for array in ARRAYS:
                comm.send(1, "x", array)
            return None
        received = [comm.recv(0, "x") for _ in ARRAYS]
        for array in received:
            array[...] = array  # writable
        return [(a.shape, a.dtype, bool(np.all(a == b))) for a, b in zip(received, ARRAYS)]  # noqa: B905

    assert run(2, fn)[1] == [(a.shape, a.dtype, True) for a in ARRAYS]


def test_the_sender_may_overwrite_its_array_and_the_receiver_its_own(run):
    def fn(comm):
        array = np.ones(3)
        if comm.rank == 0:
            comm.send(1, "x", array)
            array[:] = 2
            barrier(comm)
        else:
            barrier(comm)  # only now look: after the sender has overwritten
            array = comm.recv(0, "x")
            array += 4
        barrier(comm)
        return array[0]

    assert run(2, fn) == [2, 5]


def test_messages_and_bytes_are_counted_where_they_are_sent(run):
    def fn(comm):
        if comm.rank == 0:
            comm.send(1, "x", np.zeros(10))
            comm.send(1, "x", np.zeros((2, 3), np.float32))
        else:
            time.sleep(0.1)
            comm.recv(0, "x")
            comm.recv(0, "x")
        return comm.counters

    first, second = run(2, fn)
    assert (first.messages, first.bytes, first.waiting) == (2, 80 + 24, 0.0)
    assert (second.messages, second.bytes) == (0, 0)


def test_waiting_is_measured(run):
    def fn(comm):
        if comm.rank == 0:
            time.sleep(0.3)
            comm.send(1, "x", np.zeros(1))
        else:
            comm.recv(0, "x")
        return comm.counters.waiting

    assert 0.15 < run(2, fn)[1] < 5


def test_a_message_that_does_not_come_is_an_error_in_time(run):
    def fn(comm):
        comm.step = 3
        if comm.rank == 0:
            comm.recv(1, "x", timeout=0.3)
        else:
            comm.recv(0, "y")

    start = time.monotonic()
    with pytest.raises(CommTimeout, match=r"rank 0 waited 0.3 s for 'x' from rank 1.*\(step 3\)"):
        run(2, fn, timeout=20)
    assert time.monotonic() - start < 5


def test_the_timeout_bounds_each_wait_not_the_whole_run(run):
    def fn(comm):
        for _ in range(7):
            time.sleep(0.5)
            barrier(comm)
        return "done"

    assert run(2, fn, timeout=3) == ["done", "done"]


@pytest.mark.parametrize("peer", [0, 2, -1])
def test_only_other_ranks_can_be_talked_to(run, peer):
    def fn(comm):
        if comm.rank == 0:
            for attempt in (lambda: comm.send(peer, "x", np.zeros(1)), lambda: comm.recv(peer, 0)):
                with pytest.raises(ValueError, match=rf"rank 0 of 2 cannot .* rank {peer}"):
                    attempt()

    run(2, fn)


def test_only_numbers_can_be_sent(run):
    def fn(comm):
        comm.send(1 - comm.rank, "x", np.array(["text"]))

    with pytest.raises(RankFailed, match="send takes an array of numbers, got dtype <U4"):
        run(2, fn)


def test_sending_to_a_rank_that_has_returned_is_an_error(run):
    def fn(comm):
        if comm.rank == 0:
            time.sleep(0.5)
            comm.send(1, "x", np.zeros(1))

    with pytest.raises(PeerLeft, match=r"rank 0 sent 'x' to rank 1, which had already left"):
        run(2, fn)


def test_abort_stops_the_others(run):
    def fn(comm):
        if comm.rank == 1:
            comm.abort("the cat is on the keyboard")
        comm.recv(1 - comm.rank, "never")

    start = time.monotonic()
    with pytest.raises(Aborted, match="the cat is on the keyboard"):
        run(2, fn, timeout=20)
    assert time.monotonic() - start < 5


def test_the_first_cause_is_reported_not_its_consequences(run):
    def fn(comm):
        if comm.rank == 2:
            comm.step = 11
            raise ZeroDivisionError("on purpose")
        comm.recv(2, "never")

    with pytest.raises(
        RankFailed, match=r"rank 2.* in step 11: ZeroDivisionError: on purpose"
    ) as e:
        run(3, fn, timeout=20)
    assert isinstance(e.value.__cause__, ZeroDivisionError)
    assert e.value.rank == 2


def test_reports_arrive_in_order(run):
    seen = []

    def fn(comm):
        for i in range(10):
            comm.report({"i": i, "text": "x", "loss": 0.5})

    run(1, fn, on_report=seen.append)
    assert seen == [{"i": i, "text": "x", "loss": 0.5} for i in range(10)]


def test_a_buffer_is_reduced_in_place(run):
    def fn(comm):
        buffer = comm.buffer(4, np.float32)
        before = buffer.copy()
        buffer += comm.rank + 1
        return before.tolist(), buffer.dtype, all_reduce(comm, buffer) is buffer, buffer.tolist()

    for before, dtype, same, after in run(3, fn):
        assert (before, dtype, same, after) == ([0.0] * 4, np.float32, True, [6.0] * 4)


def collectives(comm):
    array = np.random.default_rng(comm.rank).normal(size=1000)
    tree = all_reduce(comm, array.copy(), "tree").tobytes()
    ordered = all_reduce(comm, array.copy()).tobytes()
    shared = broadcast(comm, array.copy(), root=2).tobytes()
    return tree, ordered, shared, [a.tobytes() for a in all_gather(comm, array[: comm.rank])]


def test_collectives_give_the_same_bits_on_every_channel(run):
    assert run(3, collectives) == run_threads(3, collectives)
