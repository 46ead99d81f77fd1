"""A gang on Dask workers ends: with a result, or with the first cause, within seconds."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask
from distributed import Client, get_worker

from course_lib.parallel import gang
from course_lib.parallel.collectives import all_reduce, barrier
from course_lib.parallel.errors import (
    Aborted,
    ClusterUnreachable,
    CommTimeout,
    NotEnoughWorkers,
    ParallelError,
    RankFailed,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.launch.watch import run_rank
from tests.patience import patient


def who(comm):
    barrier(comm)
    return comm.rank, comm.size, get_worker().address


def usable(client):
    """Whether a gang on all three workers can run; a killed worker takes a moment to return."""
    return [r[0] for r in gang(client, who, 3, timeout=20)] == [0, 1, 2]


def test_ranks_run_on_distinct_workers_in_the_order_of_their_addresses(client):
    ranks = gang(client, who, 3)
    assert [r[:2] for r in ranks] == [(0, 3), (1, 3), (2, 3)]
    assert [r[2] for r in ranks] == sorted(client.nthreads())


def test_arguments_arrive_and_results_return_by_rank(client):
    def scaled(comm, array, *, factor):
        return array * factor * comm.rank

    results = gang(client, scaled, 2, np.arange(3.0), factor=2)
    assert [r.tolist() for r in results] == [[0, 0, 0], [0, 2, 4]]


def test_more_ranks_than_workers_is_an_error_within_the_timeout(client):
    start = time.monotonic()
    with pytest.raises(NotEnoughWorkers, match=r"5 ranks need 5 workers, but the cluster has 3"):
        gang(client, who, 5, timeout=0.5)
    assert time.monotonic() - start < patient(5)


def fail(comm):
    comm.step = 7
    if comm.rank == 1:
        raise KeyError("no such row")
    comm.recv(1, "never")


def test_an_exception_on_a_rank_is_the_cause_and_the_others_are_stopped(client):
    start = time.monotonic()
    with pytest.raises(RankFailed, match=r"rank 1 on worker tcp.* failed in step 7: KeyError") as e:
        gang(client, fail, 3, timeout=30)
    assert isinstance(e.value.__cause__, KeyError)
    assert "On rank 1" in e.value.__cause__.__notes__[0]  # the worker's traceback
    assert "in fail" in e.value.__cause__.__notes__[0]
    assert (e.value.rank, e.value.step) == (1, 7)
    assert e.value.worker in client.nthreads()
    assert time.monotonic() - start < patient(10)
    assert usable(client)


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("holds a lock")
        self.lock = threading.Lock()


def test_an_exception_that_cannot_travel_is_described(client):
    def fn(comm):
        raise Unpicklable

    with pytest.raises(RankFailed, match="Unpicklable: holds a lock"):
        gang(client, fn, 1)


def test_a_rank_that_sends_nothing_is_a_timeout_that_names_it(client):
    def fn(comm):
        if comm.rank == 0:
            comm.recv(1, "gradient", timeout=0.5)

    with pytest.raises(CommTimeout, match=r"rank 0 waited 0.5 s for 'gradient' from rank 1"):
        gang(client, fn, 2, timeout=20)


def loop(comm):
    """Train, so to speak, until somebody dies."""
    array = np.zeros(10)
    for comm.step in range(100_000):
        if comm.step == 5 and comm.rank == 0:
            comm.report({"pid": os.getpid()})
        all_reduce(comm, array)
        time.sleep(0.002)


@pytest.mark.parametrize("victim", [0, 2])
def test_killing_a_worker_stops_the_gang_and_names_the_worker(client, victim):
    addresses = sorted(client.nthreads())
    pids = client.run(os.getpid)
    killed = []

    def kill(_):
        os.kill(pids[addresses[victim]], signal.SIGKILL)
        killed.append(time.monotonic())

    with pytest.raises(WorkerLost, match=addresses[victim]) as e:
        gang(client, loop, 3, timeout=30, on_report=kill)
    assert time.monotonic() - killed[0] < patient(5)
    assert e.value.worker == addresses[victim]
    assert e.value.rank == victim
    assert e.value.step >= 5
    assert usable(client)


def test_a_worker_that_does_not_answer_is_a_timeout_that_names_it(client, tmp_path):
    sent = tmp_path / "sent"

    def fn(comm):
        if comm.rank == 1:
            comm.send(0, "pid", np.array([os.getpid()]))
            sent.touch()
            comm.recv(0, "gradient", timeout=60)
            return
        pid = int(comm.recv(1, "pid")[0])
        while not sent.exists():  # stopped in the middle of its send, rank 1 would fail first
            time.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)  # not dead: no connection breaks, no event tells
        try:
            comm.send(1, "gradient", np.zeros(3))
        finally:
            os.kill(pid, signal.SIGCONT)

    with pytest.raises(CommTimeout, match=r"rank 0 could not hand 'gradient' no. 0 to rank 1"):
        gang(client, fn, 2, timeout=2.5)
    assert usable(client)


class Freezes:
    """Something that stops the process that hands it over."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGSTOP)
        return int, ()


def test_a_worker_that_freezes_when_it_hands_over_its_result_is_named(client):
    def fn(comm):
        if comm.rank == 1:
            comm.send(0, "pid", np.array([os.getpid()]))
            return Freezes()
        pid = int(comm.recv(1, "pid")[0])
        time.sleep(2.5)
        os.kill(pid, signal.SIGCONT)

    with pytest.raises(CommTimeout, match=r"what rank 1 returned within 1 s: .* is frozen"):
        gang(client, fn, 2, timeout=1)
    assert usable(client)


