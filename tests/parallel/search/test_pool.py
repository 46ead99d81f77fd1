"""Which trial the pool gives to which worker, and when; with a client that only notes it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed")

from dask import config
from distributed import KilledWorker
from distributed.protocol import pickle

from course_lib.parallel import launch
from course_lib.parallel.errors import ClusterUnreachable, NotEnoughWorkers, ParallelError
from course_lib.parallel.search import dask_pool
from course_lib.parallel.search.dask_pool import DaskPool
from course_lib.parallel.search.searches import _dask_pool
from course_lib.parallel.search.trials import Trial, TrialResult


class Future:
    """Of a task that runs, until it is told how it ends."""

    def __init__(self, number):
        self.key, self.status, self.kept = number, "pending", None

    def add_done_callback(self, callback):
        self.callback = callback

    def end(self, score=None, error=None):
        """Finish with a score, or with an error; without either, the worker was lost."""
        self.status = "error" if error else "lost" if score is None else "finished"
        self.kept, self.error = pickle.dumps(TrialResult(score)), error
        self.callback(self)

    def result(self, timeout):
        return self.kept

    def exception(self, timeout):
        assert self.error, "a lost future has none"
        return self.error


class Client:
    """Two workers, of two threads and of one; `started` says which trial went where."""

    status = "running"

    def __init__(self):
        self.started, self.futures, self.cancelled, self.shared = [], [], [], []
        self.threads = {"a": 2, "b": 1}

    def nthreads(self):
        return self.threads

    def submit(self, function, *args, workers=(None,), pure, **options):
        # What is pure may be the result of another search, and be cancelled with it.
        assert not pure
        if function is pickle.loads:
            self.shared.append(SimpleNamespace(status="finished"))
            return self.shared[-1]
        # A task must end when its worker dies, and it is the pool that tries again.
        assert options == {"allow_other_workers": True, "retries": 0}
        assert args[0] is self.shared[-1]
        self.started.append((pickle.loads(args[1]).index, workers[0]))
        self.futures.append(Future(len(self.futures)))
        return self.futures[-1]

    def check(self):
        raise ClusterUnreachable("the scheduler was lost")

    def cancel(self, futures, force):
        self.cancelled += [future.key for future in futures]


@pytest.fixture
def cluster(monkeypatch):
    """No other run holds one of its workers."""
    monkeypatch.setattr(dask_pool, "held_workers", lambda client, workers: set(), raising=False)
    return Client()


def pool_of(cluster, n, **options):
    options = {"at_once": None, "retries": 1, "timeout": 1.0} | options
    pool = DaskPool(cluster, len, **options)
    for index in range(n):
        pool.submit(Trial(index, {}, seed=0, budget=1))
    return pool


def test_each_thread_gets_one_and_a_trial_that_was_lost_is_the_next_to_run(cluster):
    pool = pool_of(cluster, 5)
    pool._fill()
    assert cluster.started == [(0, "a"), (1, "a"), (2, "b")]
    cluster.futures[1].end()  # lost: before those that have waited all the time
    cluster.futures[0].end(0.5)
    trial, result = pool.wait()
    assert (trial.index, result.score) == (0, 0.5)
    assert cluster.started[3:] == [(1, "a")]
    cluster.futures[3].end()  # lost again: once more than the retries
    trial, result = pool.wait()
    assert trial.index == 1 and "lost 2 times" in result.error
    assert cluster.started[4:] == [(3, "a")]  # in the order of submission


def test_no_more_run_at_once_than_wanted_and_those_that_run_are_cancelled_at_the_end(cluster):
    with pool_of(cluster, 3, at_once=1) as pool:
        pool._fill()
        cluster.futures[0].end(1.0)
        assert pool.wait()[0].index == 0
        pool._fill()
        assert cluster.started == [(0, "a"), (1, "a")]
    assert cluster.cancelled == [1]
    assert pool._shared is None and pool._running == {}  # the cluster can forget what they shared


def test_fewer_trials_than_may_run_at_once(cluster):
    pool = pool_of(cluster, 1, at_once=5)
    pool._fill()
    pool._fill()
    assert cluster.started == [(0, "a")]


def test_a_trial_that_takes_long_is_waited_for_and_workers_that_come_get_theirs(cluster):
    cluster.threads = {"a": 1}
    pool = pool_of(cluster, 2)
    pool._fill()
    assert cluster.started == [(0, "a")]
    cluster.threads = {"a": 1, "b": 1}
    threading.Timer(0.7, lambda: cluster.futures[0].end(0.25)).start()  # longer than one look
    trial, result = pool.wait()
    assert (trial.index, result.score) == (0, 0.25)
    assert cluster.started == [(0, "a"), (1, "b")]


def test_what_all_trials_share_is_sent_again_when_it_was_lost(cluster):
    pool = pool_of(cluster, 3, at_once=1)
    pool._fill()
    cluster.futures[0].end(1.0)
    pool.wait()
    pool._fill()
    assert len(cluster.shared) == 1
    cluster.shared[0].status = "lost"
    cluster.futures[1].end(1.0)
    pool.wait()
    pool._fill()
    assert len(cluster.shared) == 2 and len(cluster.started) == 3


def test_what_no_other_worker_could_do_better_ends_the_search(cluster):
    pool = pool_of(cluster, 1)
    pool._fill()
    cluster.futures[0].end(error=ModuleNotFoundError("no module named 'mine'"))
    with pytest.raises(ParallelError, match=r"could not run the objective \(ModuleNotFoundError: "):
        pool.wait()


def test_a_worker_that_was_killed_too_often_counts_as_lost(cluster):
    pool = pool_of(cluster, 1, retries=0)
    pool._fill()
    cluster.futures[0].end(error=KilledWorker("task", None, 3))
    trial, result = pool.wait()
    assert trial.index == 0 and "lost 1 times" in result.error


def test_without_a_scheduler_the_search_ends(cluster):
    pool = pool_of(cluster, 1)
    pool._fill()
    cluster.status = "closed"
    with pytest.raises(ClusterUnreachable, match="was lost"):
        pool._check_workers(None)
    cluster.futures[0].end()
    with pytest.raises(ClusterUnreachable, match="was lost"):
        pool.wait()


def test_without_workers_the_search_waits_as_long_as_was_said(cluster):
    pool = pool_of(cluster, 1, timeout=100.0)
    pool._fill()
    assert pool._check_workers(5.0) is None  # there are some, and they run: nothing to wait for
    cluster.threads = {}
    deadline = pool._check_workers(None)
    assert 99 < deadline - time.monotonic() <= 100
    assert pool._check_workers(deadline) == deadline
    with pytest.raises(NotEnoughWorkers, match="no worker since 100 s"):
        pool._check_workers(time.monotonic() - 0.1)


@pytest.mark.parametrize(("workers", "started", "at_once"), [(None, 2, None), (3, 3, 3)])
def test_without_a_cluster_it_starts_as_many_workers_as_wanted_or_two(
    cluster, monkeypatch, workers, started, at_once
):
    asked = []

    @contextmanager
    def connect(client, *, workers, timeout):
        asked.append((client, workers, timeout))
        yield cluster

    monkeypatch.setattr(launch, "connect", connect)
    with _dask_pool(len, None, workers, retries=2, timeout=5.0) as pool:
        assert asked == [(None, started, 5.0)]
        assert (pool._at_once, pool._retries, pool._timeout) == (at_once, 2, 5.0)
        # Dask would otherwise run a trial again by itself, and not tell of a loss.
        assert config.get("distributed.scheduler.allowed-failures") == 0
