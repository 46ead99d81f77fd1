"""PyTorch's process groups as a channel: the sum, no environment, and errors in time."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from course_lib import SGD, mlp
from course_lib.parallel import train
from course_lib.parallel.channels import TorchComm, connected, torch_comm
from course_lib.parallel.channels import devices as torch_ddp_devices
from course_lib.parallel.collectives import all_agree, all_reduce, barrier
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import CommTimeout, ParallelError, RankFailed, WorkerLost
from course_lib.parallel.launch import run_processes
from tests.patience import patient

# Only one test starts its processes as users do: importing PyTorch takes each some seconds.


def numbers(rank):
    return np.random.default_rng(rank).normal(size=1001)


def sums(comm, backend):
    before = dict(os.environ)
    results = []
    for _ in range(2):  # a process can have one group after another
        with connected(comm, backend) as channel:
            results.append(all_reduce(channel, numbers(comm.rank)))
            barrier(channel)
            assert all_agree(channel, True)
            assert not all_agree(channel, comm.rank > 0)
            # What gloo can not add is sent.
            assert all_reduce(channel, np.array([comm.rank == 0])).tolist() == [True]
            # In an array's own memory, also where it is a view.
            parts = np.zeros((4, 6))
            all_reduce(channel, parts[1:3])
            group = torch.distributed.get_world_size(), torch.distributed.get_backend()
    assert dict(os.environ) == before
    return results, group


def check(results, backend):
    exact = np.sum([numbers(r) for r in range(len(results))], axis=0, dtype=np.longdouble)
    for arrays, group in results:
        assert group == (len(results), backend)
        for array in arrays:
            np.testing.assert_allclose(array, exact.astype(float), rtol=0, atol=1e-14)
            assert array.tobytes() == results[0][0][0].tobytes()


def test_the_sum_on_three_processes_and_nothing_in_the_environment():
    check(run_processes(3, sums, "gloo"), "gloo")


def times_of_a_late_rank(comm):
    """When this rank had connected, rank 1 later than the others, and when it could begin."""
    connect, connected_at = torch.distributed.init_process_group, []

    def late(*args, **kwargs):
        connect(*args, **kwargs)
        time.sleep(0.5 * (comm.rank == 1))
        connected_at.append(time.monotonic())

    torch.distributed.init_process_group = late  # a process of its own
    channel = TorchComm(comm)
    began_at = time.monotonic()
    channel.close()
    return connected_at[0], began_at


def test_no_rank_begins_before_all_have_connected(quick_processes):
    """Who is done at once closes connections that the others are still opening."""
    connected_at, began_at = zip(*run_processes(3, times_of_a_late_rank), strict=True)
    assert min(began_at) >= max(connected_at)


@pytest.mark.skipif(
    not (torch.cuda.is_available() and torch.distributed.is_nccl_available()),
    reason="needs a GPU and NCCL",
)
def test_the_sum_on_gpus():
    ranks = torch.cuda.device_count()  # NCCL takes one rank per GPU
    sums = run_processes(ranks, sum_on_gpu)
    exact = np.sum([numbers(r) for r in range(ranks)], axis=0)
    for array in sums:
        np.testing.assert_allclose(array, exact, rtol=0, atol=1e-14)


def sum_on_gpu(comm):
    channel = TorchComm(comm, "nccl")
    barrier(channel)
    array = all_reduce(channel, numbers(comm.rank))
    channel.close()
    return array


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_nccl_without_a_gpu_is_said():
    with pytest.raises(ParallelError, match=r"it has no GPU that PyTorch can use.*comm='gloo'"):
        run_threads(2, lambda c: connected(c, "nccl").__enter__())


def gpus_of(monkeypatch, by_rank):
    """Let rank r, a thread of this process, see GPUs of these names, and open no group."""

    def visible():
        return by_rank[int(threading.current_thread().name.removeprefix("rank-"))]

    monkeypatch.setattr(torch_ddp_devices, "_visible", visible)
    monkeypatch.setattr(torch_comm, "process_name", lambda: threading.current_thread().name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *args, **kwargs: None)
    monkeypatch.setattr(torch.distributed, "barrier", lambda **options: None)
    monkeypatch.setattr(TorchComm, "_meet", lambda *args: None)


@pytest.mark.parametrize(
    ("by_rank", "wanted"),
    [
        # One host has two GPUs, the other one; rank modulo number would give rank 2 rank 0's.
        ([["a0", "a1"], ["b0"], ["a0", "a1"]], [0, 0, 1]),
        ([["a0"], ["b0", "b1", "b2"], ["b0", "b1", "b2"]], [0, 0, 1]),
        # Dask-CUDA turns the list for each worker: every one takes what is its first.
        ([["a0", "a1"], ["a1", "a0"], ["b0"]], [0, 0, 0]),
    ],
)
def test_no_two_ranks_of_a_host_take_the_same_gpu(monkeypatch, by_rank, wanted):
    gpus_of(monkeypatch, by_rank)
    devices = run_threads(3, lambda comm: TorchComm(comm, "nccl")._device)
    assert devices == [torch.device("cuda", index) for index in wanted]


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    gpus_of(monkeypatch, [["a0"], ["b0", "b1"], ["a0"]])
    with pytest.raises(ParallelError, match=r"rank\(s\) 2 have none: NCCL needs one for each"):
        run_threads(3, lambda comm: TorchComm(comm, "nccl"))


def misbehave(comm, how):
    with connected(comm, "gloo") as channel:
        barrier(channel)
        comm.step = 5
        if comm.rank == 1:
            if how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "fail":
                raise ZeroDivisionError("on purpose")
            time.sleep(3)
        channel.timeout = 0.5
        if how == "fail":
            channel.timeout = 60
        barrier(channel)


@pytest.mark.parametrize(
    ("how", "error", "sentence"),
    [
        ("die", WorkerLost, "rank 1 was killed|lost the connection to another rank"),
        ("fail", RankFailed, "ZeroDivisionError: on purpose"),
        ("sleep", CommTimeout, r"rank 0 waited 0.5 s for the others to come .*\(step 5\)"),
    ],
)
def test_a_rank_that_dies_fails_or_sleeps_is_an_error_in_time(
    quick_processes, how, error, sentence
):
    start = time.monotonic()
    with pytest.raises(error, match=sentence):
        run_processes(2, misbehave, how)
    assert time.monotonic() - start < patient(50)  # importing PyTorch twice is most of it


def try_twice(comm):
    """The first time rank 1 fails to begin, and rank 0 waits for it in vain."""
    begin, patience = torch.distributed.init_process_group, comm.timeout

    def fail(*args, **kwargs):
        torch.distributed.init_process_group = begin
        raise RuntimeError("on purpose")

    if comm.rank == 1:
        torch.distributed.init_process_group = fail
    comm.timeout = 1.0
    with pytest.raises(WorkerLost, match=f"rank {comm.rank} lost .* while connecting to it"):
        TorchComm(comm)
    comm.timeout = patience
    barrier(comm)
    return sums(comm, "gloo")


def test_a_group_that_did_not_begin_does_not_prevent_the_next(quick_processes):
    check(run_processes(2, try_twice), "gloo")


def test_one_process_can_not_have_two_groups(monkeypatch):
    with pytest.raises(ParallelError, match="ranks 0 and 1 run in one process"):
        run_threads(2, lambda c: connected(c, "gloo").__enter__())
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(ParallelError, match="has a PyTorch process group already"):
        run_threads(1, TorchComm)


def test_workers_that_are_threads_of_one_process_are_told_so_at_once():
    torch_ddp = pytest.importorskip("course_lib.parallel.torch_ddp")
    distributed = pytest.importorskip("distributed")
    net, options = mlp([3, 2]), {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 4}
    data = np.ones((4, 3)), np.zeros(4, int)
    with distributed.Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None,
        silence_logs=logging.CRITICAL, set_as_default=False,
    ) as client:  # fmt: skip
        for run in (
            lambda: torch_ddp.run(print, client=client, device="cpu", timeout=600),
            lambda: train(net, data, client=client, comm="gloo", timeout=600, **options),
        ):  # a wait until the timeout would be the test's own
            with pytest.raises(ParallelError, match="ranks 0 and 1 run in one process"):
                run()
        one = torch_ddp.run(lambda ctx: ctx.all_reduce(2), workers=1, client=client, device="cpu")
        assert one == [2]


def test_two_ranks_of_one_process_are_refused_at_once():
    """As on a cluster whose workers are threads: a process can have only one group."""
    start = time.monotonic()
    with pytest.raises(ParallelError, match=r"ranks 0 and 1 run in one process.*comm='auto'"):
        run_threads(2, lambda comm: TorchComm(comm), timeout=20)
    assert time.monotonic() - start < patient(5)
    [total] = run_threads(1, lambda comm: summed(TorchComm(comm)), timeout=20)
    assert total == [2.0]


def summed(comm):
    try:
        array = np.array([2.0])
        comm.native_all_reduce(array)
        return array.tolist()
    finally:
        comm.close()


def test_an_address_that_is_not_of_this_machine_is_told_of():
    message = r"rank 0 can not listen on 203\.0\.113\.1, the address .* comm='dask'"
    with pytest.raises(ParallelError, match=message):
        run_threads(1, lambda comm: TorchComm(comm, host="203.0.113.1"))
    assert not torch.distributed.is_initialized()
