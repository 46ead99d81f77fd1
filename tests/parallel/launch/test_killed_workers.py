"""Real processes, really killed: the training ends, with the bits of an undisturbed one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

from course_lib import Adam, mlp
from course_lib.parallel import Compressed, LocalSGD, TopK, ZeRO1, gang, train
from course_lib.parallel.errors import CommTimeout, WorkerLost

pytestmark = [
    # What a process was writing when it was killed is passed over, and rightly mentioned.
    pytest.mark.filterwarnings("ignore:skipping step:RuntimeWarning"),
]

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(400, 7)), RNG.integers(0, 3, 400)
NET = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
SETTINGS = {"optimizer": Adam(0.01), "batch_size": 10, "seed": 5}  # 40 steps per epoch


def undisturbed(workers, epochs, strategy="sync"):
    return train(
        NET, (X, Y), workers=workers, comm="inprocess", epochs=epochs, strategy=strategy, **SETTINGS
    )


def segments():
    """Shared memory that has a name, without the semaphores with which Python starts processes."""
    names = {path.name for path in Path("/dev/shm").glob("*")}
    return {name for name in names if not name.startswith("sem.")}


def idle(client):
    """Whether no task is left on the scheduler, after the moment that it needs."""
    deadline = time.monotonic() + 10
    while any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(client.processing().values())


class Killer:
    """Sends a signal to the worker of a random rank after random steps."""

    def __init__(self, client, times, kind=signal.SIGKILL, seed=0):
        self.client, self.times, self.kind = client, times, kind
        self.rng = np.random.default_rng(seed)
        self.next = int(self.rng.integers(2, 10))
        self.done, self.kinds = [], []

    def __call__(self, event):
        self.kinds.append(event.kind)
        if event.kind != "checkpoint" or event.step < self.next or len(self.done) == self.times:
            return
        if self.kinds.count("restart") < len(self.done):
            return  # the last one has not been noticed yet
        busy = [w for w, tasks in self.client.processing().items() if tasks]
        victim = self.rng.choice(sorted(busy))
        [pid] = self.client.run(os.getpid, workers=[victim]).values()
        os.kill(pid, self.kind)
        self.done.append((event.step, pid, time.monotonic()))
        self.next = event.step + int(self.rng.integers(1, 30))


def test_ten_kills_at_random_steps_change_no_bit(client, tmp_path):
    before = segments()
    killer = Killer(client, 10)
    result = train(
        NET, (X, Y), workers=2, client=client, checkpoint=tmp_path, every=3, max_restarts=10,
        timeout=40, epochs=8, on_event=killer, **SETTINGS,
    )  # fmt: skip
    assert len(killer.done) == 10
    assert killer.kinds.count("worker_lost") == killer.kinds.count("restart") == 10
    assert result.restarts == 10
    reference = undisturbed(2, 8)
    assert result.digests == reference.digests
    assert result.history == reference.history
    for _, pid, _ in killer.done:  # gone, not only deaf
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert idle(client)
    assert segments() <= before


def test_virtual_shards_keep_their_bits_when_workers_are_killed(client, tmp_path):
    killer = Killer(client, 2, seed=1)
    result = train(
        NET, (X, Y), workers=3, client=client, checkpoint=tmp_path, every=5, virtual_shards=8,
        timeout=40, epochs=3, on_event=killer, **SETTINGS,
    )  # fmt: skip
    assert len(killer.done) == 2
    serial = train(NET, (X, Y), workers=1, comm="inprocess", epochs=3, virtual_shards=8, **SETTINGS)
    assert set(result.digests) == set(serial.digests)
    assert result.history == serial.history


@pytest.mark.parametrize(
    "strategy", [LocalSGD(4), Compressed(TopK(0.2)), ZeRO1()], ids=["local", "top-k", "zero"]
)
def test_what_a_strategy_remembers_survives_kill_9(strategy, client, tmp_path):
    """Own parameters in the middle of a round, residuals, slices of the optimizer's state."""
    killer = Killer(client, 1, seed=2)
    result = train(
        NET, (X, Y), workers=2, client=client, checkpoint=tmp_path, every=3, timeout=40, epochs=2,
        strategy=strategy, on_event=killer, **SETTINGS,
    )  # fmt: skip
    assert len(killer.done) == result.restarts == 1
    reference = undisturbed(2, 2, strategy)
    assert result.digests == reference.digests
    assert result.history == reference.history


def test_a_frozen_worker_is_noticed_within_the_timeout_and_replaced(client, tmp_path, monkeypatch):
    monkeypatch.setattr("course_lib.parallel.comm.outcome.GRACE", 1.0)
    monkeypatch.setattr("course_lib.parallel.launch.workers._PATIENCE", 1.0)
    killer = Killer(client, 1, signal.SIGSTOP)
    noticed = []

    def listen(event):
        killer(event)
        if event.kind == "worker_lost":
            noticed.append(time.monotonic())

    result = train(
        NET, (X, Y), workers=2, client=client, checkpoint=tmp_path, every=5, timeout=4,
        epochs=2, on_event=listen, **SETTINGS,
    )  # fmt: skip
    [(_, pid, stopped)] = killer.done
    assert result.restarts == 1
    # The timeout, what a healthy rank may take to stop, and the start of a new process.
    assert noticed[0] - stopped < 4 + 1 + 1 + 10
    assert result.digests == undisturbed(2, 2).digests
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert len(gang(client, lambda comm: comm.rank, 3, timeout=20)) == 3


def test_the_only_worker_frozen_is_noticed_too(client, tmp_path, monkeypatch):
    """No peer waits for it: the driver itself must look."""
    monkeypatch.setattr("course_lib.parallel.comm.outcome.GRACE", 0.5)
    monkeypatch.setattr("course_lib.parallel.launch.workers._PATIENCE", 1.0)
    killer = Killer(client, 1, signal.SIGSTOP)
    result = train(
        NET, (X, Y), workers=1, client=client, checkpoint=tmp_path, every=5, timeout=2,
        epochs=2, on_event=killer, **SETTINGS,
    )  # fmt: skip
    assert result.restarts == 1
    assert result.digests == undisturbed(1, 2).digests


def test_without_a_checkpoint_a_frozen_worker_is_an_error_and_is_left_alone(client, monkeypatch):
    monkeypatch.setattr("course_lib.parallel.launch.workers._PATIENCE", 1.0)
    frozen = []

    def freeze(event):
        if not frozen:
            [address] = [w for w, tasks in client.processing().items() if tasks]
            frozen.extend(client.run(os.getpid, workers=[address]).values())
            os.kill(frozen[0], signal.SIGSTOP)

    try:
        with pytest.raises(CommTimeout, match=r"which runs rank 0, did not answer for 2 s"):
            train(
                NET, (X, Y), workers=1, client=client, timeout=2, epochs=100_000,
                on_event=freeze, **SETTINGS,
            )  # fmt: skip
    finally:
        os.kill(frozen[0], signal.SIGCONT)  # the same process is still there
    assert idle(client)


def test_the_budget_of_restarts_is_respected(client, tmp_path):
    killer = Killer(client, 9)
    with pytest.raises(WorkerLost) as e:
        train(
            NET, (X, Y), workers=2, client=client, checkpoint=tmp_path, every=5, max_restarts=1,
            timeout=40, epochs=100, on_event=killer, **SETTINGS,
        )  # fmt: skip
    assert len(killer.done) == 2
    assert isinstance(e.value.__cause__, WorkerLost)
    assert "The budget of 1 restarts is spent." in e.value.__notes__
    assert idle(client)
