"""Every channel keeps the rules of Comm: the same tests, on threads, processes and Dask workers."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from course_lib.parallel.channels import OnChannel, connected
from course_lib.parallel.collectives import all_gather, all_reduce, barrier, broadcast
from course_lib.parallel.comm import Counters, run_threads
from course_lib.parallel.errors import Aborted, CommTimeout, PeerLeft, RankFailed
from course_lib.parallel.launch import run_processes
from tests.patience import patient

Run = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def threads_client() -> Iterator[Any]:
    """Three Dask workers that are threads of this process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


class OnPretendedHosts:
    """Ranks 0 and 2 on one host, rank 1 on another."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, comm):
        with connected(comm, "hierarchical", host="ab"[comm.rank % 2]) as channel:
            channel.counters = Counters()
            return self.fn(channel)


def call_pickled(comm, program):
    return pickle.loads(program)(comm)


def in_processes(n, fn, **options):
    """Run functions that are defined in a test, which the standard pickle refuses."""
    program = pytest.importorskip("cloudpickle").dumps(OnChannel(fn, "shared_memory"))
    return run_processes(n, call_pickled, program, **options)


CHANNELS = [
    "threads",
    "shared memory, threads",
    "hierarchical, threads",
    "shared memory, processes",
    "dask",
    "shared memory, dask",
    "gloo, dask",
    "hierarchical, dask",
    "auto, dask in one process",
]


@pytest.fixture(params=CHANNELS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run fn(comm) as ranks, on each channel."""
    channel, _, where = request.param.partition(", ")
    if channel == "threads":
        return run_threads
    if where == "threads":
        over = OnPretendedHosts if channel == "hierarchical" else OnChannel
        return lambda n, fn, **options: run_threads(n, over(fn), **options)
    if where == "processes":
        request.getfixturevalue("quick_processes")
        return in_processes
    from course_lib.parallel import gang

    name = "threads_client" if where == "dask in one process" else "client"
    client = request.getfixturevalue(name)
    if channel == "gloo":
        pytest.importorskip("torch")
        client.run(exec, "import torch.distributed")  # takes seconds, once
    if channel == "hierarchical":
        return lambda n, fn, **options: gang(
            client, OnPretendedHosts(fn), n, comm="dask", **options
        )
    kind = channel.replace(" ", "_")
    return lambda n, fn, **options: gang(client, fn, n, comm=kind, **options)


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

    assert 0.15 < run(2, fn)[1] < patient(5)


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
    assert time.monotonic() - start < patient(5)


def test_the_timeout_bounds_each_wait_not_the_whole_run(run):
    def fn(comm):
        comm.timeout = 1.0
        for _ in range(7):
            time.sleep(0.2)
            barrier(comm)
        return "done"

    assert run(2, fn) == ["done", "done"]


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
    assert time.monotonic() - start < patient(5)


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


@pytest.mark.parametrize("reduce", [barrier, lambda comm: all_reduce(comm, np.ones(3))])
def test_a_rank_that_does_not_come_to_a_reduction_is_an_error_in_time(run, reduce):
    def fn(comm):
        comm.step = 4
        if comm.rank == 0:
            comm.timeout = 0.3
            reduce(comm)
        else:
            time.sleep(1.5)

    start = time.monotonic()
    with pytest.raises(CommTimeout, match=r"rank 0 waited 0.3 s .*\(step 4\)"):
        run(2, fn, timeout=20)
    assert time.monotonic() - start < patient(10)


def test_a_failure_stops_those_who_wait_in_a_reduction(run):
    def fn(comm):
        array = comm.buffer(10, np.float64)
        for _ in range(3):
            all_reduce(comm, array)
        if comm.rank == 1:
            time.sleep(0.2)
            raise ZeroDivisionError("on purpose")
        all_reduce(comm, array)

    start = time.monotonic()
    with pytest.raises(RankFailed, match="ZeroDivisionError: on purpose"):
        run(3, fn, timeout=30)
    assert time.monotonic() - start < patient(10)


DTYPES = [np.float64, np.float32, np.int64, np.int32, np.uint8, np.complex128, np.bool_]


def test_a_sum_has_the_same_bits_on_every_rank_for_arrays_of_any_kind(run):
    def fn(comm):
        sums = []
        for dtype in DTYPES:
            for shape in ((), (0,), (1,), (7, 3), (50_000,)):
                rng = np.random.default_rng(comm.rank)
                array = np.asarray(rng.integers(0, 9, shape) + 0.1 * (dtype != np.uint8))
                sums.append(all_reduce(comm, array.astype(dtype)))
        return sums

    first, *others = run(3, fn)
    for other in others:
        assert [a.tobytes() for a in other] == [a.tobytes() for a in first]
    for mine, expected in zip(first, run_threads(3, fn)[0], strict=True):
        assert (mine.shape, mine.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(mine, expected, rtol=1e-6)  # float32, in another order


def collectives(comm):
    array = np.random.default_rng(comm.rank).normal(size=1000)
    return [
        *(
            all_reduce(comm, array.copy(), algorithm).tobytes()
            for algorithm in ("ordered", "tree", "ring", "recursive_doubling")
        ),
        broadcast(comm, array.copy(), root=2).tobytes(),
        [a.tobytes() for a in all_gather(comm, array[: comm.rank])],
    ]


def test_collectives_give_the_same_bits_on_every_channel(run):
    assert run(3, collectives) == run_threads(3, collectives)


def test_two_ranks_add_to_the_same_bits_on_every_channel_however_they_do_it(run):
    """Two numbers have one sum; from three on, the order matters."""

    def fn(comm):
        buffer = comm.buffer(1000, np.float32)
        buffer[:] = np.random.default_rng(comm.rank).normal(size=1000)
        return all_reduce(comm, buffer).tobytes()

    assert run(2, fn) == run_threads(2, fn)
