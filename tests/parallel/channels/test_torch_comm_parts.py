"""What PyTorch's channel does besides adding: where it listens, how it waits, what it forgets."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import psutil
import torch
import torch.distributed as dist

from course_lib.parallel.channels import TorchComm, torch_comm
from course_lib.parallel.comm import Layered, run_threads
from course_lib.parallel.errors import Aborted, CommTimeout, ParallelError, WorkerLost

VARIABLES = ["GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"]


@pytest.mark.parametrize("set_before", [None, *VARIABLES])
def test_the_interface_is_in_the_environment_while_it_connects_and_what_the_user_set_stays(
    monkeypatch, set_before
):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if set_before:
        monkeypatch.setenv(set_before, "mine")
    monkeypatch.setattr(torch_comm, "_interface_of", lambda host: {"h": "eth7"}.get(host, ""))
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), torch_comm._interface("h"):
        inside = [os.environ[name] for name in VARIABLES]
        raise ZeroDivisionError
    assert inside == ["mine" if name == set_before else "eth7" for name in VARIABLES]
    assert dict(os.environ) == before
    with torch_comm._interface("another"):  # its interface is not known
        assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("address", "interfaces", "expected"),
    [
        ("127.0.0.1", ["eth0", "lo"], "lo"),
        ("127.0.0.1", ["lo0", "en0"], "lo0"),
        ("::1", ["eth0", "lo"], "lo"),
        ("127.0.0.1", ["eth0"], ""),
        ("10.0.0.7", ["lo", "eth0"], "eth1"),
        ("fe80::7", ["lo", "eth0"], "eth1"),
        ("10.0.0.9", ["lo", "eth0"], ""),
        (None, ["lo", "eth0"], ""),
    ],
)
def test_the_interface_is_the_one_that_has_the_address_of_the_host(
    monkeypatch, address, interfaces, expected
):
    def getaddrinfo(host, port):
        if address is None:
            raise OSError("unknown host")
        return [(0, 0, 0, "", (address, 0))]

    entries = lambda *found: [SimpleNamespace(address=a) for a in found]  # noqa: E731
    cards = {"eth0": entries("10.0.0.1"), "eth1": entries("10.0.0.7", "fe80::7%eth1")}
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(interfaces)))
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: cards)
    assert torch_comm._interface_of("host") == expected


@pytest.mark.parametrize(
    ("backend", "initialized", "gpu", "nccl", "said"),
    [
        ("gloo", False, False, False, None),
        ("gloo", True, True, True, "has a PyTorch process group already"),
        ("nccl", False, True, True, None),
        ("nccl", False, False, True, "has no GPU"),
        ("nccl", False, True, False, "has no GPU"),
    ],
)
def test_a_process_can_take_part_or_says_why_not(
    monkeypatch, backend, initialized, gpu, nccl, said
):
    monkeypatch.setattr(dist, "is_initialized", lambda: initialized)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: nccl)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = torch_comm._problem(backend)
    assert found == "" if said is None else said in found


def test_the_ranks_meet_at_a_store_of_rank_0_on_its_address():
    """With a port of its choice, or one that is given; rank 0 tells the others."""

    def meet(port):
        def rank(comm):
            channel = Bare(comm)
            # The others believe in another address until rank 0 has told them.
            store = channel._meet(*(("127.0.0.1", port) if comm.rank == 0 else ("nowhere", 1)), T)
            stores.append(store)
            store.set(f"rank {comm.rank}", "here")
            return store.host, store.port, store.get(f"rank {1 - comm.rank}")

        stores = []
        return run_threads(2, rank, timeout=30)

    for port in (0, free_port()):
        first, second = meet(port)
        assert first == second and first[0] == "127.0.0.1" and first[2] == b"here"
        assert first[1] == port or port == 0


T = timedelta(seconds=30)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Bare(TorchComm):
    """A channel without a group."""

    def __init__(self, base, device="cpu"):
        Layered.__init__(self, base)
        self._device = torch.device(device)


ONE = SimpleNamespace(rank=0, size=1)


@pytest.fixture
def channel():
    """One rank's, that has not been stopped; its wait may take a tenth of a second."""
    found = []
    run_threads(1, lambda comm: found.append(Bare(comm)), timeout=0.1)
    found[0].check = lambda: None
    found[0].step = 5
    return found[0]


class Work:
    """An operation that is done after so many looks, or fails."""

    def __init__(self, looks=0, fails=None, completed=False):
        self.looks, self.fails, self.completed = looks, fails, completed
        self.waited = []

    def wait(self, *timeout):
        self.waited.append(timeout)
        self.looks -= 1
        if self.fails is not None or self.looks >= 0:
            raise RuntimeError(self.fails or "timed out")
        return True

    def is_completed(self):
        return self.completed


def test_an_operation_is_waited_for_with_looks_at_what_else_happens(channel):
    looks, work = [], Work(looks=3)
    channel.check = lambda: looks.append(True)
    channel._wait(lambda: work)
    assert len(looks) == 3
    assert all(waited < timedelta(seconds=1) for [waited] in work.waited)
    before = channel.counters.waiting
    assert 0 < before < 60
    channel._wait(lambda: Work())
    assert channel.counters.waiting > before


