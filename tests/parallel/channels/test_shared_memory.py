"""Shared memory: the ordered sum to the bit, no busy core while waiting, nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from course_lib.parallel.channels import OnChannel, SharedMemory, choose, connected, host_name
from course_lib.parallel.channels.barrier import LINE, Barrier
from course_lib.parallel.collectives import all_agree, all_reduce, barrier, reduce_scatter
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import Aborted, ParallelError, PeerLeft, RankFailed, WorkerLost
from course_lib.parallel.launch import run_processes
from tests.patience import patient


def numbers(rank, n, dtype):
    return (100 * np.random.default_rng(rank).normal(size=n)).astype(dtype)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_the_sum_is_the_ordered_one_to_the_bit_wherever_the_array_lies(size, dtype):
    def fn(comm):
        shared = SharedMemory(comm)
        # 70 001: several pieces, and parts that do not end at a cache line.
        for n in (0, 1, 7, 1000, 70_001):
            expected = all_reduce(comm, numbers(comm.rank, n, dtype), "ordered")
            buffer = shared.buffer(n + 3, dtype)
            inside, outside = buffer[3:], numbers(comm.rank, n, dtype)
            inside[:] = outside
            for array in (inside, outside):
                assert all_reduce(shared, array) is array
                assert array.tobytes() == expected.tobytes()
            assert not buffer[:3].any()  # what lies beside it is not touched
        shared.close()

    run_threads(size, fn)


def test_arrays_at_different_places_on_each_rank_and_again_at_others():
    def fn(comm):
        shared = SharedMemory(comm)
        buffers = [shared.buffer(5 + comm.rank, np.float64) for _ in range(3)]
        sums = []
        for k in range(40):
            array = buffers[(k * (comm.rank + 1)) % 3][comm.rank :]  # same length, another place
            array[:] = k + comm.rank
            sums.append(all_reduce(shared, array).tolist())
        return sums

    assert run_threads(3, fn) == [[[3.0 * k + 3] * 5 for k in range(40)]] * 3


def test_what_is_remembered_of_arrays_at_ever_other_places_is_bounded():
    def fn(comm):
        shared, known = SharedMemory(comm), []
        buffer = shared.buffer(500, np.float64)
        for start in range(300):
            buffer[:] = comm.rank + start
            assert all_reduce(shared, buffer[start : start + 3]).tolist() == [1.0 + 2 * start] * 3
            known.append(len(shared._plans))
        return max(known)

    assert max(run_threads(2, fn)) <= 32


def test_a_buffer_is_not_copied_and_no_message_is_sent():
    def fn(comm):
        shared = SharedMemory(comm)
        before, array = comm.counters.messages, shared.buffer(10, np.float64)
        array += 1
        all_reduce(shared, array)
        barrier(shared)
        assert all_agree(shared, True)
        part = reduce_scatter(shared, array)
        assert np.shares_memory(part, array)
        return comm.counters.messages - before, part.tolist()

    assert run_threads(2, fn) == [(0, [4.0] * 5)] * 2


def test_a_buffer_outlives_the_communicator():
    def fn(comm):
        shared = SharedMemory(comm)
        array = shared.buffer(100_000, np.float64)
        array += 1
        all_reduce(shared, array)
        shared.close()
        del shared
        return array

    assert {float(a.sum()) for a in run_threads(2, fn)} == {200_000.0}


def test_different_sizes_and_dtypes_are_refused_on_every_rank():
    seen = []

    def fn(comm, make):
        with connected(comm, "shared_memory") as shared:
            try:
                all_reduce(shared, make(comm.rank))
            except ValueError as error:
                seen.append(str(error))

    for make in (lambda r: np.zeros(r + 3), lambda r: np.zeros(3, [np.float64, np.float32][r])):
        run_threads(2, lambda c, m=make: fn(c, m))
    assert len(seen) == 4
    assert any("rank 0 has an array of 3 numbers, float64, but rank 1 has 4" in s for s in seen)
    assert any("rank 1 has an array of 3 numbers, float32, but rank 0 has 3, fl" in s for s in seen)


# --- waiting ---


def test_waiting_for_long_needs_no_core():
    def fn(comm):
        shared = SharedMemory(comm)
        barrier(shared)
        start = time.thread_time()
        if comm.rank == 1:
            time.sleep(1.0)
        barrier(shared)
        return time.thread_time() - start, comm.counters.waiting

    (used, waited), _ = run_threads(2, fn)
    assert used < 0.1  # of a second of waiting
    assert 0.5 < waited < patient(5)


def test_a_rank_that_has_left_is_not_waited_for():
    def fn(comm):
        with connected(comm, "shared_memory") as shared:
            barrier(shared)
            if comm.rank == 0:
                barrier(shared)

    start = time.monotonic()
    with pytest.raises(PeerLeft, match="rank 0 waits for rank 1, which had already left"):
        run_threads(2, fn, timeout=30)
    assert time.monotonic() - start < patient(10)


def test_a_rank_that_has_come_and_then_left_has_come():
    """Its counter may rise and its leaving be seen after this rank has looked at the counter."""

    def fn(comm):
        memory = memoryview(bytearray(2 * LINE))
        barrier, peer = Barrier(comm, memory), memory.cast("q")[LINE // 8 :]
        barrier._come, peer[1] = 1, 1
        with pytest.raises(PeerLeft):
            barrier._give_up_on(1, 0.0)
        peer[0] = 1
        barrier._give_up_on(1, 0.0)

    run_threads(2, lambda comm: fn(comm) if comm.rank == 0 else None)


def test_nobody_passes_the_barrier_before_all_have_come():
    """Oracle: a count under a lock, which is what the barrier does without."""
    come, lock, seen = [0], threading.Lock(), []

    def fn(comm):
        shared = SharedMemory(comm)
        for _ in range(200):
            with lock:
                come[0] += 1
            barrier(shared)
            with lock:
                seen.append(come[0])
            barrier(shared)

    run_threads(4, fn, timeout=30)
    assert seen == [4 * (k + 1) for k in range(200) for _ in range(4)]


def test_the_counters_of_two_ranks_are_on_different_cache_lines():
    memory = memoryview(bytearray(3 * LINE))

    def fn(comm):
        for _ in range(comm.rank, 3):  # each comes often enough, and then says that it leaves
            pass
        gate = Barrier(comm, memory)
        for _ in range(5):
            gate.wait()
        gate.leave()

    run_threads(3, fn)
    words = memory.cast("q")
    assert [words[LINE // 8 * r] for r in range(3)] == [5, 5, 5]
    assert LINE >= 64


# --- nothing left behind, and clear words ---


def ours_in_dev_shm():
    return [p for p in Path("/dev/shm").glob("course-lib*")] if os.path.isdir("/dev/shm") else []


def die(comm, when):
    shared = SharedMemory(comm) if when == "later" else None
    if comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    shared = shared or SharedMemory(comm)
    array = shared.buffer(1000, np.float64)
    while True:
        all_reduce(shared, array)


@pytest.mark.parametrize("when", ["before the others have opened it", "later"])
def test_a_killed_process_leaves_nothing_behind_and_stops_the_others(when):
    start = time.monotonic()
    with pytest.raises(WorkerLost, match="process of rank 1 was killed by signal 9"):
        run_processes(3, die, when, timeout=40)
    assert time.monotonic() - start < patient(30)
    assert ours_in_dev_shm() == []


def test_the_segment_never_has_a_name_on_linux():
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")

    def fn(comm):
        shared = SharedMemory(comm)
        names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                 if os.path.islink(f"/proc/self/fd/{fd}")]  # fmt: skip
        barrier(shared)
        shared.close()
        return [n for n in names if n.startswith("/dev/shm/") and not n.endswith("(deleted)")]

    assert run_threads(1, fn) == [[]]


def test_too_little_shared_memory_is_said(monkeypatch):
    def full(fd, data, offset):
        if len(data) > 4096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data, offset)

    write = os.pwrite

    def fn(comm):
        shared = SharedMemory(comm)
        monkeypatch.setattr(os, "pwrite", full)
        shared.buffer(10_000, np.float64)

    with pytest.raises(
        ParallelError,
        match=r"rank 0 needs 80000 bytes .* has only \d+ left. Enlarge it .*--shm-size",
    ):
        run_threads(1, fn)


def test_ranks_that_can_not_share_memory_are_told_so_all_of_them(monkeypatch):
    seen = []

    def refuse(path, flags, *mode):
        if threading.current_thread().name == "rank-1":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_(path, flags, *mode)

    open_ = os.open
    monkeypatch.setattr(os, "open", refuse)

    def fn(comm):
        try:
            SharedMemory(comm)
        except ParallelError as error:
            seen.append(str(error))
        with connected(comm, "auto") as channel:
            return type(channel).__name__

    with pytest.warns(
        RuntimeWarning, match="can not share memory.*This run goes on without"
    ) as said:
        assert run_threads(3, fn) == ["InProcess"] * 3  # auto: then without
    assert len(said) == 1
    assert len(seen) == 3
    assert all("the ranks can not share memory" in s and "comm='dask'" in s for s in seen)
    assert sum("Permission denied" in s for s in seen) == 1


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("hosts", ["aa", "aab"])
def test_a_run_that_ends_while_it_sets_up_its_memory_does_not_go_on_without(hosts, after):
    """Wherever rank 0 hears of it: that is no shortage of memory, and no warning tells of one."""

    def fn(comm):
        send, sent = comm.send, []

        def interrupted(*message):
            sent.append(message)
            if comm.rank == 1 and len(sent) > after:
                comm.abort("the cat is on the keyboard")
            send(*message)

        comm.send = interrupted
        with connected(comm, "auto", host=hosts[comm.rank]):
            if comm.rank == 1:  # later than its last message here
                comm.abort("the cat is on the keyboard")
            comm.recv(int(comm.rank == 0), "never")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Aborted, match="the cat is on the keyboard"):
            run_threads(len(hosts), fn)


# --- which channel ---


def test_the_channel_follows_from_where_the_ranks_run():
    assert choose(["a"] * 4) == "shared_memory"
    assert choose(["a", "b", "c"]) == "dask"
    assert choose(["a", "b", "a"]) == "hierarchical"
    assert choose(["a"]) == "dask"
    assert host_name() == host_name()

    def fn(comm, hosts):
        with connected(comm, host=hosts[comm.rank]) as channel:
            return type(channel).__name__, int(all_reduce(channel, np.array([1]))[0])

    for hosts, name in (("aa", "SharedMemory"), ("ab", "InProcess"), ("aba", "Hierarchical")):
        expected = [(name, len(hosts))] * len(hosts)
        assert run_threads(len(hosts), lambda c, h=hosts: fn(c, h)) == expected


def test_hosts_of_one_name_are_told_apart_by_their_kernel_and_their_processes():
    name, *numbers = host_name().split()
    assert name == socket.gethostname()
    if os.path.exists("/proc/self/ns/pid"):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert numbers == [boot, os.readlink("/proc/self/ns/pid")]


@pytest.mark.parametrize("channel", ["auto", "dask", "shared_memory", "hierarchical"])
def test_what_it_took_to_open_a_channel_is_not_counted_as_the_programs(channel):
    program = OnChannel(lambda comm: (comm.counters.messages, comm.counters.bytes), channel)
    assert run_threads(3, program) == [(0, 0)] * 3


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match=r"unknown channel 'shared'; did you mean 'shared_memory'"):
        OnChannel(len, "shared")
    with pytest.raises(RankFailed, match="unknown channel 'glo'; did you mean 'gloo'"):
        run_threads(2, lambda c: connected(c, "glo").__enter__())
