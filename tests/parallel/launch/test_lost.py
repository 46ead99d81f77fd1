"""Whatever is lost or frozen under a run, it ends with a sentence or goes on from a checkpoint."""

from __future__ import annotations

import concurrent.futures
import io
import logging
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

import distributed
from distributed import Future

from course_lib import Adam, mlp
from course_lib.parallel import gang, train
from course_lib.parallel.errors import (
    ClusterUnreachable,
    RankFailed,
    SchedulerLost,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.launch import connect
from course_lib.parallel.launch.client import PATIENCE, quiet
from course_lib.parallel.launch.workers import _Place
from tests.patience import patient

# What a process was writing when it was killed is passed over, and rightly mentioned.
pytestmark = pytest.mark.filterwarnings("ignore:skipping step:RuntimeWarning")

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(400, 7)), RNG.integers(0, 3, 400)
NET = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
SETTINGS = {"optimizer": Adam(0.01), "batch_size": 10, "seed": 5}


def undisturbed(epochs):
    return train(NET, (X, Y), workers=2, comm="inprocess", epochs=epochs, **SETTINGS)


def once(what, *, step=20):
    """A listener that does something after a checkpoint, and keeps what it heard."""

    def listen(event):
        heard.append(event)
        if event.kind == "checkpoint" and event.step >= step and not done:
            done.append(event.step)
            what()

    heard, done = listen.heard, listen.done = [], []
    return listen


# --- a scheduler that is frozen or gone ---


@pytest.fixture
def two_workers(by_hand):
    """A cluster by hand, and a client of the user."""
    for _ in range(2):
        by_hand.worker()
    with distributed.Client(by_hand.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=patient(60))
    return by_hand


def test_a_frozen_scheduler_ends_a_run_within_the_timeout_and_its_workers_are_free_again(
    two_workers,
):
    frozen = []

    def freeze(event):
        if not frozen:
            frozen.append(time.monotonic())
            two_workers.scheduler.send_signal(signal.SIGSTOP)

    with pytest.raises(SchedulerLost, match=r"scheduler at tcp://127.* did not answer for") as e:
        train(
            NET, (X, Y), workers=2, client=two_workers.address, epochs=10**6, timeout=patient(3),
            on_event=freeze, **SETTINGS,
        )  # fmt: skip
    # The silence, the question whether the scheduler is there, and the way out.
    assert time.monotonic() - frozen[0] < patient(3 + 2 * PATIENCE + 3)
    assert "With checkpoint=directory the training would have gone on." in e.value.__notes__
    with pytest.raises(ClusterUnreachable, match="did not answer within 1 s"):
        gang(two_workers.address, lambda comm: comm.rank, 2, timeout=1)
    two_workers.scheduler.send_signal(signal.SIGCONT)
    assert gang(two_workers.address, lambda comm: comm.rank, 2, timeout=patient(40)) == [0, 1]


CALLS = {
    "nthreads": lambda own: own.nthreads(),
    "processing": lambda own: own.processing(),
    "run": lambda own: own.run(os.getpid),
    "scatter": lambda own: own.scatter([1], hash=False),
    "gather": lambda own: own.submit(os.getpid, pure=False).result(),
    "restart_workers": lambda own: own.restart_workers(["tcp://127.0.0.1:1"]),
    "hold": lambda own: _Place(own, "it").acquire(timeout=0),
}


def test_no_call_of_our_client_waits_for_a_frozen_scheduler(two_workers):
    address = two_workers.address
    for name, call in CALLS.items():
        with connect(address, workers=1, timeout=patient(20)) as own:
            own.limit = 0.5
            two_workers.scheduler.send_signal(signal.SIGSTOP)
            start = time.monotonic()
            with pytest.raises(SchedulerLost):
                call(own)
            assert time.monotonic() - start < patient(0.5 + PATIENCE + 1), name
            start = time.monotonic()
            with pytest.raises(SchedulerLost):  # the next one knows already
                own.nthreads()
        assert time.monotonic() - start < patient(PATIENCE + 1), name
        two_workers.scheduler.send_signal(signal.SIGCONT)


