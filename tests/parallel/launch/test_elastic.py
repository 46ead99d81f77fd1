"""As many ranks as there are workers, changed at checkpoints only, with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

import distributed

import course_lib
from course_lib import Adam, mlp
from course_lib.parallel import train
from course_lib.parallel.errors import NotEnoughWorkers
from course_lib.parallel.launch.workers import choose_workers

pytestmark = [
    pytest.mark.timeout(110),
    # What a process was writing when it was killed is passed over, and rightly mentioned.
    pytest.mark.filterwarnings("ignore:skipping step:RuntimeWarning"),
]

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(400, 7)), RNG.integers(0, 3, 400)
NET = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
SETTINGS = {"optimizer": Adam(0.01), "batch_size": 10, "seed": 5, "virtual_shards": 8}


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr("course_lib.parallel.launch.workers._SETTLE", 0.5)


def serial(epochs):
    return train(NET, (X, Y), workers=1, comm="inprocess", epochs=epochs, **SETTINGS)


@pytest.fixture
def start(tmp_path):
    """Start parts of a cluster as separate processes; a killed worker is not replaced."""
    environment = os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])}
    started = []

    def popen(*command):
        here = ("--dashboard-address", "127.0.0.1:0")  # --no-dashboard listens all the same
        contact = (*here, "--scheduler-file", str(tmp_path / "scheduler.json"))
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *contact],
                cwd=tmp_path,
                env=environment,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    def worker():
        return popen("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny")

    popen("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    yield worker
    for process in reversed(started):
        process.kill()
    for process in started:
        process.wait(10)


def address(tmp_path):
    contact = tmp_path / "scheduler.json"
    while True:
        try:
            return json.loads(contact.read_text())["address"]
        except (OSError, ValueError):  # not there yet, or not whole
            time.sleep(0.05)


def test_the_gang_shrinks_and_grows_at_checkpoints_and_keeps_its_bits(tmp_path, start):
    workers = [start(), start()]
    marker, story = tmp_path / "enough", []

    def stop(history):
        time.sleep(0.03)
        return marker.exists()

    def listen(event):
        if event.kind == "checkpoint" and "killed" not in story:
            os.kill(workers[0].pid, signal.SIGKILL)
            story.append("killed")
        elif event.kind == "checkpoint" and len(story) == 2 and len(workers) == 2:
            workers.append(start())  # one rank is under way alone
        elif event.kind == "restart":
            story.append(event.message.split(",")[0])
        elif event.kind == "metric" and len(story) == 3:
            marker.touch()

    with distributed.Client(address(tmp_path), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        result = train(
            NET, (X, Y), workers=(1, 2), client=client, checkpoint=tmp_path / "run", every=5,
            epochs=10_000, timeout=30, stop=stop, on_event=listen, **SETTINGS,
        )  # fmt: skip
    assert story == ["killed", "restart 1 of 2", "restart with more workers"]
    assert result.restarts == 1  # growing is no failure
    assert len(result.timing) == 2
    reference = serial(len(result.history["loss"]))
    assert set(result.digests) == set(reference.digests)
    assert result.history == reference.history


def test_too_few_workers_left_is_an_error_that_counts_them(tmp_path, start):
    workers = [start(), start()]

    def listen(event):
        if event.kind == "checkpoint" and workers:
            os.kill(workers.pop().pid, signal.SIGKILL)

    with distributed.Client(address(tmp_path), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        with pytest.raises(NotEnoughWorkers, match=r"2 ranks need 2 workers.*cluster has 1 after"):
            train(
                NET, (X, Y), workers=(2, 4), client=client, checkpoint=tmp_path / "run", every=5,
                epochs=100, timeout=4, on_event=listen, **SETTINGS,
            )  # fmt: skip


def test_a_training_starts_with_the_workers_that_there_are(client):
    result = train(NET, (X, Y), workers=(2, 8), client=client, epochs=1, **SETTINGS)
    assert len(result.timing) == 3
    assert set(result.digests) == set(serial(1).digests)


def test_between_the_least_and_the_most_only_idle_workers_are_taken(client):
    everyone = sorted(client.nthreads())
    assert choose_workers(client, (1, 9), 5.0) == everyone
    assert choose_workers(client, (1, 2), 5.0) == everyone[:2]
    assert choose_workers(client, (1, 9), 5.0, avoid=everyone[:1]) == everyone[1:]
    nap = client.submit(time.sleep, 3, workers=everyone[:1], pure=False)
    while not client.processing()[everyone[0]]:
        time.sleep(0.01)
    assert choose_workers(client, (1, 9), 5.0) == everyone[1:]
    assert choose_workers(client, (3, 3), 5.0) == everyone
    assert choose_workers(client, (2, 2), 5.0) == everyone[1:]
    del nap