def test_a_rank_that_does_not_stop_is_not_waited_for_but_named(client, monkeypatch):
    monkeypatch.setattr("course_lib.parallel.comm.outcome.GRACE", 0.2)

    def fn(comm):
        if comm.rank == 0:
            raise ValueError
        time.sleep(4)  # computes, and so does not hear

    start = time.monotonic()
    with pytest.raises(RankFailed) as e:
        gang(client, fn, 2)
    assert time.monotonic() - start < patient(3.5)
    assert "Rank 1 on tcp" in e.value.__notes__[0]
    assert "did not stop within 0.2 s" in e.value.__notes__[0]
    assert usable(client)


def test_workers_without_the_package_are_named(client):
    address = sorted(client.nthreads())[0]
    module = "course_lib.parallel.comm.dask_comm"
    hide = f"import sys; sys.kept = sys.modules.get({module!r}); sys.modules[{module!r}] = None"
    show = f"import sys; sys.modules[{module!r}] = sys.kept"
    client.run(exec, hide, workers=[address])
    try:
        with pytest.raises(ParallelError, match=rf"worker {address} cannot import course_lib"):
            gang(client, who, 2)
    finally:
        client.run(exec, show, workers=[address])
    assert usable(client)


def test_a_rank_that_dask_has_moved_to_another_worker_does_not_start(client):
    gang(client, who, 1)  # gives the workers their mailboxes
    ran = client.submit(
        run_rank, "a-run", 0, ["tcp://elsewhere:1"], 1.0, (who, (), {}), pure=False
    ).result(timeout=10)
    assert isinstance(ran.error, Aborted)
    assert "rank 0 was moved from tcp://elsewhere:1 to tcp://" in str(ran.error)


def test_killing_the_only_rank_is_not_waited_for(client):
    with pytest.raises(WorkerLost):
        gang(client, lambda comm: os.kill(os.getpid(), signal.SIGKILL), 1, timeout=30)
    assert usable(client)


def test_two_gangs_at_once_both_finish(client):
    def sums(comm, value):
        array = np.array([value])
        for _ in range(20):
            all_reduce(comm, array)
            array /= comm.size
        return array[0]

    with ThreadPoolExecutor(4) as pool:
        # Two of three workers each: without the lock, each could hold one that the other needs.
        runs = [pool.submit(gang, client, sums, 2, float(v), timeout=30) for v in range(4)]
        assert [run.result(timeout=50) for run in runs] == [[v, v] for v in range(4)]


def test_workers_held_by_another_gang_are_an_error_within_the_timeout(client):
    started, release = threading.Event(), []

    def hold(comm):
        comm.report({})
        comm.recv(1 - comm.rank, "never", timeout=2.5)

    def run():
        with pytest.raises(CommTimeout):
            gang(client, hold, 2, timeout=20, on_report=lambda _: started.set())
        release.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(20)
    with pytest.raises(WorkersBusy, match=r"did not become free within 0.5 s"):
        gang(client, who, 3, timeout=0.5)
    assert not release
    thread.join(30)
    assert usable(client)


def test_workers_busy_with_other_tasks_are_an_error_within_the_timeout(client, tmp_path):
    wake = tmp_path / "wake"

    def nap(_):
        while not wake.exists():
            time.sleep(0.05)

    naps = client.map(nap, range(3), pure=False)
    time.sleep(0.2)
    with pytest.raises(WorkersBusy, match=r"did not start within 1 s"):
        # One of the ranks may start, if a nap has not: then it waits for the others.
        gang(client, who, 3, timeout=1)
    wake.touch()
    assert usable(client)
    del naps


def test_reports_reach_the_caller_in_its_own_thread_before_the_result(client):
    seen = []

    def fn(comm):
        for i in range(20):
            comm.report({"i": i})

    gang(client, fn, 1, on_report=lambda m: seen.append((m["i"], threading.get_ident())))
    assert seen == [(i, threading.get_ident()) for i in range(20)]


def test_an_exception_in_the_caller_stops_the_ranks(client):
    def angry(message):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gang(client, loop, 3, on_report=angry)
    assert usable(client)


def test_a_gang_needs_only_the_address_and_leaves_the_users_client_alone(client):
    assert len(gang(client.scheduler.address, who, 2)) == 2
    assert client.status == "running"
    with pytest.raises(ValueError, match="No clients found"):
        Client.current()  # ours never becomes the default


def test_a_gang_inside_a_task_is_refused(client):
    address = client.scheduler.address
    with pytest.raises(ParallelError, match="cannot be started from inside a Dask task"):
        client.submit(lambda: gang(address, who, 1), pure=False).result(timeout=20)


def test_a_tls_address_without_certificates_says_what_to_give():
    with pytest.raises(
        ClusterUnreachable, match=r"reached at 'tls://127.0.0.1:9': it .* give --tls-ca"
    ):
        gang("tls://127.0.0.1:9", who, 2)
    with (
        dask.config.set({"distributed.comm.tls.ca-file": "ca.pem"}),
        pytest.raises(ClusterUnreachable, match="to show a certificate, and none is known"),
    ):
        gang("tls://127.0.0.1:9", who, 2)


def test_wrong_clients_are_refused(client):
    with pytest.raises(TypeError, match=r"client must be a distributed.Client.*got int"):
        gang(8786, who, 2)
    with pytest.raises(ClusterUnreachable, match="no Dask scheduler could be reached"):
        gang("tcp://127.0.0.1:9", who, 2, timeout=0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        port = silent.getsockname()[1]
        with pytest.raises(ClusterUnreachable, match=r"did not answer within 0.5 s"):
            gang(f"tcp://127.0.0.1:{port}", who, 2, timeout=0.5)
    with Client(client.scheduler.address, set_as_default=False) as other:
        pass
    with pytest.raises(ClusterUnreachable, match="not connected"):
        gang(other, who, 2)
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        gang(client, who, 0)
