"""A run from its first message to its last, as the driver sees it; the cluster is pretended."""

from __future__ import annotations

import pickle
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed")

from distributed.client import ClosedClientError

from course_lib.parallel.comm.dask_comm import ABORT, topic
from course_lib.parallel.comm.outcome import Outcome
from course_lib.parallel.errors import (
    ClusterUnreachable,
    CommTimeout,
    RankFailed,
    SchedulerLost,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.launch import watch as watch_file
from course_lib.parallel.launch.client import PATIENCE
from course_lib.parallel.launch.watch import Watch, fetch_outcome

PLACES = ["tcp://a:1", "tcp://b:1", "tcp://c:1"]


class Cluster:
    """Runs no rank: `story` is called when the last one is submitted, and plays them all."""

    status, limit = "running", 2.0

    def __init__(self, story=lambda cluster: None, there=PLACES, scatters=None):
        self.story, self.there, self.scatters = story, there, scatters
        self.heard, self.tasks, self.told, self.limits = {}, [], [], []

    def subscribe_topic(self, name, hear):
        assert name not in self.heard
        self.heard[name] = hear

    def unsubscribe_topic(self, name):
        del self.heard[name]

    def nthreads(self):
        return dict.fromkeys(self.there, 1)

    def scatter(self, things, *, workers, hash, timeout):
        assert (workers, hash) == (PLACES[:1], False)
        self.limits.append((self.limit, timeout))
        if self.scatters is not None:
            raise self.scatters
        return things

    def submit(self, function, generation, rank, addresses, timeout, program, **options):
        assert (addresses, options["workers"]) == (PLACES, [PLACES[rank]])
        self.generation = generation
        self.tasks.append(SimpleNamespace(rank=rank, program=program, status="pending"))
        self.tasks[-1].add_done_callback = lambda fn: self._submitted(rank, fn)
        return self.tasks[-1]

    def _submitted(self, rank, done):
        self.tasks[rank].done = lambda: done(self.tasks[rank])
        if rank == len(PLACES) - 1:
            self.story(self)

    def cancel(self, futures, force):
        assert force
        self.told.append([task.rank for task in futures])

    def check(self, patience=PATIENCE):
        pass

    # What the story is told with.

    def ends(self, rank, value=None, error=None):
        task = self.tasks[rank]
        task.status, task.result = "finished", lambda timeout: Outcome(rank, value, error)
        task.done()

    def event(self, rank, action):
        self.heard[PLACES[rank]]((0.0, {"action": action, "worker": PLACES[rank]}))

    def rank_says(self, **message):
        self.heard[topic(self.generation)]((0.0, message))


@pytest.fixture
def run(monkeypatch):
    """Run on such a cluster: the values or the error, and what workers were asked."""

    def play(cluster, on_report=None, timeout=5.0):
        def ask(client, addresses, op, **message):
            assert client is cluster
            cluster.told.append((op, sorted(addresses)))
            return {}

        monkeypatch.setattr(watch_file, "ask", ask)
        watch = Watch(cluster, PLACES, on_report)
        watch._ranks.grace = 0.0
        try:
            return watch.run((print, (), {}), timeout)
        finally:
            assert cluster.heard == {}  # the scheduler is left without listeners
            assert cluster.limit == 2.0

    return play


def all_end(cluster):
    for rank in (2, 0, 1):
        cluster.ends(rank, value=rank**2)


def test_values_come_by_rank_and_nothing_is_left_on_the_cluster(run):
    cluster = Cluster(all_end)
    assert run(cluster) == [0, 1, 4]
    assert [task.program for task in cluster.tasks] == [(print, (), {})] * 3
    assert cluster.told == [[0, 1, 2]]  # nobody is stopped, and all tasks are dropped


def test_reports_are_handed_on_as_they_were_sent(run):
    def story(cluster):
        cluster.rank_says(started=True)
        for i in range(3):
            cluster.rank_says(report=pickle.dumps({"i": i}))
        all_end(cluster)

    seen = []
    assert run(Cluster(story), on_report=seen.append) == run(Cluster(story)) == [0, 1, 4]
    assert seen == [{"i": 0}, {"i": 1}, {"i": 2}]


@pytest.mark.parametrize("started", [False, True])
def test_a_worker_that_is_removed_is_lost_and_the_others_are_stopped(run, started):
    def story(cluster):
        if started:
            cluster.rank_says(started=True)
        cluster.event(0, "add-worker")
        cluster.event(1, "remove-worker")

    cluster = Cluster(story)
    when = "while it ran rank 1" if started else "when rank 1 was to start on it"
    with pytest.raises(WorkerLost, match=f"worker tcp://b:1 was lost {when}") as e:
        run(cluster)
    assert ("the path of files" in str(e.value)) is not started
    assert e.value.stuck == (PLACES[0], PLACES[2])
    assert cluster.told[0] == (ABORT, [PLACES[0], PLACES[2]])


def test_a_worker_that_is_gone_before_anybody_listened_is_lost(run):
    begun = time.monotonic()
    with pytest.raises(WorkerLost, match="tcp://c:1 was lost when rank 2 was to start"):
        run(Cluster(there=PLACES[:2]), timeout=60.0)
    # The others are given their time to stop, here none, and not that to start.
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("fails", "there", "error", "sentence"),
    [
        (TimeoutError("late"), PLACES, CommTimeout, "tcp://a:1 did not take the data in 5 s"),
        (TimeoutError("late"), PLACES[1:], WorkerLost, "worker tcp://a:1 was lost when rank 0 was"),
        (OSError("closed"), PLACES, WorkerLost, "worker tcp://a:1 was lost when rank 0 was"),
        (ValueError("no worker"), PLACES, WorkerLost, "worker tcp://a:1 was lost when rank 0 was"),
        (RuntimeError("other"), PLACES, RuntimeError, "other"),
    ],
)
def test_a_worker_that_does_not_take_the_program_is_frozen_or_lost(
    run, fails, there, error, sentence
):
    cluster = Cluster(there=there, scatters=fails)
    with pytest.raises(error, match=sentence) as e:
        run(cluster)
    if error is not RuntimeError:
        assert e.value.stuck == ((PLACES[0],) if error is CommTimeout else ())
    assert cluster.tasks == []


