"""No wait is without an end: every call that waits has a limit, and the limit is a number."""

from __future__ import annotations

import ast
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import course_lib
from course_lib import SGD, mlp
from course_lib.parallel import clock, train
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import CommTimeout, StorageTimeout
from course_lib.parallel.launch import gang, run_processes
from course_lib.parallel.search import random
from course_lib.parallel.training import recovery, replica
from tests.patience import patient

ROOT = Path(course_lib.__file__).parent
FILES = sorted(
    path for folder in ("parallel", "estimators") for path in (ROOT / folder).rglob("*.py")
)

WAITS = {"join", "wait", "get", "acquire", "result", "exception", "recv", "communicate", "select"}
"""Methods that wait as long as it takes, unless they are given a number of seconds."""

CALLED_BY_CLIENT = {"nthreads", "processing", "scatter", "gather", "restart_workers", "run"}
"""Calls of Dask that have no limit but that of the client."""

ENDS = {
    # What ends by itself: another thread of this process always lets go at once.
    ("parallel/channels/barrier.py", "lock.acquire()"),
    # A barrier of ours, which counts the seconds.
    ("parallel/channels/shared_memory.py", "self._barrier.wait()"),
    # NCCL counts the seconds itself; the process group was given them.
    ("parallel/channels/torch_comm.py", "work.wait()"),
    # Only when the reply is there.
    ("parallel/comm/dask_comm.py", "reply.result()"),
    # Threads that listen, and keep nothing from ending.
    ("parallel/comm/pipes.py", "self._peers[peer].recv()"),
    ("parallel/comm/pipes.py", "self._driver.recv()"),
    # The pipe was given a limit.
    ("parallel/launch/processes.py", "drivers[rank].recv()"),
    # A trial may take as long as it likes; who hands out trials to workers looks after these.
    ("parallel/search/rungs.py", "pool.wait()"),
    ("parallel/search/trials.py", "self._ended.get()"),
}
"""Waits without a number that end all the same, and why."""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, node.func.attr


def unlimited(path):
    for node, name in calls(path):
        if name in WAITS and not node.args and not node.keywords:
            yield str(path.relative_to(ROOT)), ast.unparse(node)


def test_every_call_that_waits_has_a_limit():
    found = {wait for path in FILES for wait in unlimited(path)}
    assert found == ENDS


def test_that_test_finds_a_wait(tmp_path):
    (tmp_path / "x.py").write_text(
        "thread.join()\nthread.join(3)\nevent.wait(timeout=3)\nq.get()\n"
    )
    found = [ast.unparse(n) for n, name in calls(tmp_path / "x.py") if name in WAITS and not n.args]
    assert found == ["thread.join()", "event.wait(timeout=3)", "q.get()"]


def test_only_the_limited_client_talks_to_dask():
    """Its calls all go by one method, which has the limit; see test_lost.py."""
    made = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("Client", "get_client", "worker_client")
            ):
                made.append((path.name, ast.unparse(node.func)))
            # The wall may be set back.
            assert ast.unparse(node) not in ("time.time", "datetime.now"), path
    assert made == [("client.py", "LimitedClient")]
    asked = {
        path.name
        for path in FILES
        for node, name in calls(path)
        if name in CALLED_BY_CLIENT and ast.unparse(node.func.value).endswith(("client", "own"))
    }
    # There the client is a LimitedClient, as mypy holds.
    assert asked == {"workers.py", "watch.py", "dask_pool.py"}


# --- the limit ---

NET, DATA = mlp([1, 1], loss="mse"), (np.ones((4, 1)), np.ones((4, 1)))
HOW = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 2}


def never(*_):
    pytest.fail("this must not be called")


def torch_run(timeout):
    pytest.importorskip("torch")
    from course_lib.parallel import torch_ddp

    torch_ddp.run(never, workers=1, timeout=timeout)