def test_a_scheduler_that_comes_back_is_gone_on_with(two_workers, tmp_path):
    address = two_workers.address

    def replace():
        two_workers.scheduler.kill()
        two_workers.scheduler.wait(10)
        two_workers.contact.unlink()
        two_workers.start_scheduler(port=address.rpartition(":")[2])
        assert two_workers.address == address
        for _ in range(2):
            two_workers.worker()

    listen = once(replace)
    result = train(
        NET, (X, Y), workers=2, client=address, epochs=3, timeout=patient(40), every=5,
        checkpoint=tmp_path / "run", on_event=listen, **SETTINGS,
    )  # fmt: skip
    assert listen.done and result.restarts == 1
    [lost] = [e.message for e in listen.heard if e.kind == "worker_lost"]
    assert f"the scheduler at {address} was lost" in lost
    assert result.digests == undisturbed(3).digests


def test_a_scheduler_that_does_not_come_back_is_an_error_that_names_the_first_cause(
    two_workers, tmp_path, capfd
):
    with pytest.raises(ClusterUnreachable, match="no Dask scheduler could be reached") as e:
        train(
            NET, (X, Y), workers=2, client=two_workers.address, epochs=10**6, timeout=patient(2),
            every=5, checkpoint=tmp_path / "run", on_event=once(two_workers.scheduler.kill),
            **SETTINGS,
        )  # fmt: skip
    assert isinstance(e.value.__cause__, SchedulerLost)
    assert "The first failure was: the scheduler at tcp" in e.value.__notes__[-1]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")  # no traceback of Dask's


