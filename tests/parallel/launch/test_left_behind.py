"""A run on a cluster leaves nothing on it: neither memory, nor ports, nor listeners."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

import psutil

from course_lib import Adam
from course_lib.parallel import Mesh, gang, train
from course_lib.parallel.channels import OnChannel
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import ClusterUnreachable, RankFailed
from course_lib.parallel.launch import client as clients
from tests.parallel.sessions import NOISY, X, Y, start
from tests.patience import patient

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(),
    reason="what a process has mapped is read from /proc, which Linux has",
)


def hold(comm, fails):
    """Have an array of the channel in a cycle, as a workspace has it, and in a traceback."""
    array = comm.buffer(1000, np.float64)
    cycle = [array]
    cycle.append(cycle)
    all_reduce(comm, array)
    if fails:
        raise ArithmeticError("of the user")


def mapped():
    """Return the shared memory of this process."""
    return re.findall(r"/dev/shm/(?!sem)\S+", Path("/proc/self/maps").read_text())


def held():
    """Return the shared memory of this process, and the number of its ports; no collection."""
    gc.disable()
    found = psutil.Process().net_connections("inet")
    return mapped(), sum(each.status == psutil.CONN_LISTEN for each in found)


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize("channel", ["shared_memory", "gloo"])
def test_memory_and_ports_are_given_back_when_a_rank_ends(channel, fails, client):
    if channel == "gloo":
        pytest.importorskip("torch")
    client.run(gc.collect)  # what other tests have left
    before = client.run(held)
    try:
        gang(client, hold, 2, fails, comm=channel, timeout=40)
    except RankFailed:
        assert fails
    try:
        assert client.run(held) == before == {a: ([], n) for a, (_, n) in before.items()}
    finally:
        client.run(gc.enable)


DDP = """
import gc, psutil, torch
from course_lib.parallel.channels import TorchComm
from course_lib.parallel.comm import run_threads

def rank(comm):
    with_group = TorchComm(comm)
    torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    with_group.close()

run_threads(1, rank)
gc.collect()
print([c for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN])
"""


def test_the_group_of_the_first_module_that_is_distributed_gives_back_its_ports(root):
    """In a new process: what PyTorch imports then kept the group that was open."""
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", DDP], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


STRATEGIES = [
    "sync", "virtual:4", "local:3", "server:0", "zero1", "topk:0.2", "int8", "powersgd:2",
    "pipeline:2:4", "tensor", Mesh(pipeline=2, micro_batches=2),
]  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_memory_goes_with_its_last_user_before_python_looks_for_cycles(strategy, monkeypatch):
    """Workspaces had referred to themselves, and to the gradient in the memory that ranks share."""

    def run(size, fn, **options):
        def main(channel):
            used.append(mapped())
            return fn(channel)

        return run_threads(size, OnChannel(main, "shared_memory"), **options)

    used = []
    monkeypatch.setattr("course_lib.parallel.training.driver.run_threads", run)
    gc.collect()
    before = mapped()
    gc.disable()
    try:
        train(
            NOISY, (X, Y), optimizer=Adam(0.01), epochs=2, batch_size=16, strategy=strategy,
            workers=2, comm="inprocess", theta=start(NOISY), validation=(X[:11], Y[:11]),
        )  # fmt: skip
        assert mapped() == before
    finally:
        gc.enable()
    assert len(used) == 2 and all(found > before for found in used)


def test_the_scheduler_is_left_without_listeners(client):
    def listeners(dask_scheduler):
        return {name: set(t.subscribers) for name, t in dask_scheduler._broker._topics.items()}

    def ours(found):
        return {name: who for name, who in found.items() if name not in ("print", "warn")}

    before = ours(client.run_on_scheduler(listeners))
    gang(client, lambda comm: comm.report({"kind": "any"}), 2, timeout=40)
    after = ours(client.run_on_scheduler(listeners))
    assert any(name.startswith("course-lib-") for name in after.keys() - before.keys())
    assert {name for name, who in after.items() if who - before.get(name, set())} == set()


def test_a_client_that_connects_when_nobody_waits_for_it_any_more_leaves_again(monkeypatch):
    """A scheduler that was frozen and has woken up would keep it for good."""
    left = threading.Event()

    class Late(clients.LimitedClient):
        def __init__(self, *_):
            time.sleep(1.3)

        def _leave(self):
            left.set()

    monkeypatch.setattr(clients, "LimitedClient", Late)
    with pytest.raises(ClusterUnreachable, match="accepts connections, but did not answer"):
        with clients.opened("tcp://127.0.0.1:1", None, 0.1):
            pass
    assert left.wait(patient(5))