ASKS = {
    "train": lambda timeout: train(NET, DATA, comm="inprocess", timeout=timeout, **HOW),
    "train on workers": lambda timeout: train(NET, DATA, client="tcp://", timeout=timeout, **HOW),
    "gang": lambda timeout: gang("tcp://", never, 1, timeout=timeout),
    "run_threads": lambda timeout: run_threads(1, never, timeout=timeout),
    "run_processes": lambda timeout: run_processes(1, never, timeout=timeout),
    "torch_ddp.run": torch_run,
    "search": lambda timeout: random(never, {"a": [1]}, n=1, timeout=timeout),
}


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0, -1.0, 1e12, True], ids=str)
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_limit_that_is_none_is_refused_before_anything_starts(ask, value):
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match=r"timeout must be a finite number > 0 .*got"):
        ask(value)


@pytest.mark.parametrize("value", ["60", None, [1.0]], ids=str)
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_limit_that_is_no_number_is_refused(ask, value):
    pytest.importorskip("distributed")
    with pytest.raises(TypeError, match=r"timeout must be a finite number > 0 .*got"):
        ask(value)


@pytest.mark.parametrize("value", [1, np.float32(0.5), 1e9], ids=str)
def test_any_kind_of_number_is_a_limit(value):
    result = train(NET, DATA, comm="inprocess", workers=2, timeout=value, **HOW)
    assert len(result.history["loss"]) == 1


@pytest.mark.parametrize("workers", [[1, 2], (1, 2)], ids=str)
def test_the_least_and_the_most_may_be_a_list(workers):
    assert len(train(NET, DATA, comm="inprocess", workers=workers, **HOW).timing) == 2


@pytest.mark.parametrize("workers", [(), (1,), (1, 2, 3)], ids=str)
def test_workers_are_one_number_or_two(workers):
    with pytest.raises(
        ValueError, match=r"workers must be a number of ranks, or \(least, most\), got"
    ):
        train(NET, DATA, comm="inprocess", workers=workers, **HOW)


ADDRESSES = [
    "", "tcp://", "tcp://127.0.0.1", "127.0.0.1", "tcp://:x", "foo://a:1", "scheduler.json",
    "tcp://127.0.0.1:99999", "http://127.0.0.1:9",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_address_is_said_within_the_timeout(address):
    pytest.importorskip("distributed")
    from course_lib.parallel.errors import ClusterUnreachable

    start = time.monotonic()
    with pytest.raises(ClusterUnreachable, match=r"reached at '.*Expected an address such as tcp"):
        gang(address, never, 1, timeout=0.5)
    assert time.monotonic() - start < patient(5)


# --- files ---


def test_a_call_within_its_time_returns_or_raises_what_it_would():
    assert clock.within(5.0, lambda: 3) == 3
    with pytest.raises(KeyError, match="k"):
        clock.within(5.0, lambda: {}["k"])
    with pytest.raises(SystemExit):
        clock.within(5.0, lambda: exec("raise SystemExit"))


def test_a_frozen_file_system_ends_a_training_when_it_is_written_to(tmp_path, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(replica, "save_point", lambda *_, **__: release.wait(60))
    with pytest.raises((StorageTimeout, CommTimeout), match=r"0.5 s"):
        train(NET, DATA, comm="inprocess", workers=2, checkpoint=tmp_path, timeout=0.5, **HOW)
    with pytest.raises(StorageTimeout, match=r"writing a checkpoint to .* took longer than 0.5 s"):
        train(NET, DATA, comm="inprocess", workers=1, checkpoint=tmp_path, timeout=0.5, **HOW)
    release.set()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that nobody ever writes")
def test_a_frozen_file_system_ends_a_training_when_it_is_read_from(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(
        recovery, "latest_valid", lambda where: (tmp_path / "pipe").read_bytes() and None
    )
    try:
        with pytest.raises(StorageTimeout, match=r"looking for a checkpoint .* longer than 0.5 s"):
            train(NET, DATA, comm="inprocess", checkpoint=tmp_path / "run", timeout=0.5, **HOW)
    finally:
        os.close(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))  # lets the reader go