def test_dask_is_quiet_during_a_run_and_heard_again_after_it(tmp_path):
    """What the user's own program says is heard, and files get everything."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers = [logging.StreamHandler(stream), logging.FileHandler(tmp_path / "log")]
    for handler in handlers:
        root.addHandler(handler)
    try:
        with quiet():
            with quiet():  # runs may overlap
                logging.getLogger("distributed.client").error("lost")
            logging.getLogger("distributed.batched").error("lost")
            logging.getLogger("distributedly").error("mine")
        logging.getLogger("distributed.batched").error("after")
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
    assert stream.getvalue().split() == ["mine", "after"]
    assert (tmp_path / "log").read_text().split() == ["lost", "lost", "mine", "after"]


# --- workers that go ---


class Deadly:
    """Data that does not fit: whoever receives it is killed."""

    def __init__(self):
        self.home = os.getpid()

    def __reduce__(self):
        return _receive, (self.home,)

    def __call__(self, history):
        return False


def _receive(home):
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_of_the_data_is_a_lost_worker_and_paths_are_proposed(client):
    with pytest.raises(WorkerLost, match=r"was lost when rank 0 .* out of memory.* path of") as e:
        gang(client, lambda comm, data: None, 2, Deadly(), timeout=patient(20))
    assert e.value.worker.startswith("tcp://") and not e.value.stuck
    client.wait_for_workers(3, timeout=patient(60))
    assert gang(client, lambda comm: comm.rank, 3, timeout=patient(20)) == [0, 1, 2]


def test_a_worker_that_dies_of_the_data_is_tried_again_if_there_is_a_checkpoint(client, tmp_path):
    events = []
    with pytest.raises(WorkerLost) as e:
        train(
            NET, (X, Y), stop=Deadly(), workers=2, client=client, epochs=2, max_restarts=1,
            checkpoint=tmp_path, timeout=patient(40), on_event=events.append, **SETTINGS,
        )  # fmt: skip
    assert [e.kind for e in events] == ["worker_lost", "restart", "worker_lost"]
    assert "The budget of 1 restarts is spent." in e.value.__notes__


def test_a_cluster_that_somebody_restarts_is_gone_on_with(client, tmp_path):
    def restart():
        thread = threading.Thread(target=lambda: client.restart(timeout=patient(60)))
        thread.start()
        threads.append(thread)

    threads, listen = [], once(restart)
    result = train(
        NET, (X, Y), workers=2, client=client, epochs=200, timeout=patient(40), every=5,
        checkpoint=tmp_path, on_event=listen, max_restarts=3, **SETTINGS,
    )  # fmt: skip
    threads[0].join(patient(60))
    assert 1 <= result.restarts <= 3
    assert result.digests == undisturbed(200).digests


def test_a_cluster_that_somebody_restarts_is_a_lost_worker_without_a_checkpoint(client):
    restarted = []

    def restart(_):
        if not restarted:
            thread = threading.Thread(target=lambda: client.restart(timeout=patient(60)))
            thread.start()
            restarted.append(thread)

    with pytest.raises(WorkerLost, match=r"client.restart\(\)|was lost while it ran") as e:
        train(
            NET, (X, Y), workers=2, client=client, epochs=10**6, timeout=patient(40),
            on_event=restart, **SETTINGS,
        )  # fmt: skip
    assert "With checkpoint=directory the training would have gone on." in e.value.__notes__
    restarted[0].join(patient(60))


def test_a_worker_that_is_retired_is_done_without(two_workers, tmp_path):
    with distributed.Client(two_workers.address, set_as_default=False) as client:
        leaving = sorted(client.nthreads())[:1]
        listen = once(
            lambda: threading.Thread(target=client.retire_workers, args=(leaving,)).start()
        )
        result = train(
            NET, (X, Y), workers=(1, 2), client=client, epochs=60, timeout=patient(40), every=20,
            checkpoint=tmp_path / "run", on_event=listen, virtual_shards=8, **SETTINGS,
        )  # fmt: skip
        assert listen.done and result.restarts == 1
        assert len(result.timing) == 1
    serial = train(
        NET, (X, Y), workers=1, comm="inprocess", epochs=60, virtual_shards=8, **SETTINGS
    )
    assert set(result.digests) == set(serial.digests)


# --- messages that do not come, as when the clock of the wall is set back ---


def test_results_are_fetched_if_nobody_tells_that_the_ranks_have_ended(client, monkeypatch):
    monkeypatch.setattr(Future, "add_done_callback", lambda self, fn: None)
    start = time.monotonic()
    results = gang(client, lambda comm, x: x + comm.rank, 2, np.arange(3.0), timeout=1)
    assert [r.tolist() for r in results] == [[0, 1, 2], [1, 2, 3]]
    assert time.monotonic() - start < patient(10)
    with pytest.raises(RankFailed, match="ZeroDivisionError"):
        gang(client, lambda comm: 1 // (1 - comm.rank), 2, timeout=1)


def test_ranks_that_compute_for_long_are_not_taken_for_ranks_that_do_not_start(client, monkeypatch):
    """The message that all have started is lost; a task that keeps its worker is none of them."""
    from course_lib.parallel.launch.watch import Watch

    monkeypatch.setattr(Watch, "_hear_rank", lambda self, event: None)
    rank = lambda comm: time.sleep(2.5) or comm.rank  # noqa: E731
    assert gang(client, rank, 2, timeout=1) == [0, 1]
    [busy] = sorted(client.nthreads())[:1]
    nap = client.submit(time.sleep, patient(4), workers=[busy], pure=False)
    while not client.processing()[busy]:
        time.sleep(0.01)
    with pytest.raises(WorkersBusy, match="did not start within 1 s"):
        gang(client, rank, 3, timeout=1)
    client.cancel(nap)
    client.restart_workers([busy], timeout=patient(60))


def test_the_clock_of_the_wall_may_be_set_back_in_the_middle(tmp_path):
    """In a process of its own: Dask's loops, which other tests share, keep to that clock."""
    limit = patient(2)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        set_back, digests, seconds = pool.submit(set_clock_back, tmp_path, limit).result()
    assert set_back
    assert digests == undisturbed(3).digests
    assert seconds < patient(30)


def set_clock_back(folder, timeout):
    wall, back = time.time, [0.0]
    time.time = lambda: wall() - back[0]
    listen = once(lambda: back.__setitem__(0, 3600.0))
    start = time.monotonic()
    result = train(
        NET, (X, Y), workers=2, epochs=3, timeout=timeout, every=5,
        checkpoint=folder, on_event=listen, **SETTINGS,
    )  # fmt: skip
    return bool(listen.done), result.digests, time.monotonic() - start