def test_a_stopped_run_ends_the_wait(channel):
    def check():
        raise Aborted("rank 2 failed")

    channel.check = check
    with pytest.raises(Aborted, match="rank 2 failed"):
        channel._wait(lambda: Work(looks=9))


def test_others_that_do_not_come_are_a_timeout(channel):
    sentence = r"rank 0 waited 0\.1 s for the others to come to a reduction \(step 5\)"
    with pytest.raises(CommTimeout, match=sentence):
        channel._wait(lambda: Work(looks=10**9))


@pytest.mark.parametrize("work", [Work(fails="closed by peer", completed=True), None])
def test_a_connection_that_breaks_is_a_lost_worker(channel, work):
    def begin():
        if work is None:
            raise RuntimeError("closed by peer")
        return work

    with pytest.raises(WorkerLost, match=r"rank 0 lost .* \(step 5\) while adding with it .*peer"):
        channel._wait(begin)


def test_on_a_gpu_it_waits_as_long_as_the_library_does():
    waits = []
    work = SimpleNamespace(wait=lambda *timeout: waits.append(timeout) or True)
    assert Bare(ONE, "cuda")._done(work) is True
    assert waits == [()]


def test_what_gloo_can_not_add_is_sent_and_nothing_to_add_is_a_barrier(channel, monkeypatch):
    added = []

    def all_reduce(tensor, async_op):
        assert async_op
        added.append((tensor.dtype, tuple(tensor.shape)))
        tensor += tensor
        return Work()

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    for dtype in ("f4", "f8", "i4", "i8", "i1", "u1"):
        array = np.ones((2, 3), dtype)
        channel.native_all_reduce(array)
        assert array.tolist() == [[2, 2, 2]] * 2 and array.dtype == dtype
    assert [shape for _, shape in added] == [(6,)] * 6
    channel.native_all_reduce(np.zeros((0, 3)))
    assert added.pop() == (torch.float32, (1,))
    for dtype in ("?", "u2", "c16"):
        array = np.ones(3, dtype)
        channel.native_all_reduce(array)
        assert array.tolist() == [1, 1, 1]
    assert len(added) == 6


def alone(fn=lambda channel: "connected", **options):
    def rank(comm):
        channel = TorchComm(comm, **options)
        try:
            return fn(channel)
        finally:
            channel.close()

    return run_threads(1, rank, timeout=30)


@pytest.mark.parametrize("begun", [True, False])
def test_a_group_that_fails_to_begin_is_a_lost_worker_and_forgotten(monkeypatch, begun):
    """Groups are named by counting them: the next has the name that it has in other processes."""
    name = lambda channel: dist.group.WORLD.group_name  # noqa: E731
    before = alone(name)
    begin = dist.init_process_group

    def fail(*args, **options):
        monkeypatch.setattr(dist, "init_process_group", begin)
        if begun:
            begin(*args, **options)
        raise RuntimeError("refused")

    monkeypatch.setattr(dist, "init_process_group", fail)
    with pytest.raises(WorkerLost, match="rank 0 lost .* while connecting to it by PyT.*: refused"):
        alone()
    assert not dist.is_initialized()
    assert alone(name) == before
    Bare(ONE).close()  # and without a group there is nothing to close


def test_a_group_that_fails_because_the_run_was_stopped_says_that(monkeypatch):
    def refuse(*args, **options):
        raise RuntimeError("refused")

    def rank(comm):
        comm.check = lambda: (_ for _ in ()).throw(Aborted("rank 2 failed"))
        TorchComm(comm)

    monkeypatch.setattr(torch_comm, "_forget_failed_group", lambda: None)
    monkeypatch.setattr(dist, "init_process_group", refuse)
    with pytest.raises(Aborted, match="rank 2 failed"):
        run_threads(1, rank, timeout=30)


def test_it_listens_where_the_ranks_do_or_where_it_is_told(monkeypatch):
    asked = []
    monkeypatch.setattr(TorchComm, "_meet", lambda self, *where: asked.append(where))
    monkeypatch.setattr(dist, "init_process_group", lambda *args, **options: None)
    monkeypatch.setattr(torch_comm, "_interface", lambda host: asked.append(host) or nullcontext())

    def rank(comm):
        TorchComm(comm)
        TorchComm(comm, host="10.0.0.1", port=7)
        comm.host = "10.0.0.2"
        TorchComm(comm)

    run_threads(1, rank, timeout=9.0)
    limit = timedelta(seconds=9)
    assert asked == [
        ("127.0.0.1", 0, limit), "127.0.0.1", ("10.0.0.1", 7, limit), "10.0.0.1",
        ("10.0.0.2", 0, limit), "10.0.0.2",
    ]  # fmt: skip


def test_a_backend_that_is_none_and_ranks_of_one_process_are_refused_on_all():
    with pytest.raises(Exception, match="unknown backend 'mpi'"):
        alone(backend="mpi")
    sentences = []

    def rank(comm):
        try:
            torch_comm._check_processes(comm)
        except ParallelError as error:
            sentences.append((str(error).partition(" run in")[0], error.rank))

    run_threads(3, rank)
    assert sentences == [("ranks 0 and 1", 1)] * 3