def test_the_program_may_take_as_long_as_its_bytes_do_on_a_slow_network(run, monkeypatch):
    """10 MB a second; and never less than a call of the scheduler's."""
    monkeypatch.setattr(watch_file, "_bytes", lambda program: 30_000_000)
    for timeout, seconds in ((5.0, 8.0), (1.0, 4.0)):
        cluster = Cluster(all_end)
        run(cluster, timeout=timeout)
        assert cluster.limits == [(max(seconds, PATIENCE), seconds)]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_driver_stops_its_ranks(run, interrupt):
    def angry(message):
        raise interrupt

    cluster = Cluster(lambda c: c.rank_says(report=pickle.dumps({})))
    with pytest.raises(interrupt):
        run(cluster, on_report=angry)
    assert cluster.told == [(ABORT, PLACES), [0, 1, 2]]


def test_a_scheduler_that_goes_at_the_end_is_not_what_is_reported(run):
    def story(cluster):
        cluster.heard.clear()  # it has forgotten all
        cluster.ends(1, error=ValueError("no such row"))

    for gone in (ClosedClientError("closed"), ClusterUnreachable("lost")):
        cluster = Cluster(story)
        cluster.cancel = lambda *_, gone=gone, **__: (_ for _ in ()).throw(gone)
        with pytest.raises(RankFailed, match="rank 1 failed: ValueError: no such row"):
            run(cluster)


# --- nothing is heard ---


@pytest.fixture
def silence(monkeypatch):
    """A watch of which nothing is heard; each worker answers so when it is asked."""

    def make(answer):
        asked = []

        def ask(client, addresses, op, **message):
            asked.append((op, message.get("patience")))
            return {address: answer for address in addresses}

        monkeypatch.setattr(watch_file, "ask", ask)
        return Watch(Cluster(), PLACES, None), asked

    return make


def test_ranks_that_do_not_start_in_time_are_told_from_those_whose_start_was_not_heard(silence):
    watch, asked = silence({"started": False})
    watch._ranks.limit(0.0)
    with pytest.raises(WorkersBusy, match=r"did not start within 0\.01 s"):
        watch._look_after_silent(0.01)
    assert [patience for _, patience in asked] == [0.01] * 3
    watch, _ = silence({"started": True})
    watch._ranks.limit(0.0)
    watch._look_after_silent(0.01)
    assert watch._started and watch._ranks.left() is None  # they may compute for long


def test_ranks_that_have_yet_time_to_start_are_left_alone(silence):
    watch, _ = silence({"started": False})
    watch._ranks.limit(60.0)
    watch._look_after_silent(0.01)
    assert not watch._started and not watch._ranks.failed


def test_the_scheduler_is_asked_first_and_gets_its_time(silence):
    watch, asked = silence({"started": True})
    patience = []

    def check(seconds):
        patience.append(seconds)
        raise SchedulerLost("gone")

    watch._client.check = check
    for timeout in (0.01, PATIENCE + 4):
        with pytest.raises(SchedulerLost):
            watch._look_after_silent(timeout)
    assert patience == [PATIENCE, PATIENCE + 4] and asked == []


def test_a_worker_that_keeps_what_its_rank_returned_is_frozen(silence):
    def late(timeout):
        raise TimeoutError

    watch, _ = silence({})
    watch._done(1, SimpleNamespace(status="finished", result=late), 1.5)
    error = watch._ranks.outcomes[1].error
    assert isinstance(error, CommTimeout) and (error.rank, error.worker) == (1, PLACES[1])
    assert "did not hand over what rank 1 returned within 1.5 s: its process" in str(error)


def test_a_task_that_was_cancelled_with_its_scheduler_is_a_lost_scheduler():
    asked = []
    cancelled = SimpleNamespace(status="cancelled")
    for status in ("running", "connecting"):
        client = SimpleNamespace(status=status, check=lambda: asked.append(True))
        found = fetch_outcome(client, cancelled, 1, PLACES[1], 1.0)
        assert isinstance(found.error, WorkerLost) and "was cancelled" in str(found.error)
    assert asked == [True]
