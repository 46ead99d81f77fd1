"""As many ranks as there are workers, changed at checkpoints only, with the same bits."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

import distributed

from course_lib import Adam, mlp
from course_lib.parallel import train
from course_lib.parallel.errors import NotEnoughWorkers
from course_lib.parallel.launch import connect
from course_lib.parallel.launch.workers import free_workers, held_workers, hold_workers
from tests.patience import patient

pytestmark = [
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


@pytest.mark.parametrize("strategy", ["virtual:8", "topk:0.1", "local:4"])
def test_the_gang_shrinks_and_grows_at_checkpoints_and_virtual_shards_keep_its_bits(
    tmp_path, by_hand, strategy
):
    settings = {k: v for k, v in SETTINGS.items() if k != "virtual_shards"}
    workers = [by_hand.worker(), by_hand.worker()]
    marker, story = tmp_path / "enough", []

    def stop(history):
        time.sleep(0.03)
        return marker.exists()

    def listen(event):
        if event.kind == "checkpoint" and "killed" not in story:
            os.kill(workers[0].pid, signal.SIGKILL)
            story.append("killed")
        elif event.kind == "checkpoint" and len(story) == 2 and len(workers) == 2:
            workers.append(by_hand.worker())  # one rank is under way alone
        elif event.kind == "restart":
            story.append(event.message.split(",")[0])
        elif event.kind == "metric" and len(story) == 3:
            marker.touch()

    with distributed.Client(by_hand.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        result = train(
            NET, (X, Y), workers=(1, 2), client=client, checkpoint=tmp_path / "run", every=5,
            epochs=10_000, timeout=30, stop=stop, on_event=listen, strategy=strategy, **settings,
        )  # fmt: skip
    assert story == ["killed", "restart 1 of 2", "restart with more workers"]
    assert result.restarts == 1  # growing is no failure
    assert len(result.timing) == 2
    assert result.replicas_identical
    if strategy != "virtual:8":
        assert result.history["loss"][-1] < result.history["loss"][0]
        return
    reference = serial(len(result.history["loss"]))
    assert set(result.digests) == set(reference.digests)
    assert result.history == reference.history


def test_too_few_workers_left_is_an_error_that_counts_them(tmp_path, by_hand):
    workers = [by_hand.worker(), by_hand.worker()]

    def listen(event):
        if event.kind == "checkpoint" and workers:
            os.kill(workers.pop().pid, signal.SIGKILL)

    with distributed.Client(by_hand.address, set_as_default=False) as client:
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


def taken(client, workers, avoid=()):
    with (
        connect(client, workers=workers[1], timeout=20) as own,
        hold_workers(own, workers, 20.0, avoid) as addresses,
    ):
        return addresses


def test_between_the_least_and_the_most_only_idle_workers_are_taken(client):
    everyone = sorted(client.nthreads())
    assert taken(client, (1, 9)) == everyone
    assert taken(client, (1, 2)) == everyone[:2]
    assert taken(client, (1, 9), avoid=everyone[:1]) == everyone[1:]
    nap = client.submit(time.sleep, patient(10), workers=everyone[:1], pure=False)
    while not client.processing()[everyone[0]]:
        time.sleep(0.01)
    assert taken(client, (1, 9)) == everyone[1:]
    assert taken(client, (3, 3)) == everyone
    assert taken(client, (2, 2)) == everyone[1:]
    client.cancel(nap)
    client.restart_workers(everyone[:1], timeout=60)


def test_ranks_that_have_ended_are_no_more_workers_to_begin_anew_with(by_hand, tmp_path):
    """Two workers, of which one is idle when the other still writes the last checkpoint."""
    story = []
    for _ in range(2):
        by_hand.worker()
    with distributed.Client(by_hand.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        result = train(
            NET, (X, Y), workers=(2, 3), client=client, checkpoint=tmp_path / "run", every=5,
            epochs=3, timeout=40, on_event=lambda e: story.append(e.kind), **SETTINGS,
        )  # fmt: skip
    assert "checkpoint" in story and "restart" not in story
    assert (
        result.digests
        == train(NET, (X, Y), workers=2, comm="inprocess", epochs=3, **SETTINGS).digests
    )


def test_own_and_held_and_busy_workers_are_not_free(client):
    everyone = sorted(client.nthreads())
    with connect(client, workers=1, timeout=20) as own:
        assert free_workers(own) == set(everyone)
        assert free_workers(own, everyone[1:]) == {everyone[0]}
        with hold_workers(own, (2, 2), 20.0) as addresses:
            assert addresses == everyone[:2]
            assert held_workers(own, everyone) == set(everyone[:2])
            assert free_workers(own) == {everyone[2]}
        assert held_workers(own, everyone) == set()
