"""Training on Dask workers: the serial result, on whatever kind of cluster; losses are reported."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

import distributed

import course_lib
from course_lib import SGD, Adam, EarlyStopping, fit, mlp
from course_lib.parallel import gang, train
from course_lib.parallel.errors import RankFailed, WorkerLost
from tests.patience import patient

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
NET = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
OPTIONS = {"epochs": 3, "batch_size": 10, "seed": 5, "validation": (XV, YV)}


def serial(**options):
    theta = NET.init(np.random.default_rng(5))
    return fit(NET, theta, Adam(0.01), X, Y, **OPTIONS | options)


def assert_equal(result, reference):
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=1e-10)
    assert result.history.keys() == reference.history.keys()
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-10)
    assert result.replicas_identical


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_training_on_dask_workers_is_serial_training(client, workers, backend):
    if backend == "torch":
        pytest.importorskip("torch")
    result = train(
        NET,
        (X, Y),
        optimizer=Adam(0.01),
        workers=workers,
        client=client,
        backend=backend,
        **OPTIONS,
    )
    assert_equal(result, serial())


def test_threads_and_dask_workers_give_the_same_bits(client):
    options = {"optimizer": Adam(0.01), "workers": 3, **OPTIONS}
    threads = train(NET, (X, Y), comm="inprocess", **options)
    workers = train(NET, (X, Y), client=client, **options)
    assert threads.digests == workers.digests
    assert threads.history == workers.history


def test_early_stopping_and_events_reach_the_driver(client):
    events = []
    options = {"stop": EarlyStopping(patience=1, metric="loss"), "epochs": 60, "batch_size": 53}
    reference = serial(**options)
    assert 2 <= len(reference.history["loss"]) < 60
    result = train(
        NET,
        (X, Y),
        optimizer=Adam(0.01),
        client=client,
        on_event=events.append,
        **OPTIONS | options,
    )
    assert_equal(result, reference)
    assert [e.metrics["loss"] for e in events] == result.history["loss"]


def test_two_trainings_at_once_both_finish(client):
    def run(workers):
        return train(
            NET, (X, Y), optimizer=Adam(0.01), workers=workers, client=client, timeout=40, **OPTIONS
        )

    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(run, [2, 3]):
            assert_equal(result, serial())


def test_a_worker_killed_while_training_is_named_and_the_cluster_goes_on(client):
    address = sorted(client.nthreads())[1]
    pid = client.run(os.getpid, workers=[address])[address]
    killed = []

    def kill(event):
        if event.epoch == 2:
            os.kill(pid, signal.SIGKILL)
            killed.append(time.monotonic())

    options = OPTIONS | {"epochs": 100_000}
    with pytest.raises(WorkerLost, match=address) as e:
        train(NET, (X, Y), optimizer=SGD(0.0001), client=client, on_event=kill, **options)
    assert time.monotonic() - killed[0] < patient(5)
    assert e.value.worker == address
    assert e.value.step >= 3 * 6  # three epochs of six steps had been reported
    assert_equal(train(NET, (X, Y), optimizer=Adam(0.01), client=client, **OPTIONS), serial())


def test_an_exception_on_one_rank_names_the_step_and_keeps_the_cause(client):
    second = sorted(client.nthreads())[1]

    def stop(history):  # called on every rank, at the end of each epoch of six steps
        if len(history["loss"]) == 2 and distributed.get_worker().address == second:
            raise OverflowError("on purpose")
        return False

    with pytest.raises(RankFailed, match=r"rank 1 on worker .* failed in step 11: OverflowE") as e:
        train(NET, (X, Y), optimizer=Adam(0.01), client=client, stop=stop, **OPTIONS)
    assert isinstance(e.value.__cause__, OverflowError)
    assert (e.value.rank, e.value.worker, e.value.step) == (1, second, 11)


def test_a_cluster_of_separate_processes_is_used_by_its_address(tmp_path):
    """A scheduler and workers started on their own, as on a real cluster, without nannies."""
    environment = os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])}
    started = []

    def start(*command):
        log = (tmp_path / f"{len(started)}.log").open("w")
        with log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=tmp_path,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            )

    contact = tmp_path / "scheduler.json"
    common = ("--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(contact))
    try:
        start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common)
        for _ in range(2):
            start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *common)
        while not contact.exists():
            time.sleep(0.05)
        time.sleep(0.1)  # the file is not written in one go
        address = json.loads(contact.read_text())["address"]
        result = train(NET, (X, Y), optimizer=Adam(0.01), client=address, **OPTIONS)
        assert_equal(result, serial())
    finally:
        for process in reversed(started):
            process.kill()
        for process in reversed(started):
            process.wait(10)


def test_a_cluster_with_tls_needs_nothing_more():
    pytest.importorskip("cryptography")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            security=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        assert client.scheduler.address.startswith("tls://")
        result = train(NET, (X, Y), optimizer=Adam(0.01), client=client, **OPTIONS)
    assert_equal(result, serial())


def test_data_is_sent_once_not_once_per_step(client):
    """The driver's messages do not grow with the number of steps."""

    def received(comm):
        worker = distributed.get_worker()
        return len(worker.transfer_incoming_log)

    before = gang(client, received, 2)
    train(NET, (X, Y), optimizer=Adam(0.01), client=client, **OPTIONS | {"epochs": 20})
    after = gang(client, received, 2)
    # A worker fetches the program of a run at most once; there were two runs since.
    assert all(b - a <= 2 for a, b in zip(before, after, strict=True))
