"""Which cluster a run takes, and what a private one leaves; Dask's own part is pretended."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed")

import dask
from distributed import Client

from course_lib.parallel.errors import ClusterUnreachable, ParallelError
from course_lib.parallel.launch import cluster as cluster_file
from course_lib.parallel.launch.cluster import connect
from course_lib.parallel.launch.spawning import GUARD


class Given(Client):
    """A client of the user."""

    asynchronous = False

    def __init__(self, status="running", **attributes):
        self.status, self.security = status, "certificates"
        self.scheduler = SimpleNamespace(address="tcp://s:1")
        for name, value in attributes.items():
            setattr(self, name, value)

    def __del__(self):
        pass


class Asynchronous(Given):
    asynchronous = True


@pytest.fixture
def asked(monkeypatch):
    """What is opened, in place of a client of our own."""
    calls = []

    @contextmanager
    def opened(*what):
        calls.append(what)
        yield "ours"
        calls.append("left")

    @contextmanager
    def private(workers):
        yield f"a cluster of {workers}"
        calls.append("closed")

    monkeypatch.setattr(cluster_file, "opened", opened)
    monkeypatch.setattr(cluster_file, "_private_cluster", private)
    return calls


@pytest.mark.parametrize(
    ("given", "address", "security"),
    [
        ("tcp://s:1", "tcp://s:1", None),
        (Given(), "tcp://s:1", "certificates"),
        (Given("connecting"), "tcp://s:1", "certificates"),  # its scheduler may come back
    ],
)
def test_a_cluster_that_is_given_is_reached_by_a_client_of_our_own(asked, given, address, security):
    with connect(given, workers=3, timeout=7) as own:
        assert own == "ours"
    assert asked == [(address, security, 7.0), "left"]


def test_without_one_a_private_cluster_is_made_and_closed_after_its_client(asked):
    with connect(None, workers=3, timeout=7):
        pass
    assert asked == [("a cluster of 3", None, 7.0), "left", "closed"]


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (8786, TypeError, "client must be a distributed.Client, .*got int"),
        (Asynchronous(), TypeError, "client must not be asynchronous"),
        (Given("closed"), ClusterUnreachable, r"not connected \(status 'closed'\)"),
        (Given(scheduler=None), ClusterUnreachable, "not connected"),
        ("tls://s:1", ClusterUnreachable, "to show a certificate, and none is known"),
    ],
)
def test_what_is_no_connected_client_is_refused_before_anything_is_opened(
    asked, given, error, sentence
):
    with pytest.raises(error, match=sentence), connect(given, workers=1, timeout=7):
        pytest.fail("it was opened")
    assert asked == []


def test_a_tls_address_needs_both_certificates(asked):
    for names in (["ca-file"], ["client.cert"]):
        with (
            dask.config.set({f"distributed.comm.tls.{name}": "a.pem" for name in names}),
            pytest.raises(ClusterUnreachable),
            connect("tls://s:1", workers=1, timeout=7),
        ):
            pytest.fail("it was opened")
    names = ["ca-file", "client.cert"]
    with dask.config.set({f"distributed.comm.tls.{name}": "a.pem" for name in names}):
        with connect("tls://s:1", workers=1, timeout=7):
            assert asked == [("tls://s:1", None, 7.0)]


def test_inside_a_task_of_dask_nothing_is_opened(asked, monkeypatch):
    worker = SimpleNamespace(address="tcp://w:1")
    monkeypatch.setattr(cluster_file, "get_worker", lambda: worker)
    with pytest.raises(ParallelError, match=r"inside a Dask task \(on tcp://w:1\)"):
        with connect("tcp://s:1", workers=1, timeout=7):
            pytest.fail("it was opened")
    assert asked == []


# --- a private cluster ---


@pytest.fixture
def made(monkeypatch):
    """Dask's cluster, which changes the environment of this process when a worker starts."""
    found = SimpleNamespace(made=[], fails=None, closes=None)

    class Cluster:
        def __init__(self, **options):
            self.start_worker()
            found.made.append(options)
            if found.fails is not None:
                raise found.fails

        def start_worker(self):
            os.environ.update(COURSE_NEW="1", COURSE_OLD="2")
            os.environ.pop("COURSE_GONE", None)

        def close(self, timeout):
            found.made.append(timeout)
            if found.closes is not None:
                raise found.closes

    monkeypatch.setattr(cluster_file, "LocalCluster", Cluster)
    monkeypatch.delenv("COURSE_NEW", raising=False)
    monkeypatch.setenv("COURSE_OLD", "1")
    monkeypatch.setenv("COURSE_GONE", "1")
    return found


def test_the_environment_is_as_it_was_while_a_private_cluster_is_there_and_after_it(made):
    before = dict(os.environ)
    made.closes = TimeoutError("a worker does not hear")
    name = "distributed.deploy.lost-worker-timeout"
    with dask.config.set({name: "7 s"}):
        with cluster_file._local_cluster(3, before, "a loop") as cluster:
            assert dict(os.environ) == before
            assert dask.config.get(name) == "1 hour"
            cluster.start_worker()  # one that was lost is replaced
            os.environ["COURSE_MINE"] = "by the user, meanwhile"
        try:
            assert dict(os.environ) == before | {"COURSE_MINE": "by the user, meanwhile"}
        finally:
            del os.environ["COURSE_MINE"]
        assert dask.config.get(name) == "7 s"
    assert made.made[1] > 10  # seconds to close in, which a frozen worker takes


@pytest.mark.parametrize("error", [RuntimeError("no start"), OSError("no memory")])
def test_a_private_cluster_that_does_not_start_says_what_may_be_wrong(made, error):
    before, made.fails = dict(os.environ), error
    with pytest.raises(ParallelError) as e, cluster_file._local_cluster(3, before, "a loop"):
        pytest.fail("it is there")
    assert f"the 3 worker processes did not start ({error})" in str(e.value)
    assert GUARD in str(e.value)
    assert dict(os.environ) == before


def test_without_room_for_their_semaphores_workers_are_not_started(monkeypatch):
    """Dask's processes need eight each."""
    room = [0]

    def lock():
        room[0] -= 1
        if room[0] < 0:
            raise OSError("no space left")

    context = SimpleNamespace(Lock=lock)
    fake = SimpleNamespace(get_context=lambda method: context)
    monkeypatch.setattr(cluster_file, "multiprocessing", fake)
    room[0] = 24
    cluster_file._check_semaphores(3)
    room[0] = 23
    with pytest.raises(ParallelError, match=r"the 3 worker .* 8 semaphores, .*no space left"):
        cluster_file._check_semaphores(3)


def test_before_a_private_cluster_is_made_it_is_asked_whether_it_can_be(monkeypatch):
    story = []

    @contextmanager
    def made(workers, before, loop):
        story.append(("made", workers, before == dict(os.environ), loop))
        yield "the cluster"
        story.append("closed")

    runner = SimpleNamespace(
        loop="a loop", start=lambda: story.append("loop"), stop=lambda: story.append("no loop")
    )
    monkeypatch.setattr(cluster_file, "check_can_start", lambda: story.append("can start"))
    monkeypatch.setattr(cluster_file, "_check_semaphores", story.append)
    monkeypatch.setattr(cluster_file, "LoopRunner", lambda: runner)
    monkeypatch.setattr(cluster_file, "_local_cluster", made)
    with cluster_file._private_cluster(3) as cluster:
        assert cluster == "the cluster"
    here = ("made", 3, True, "a loop")
    assert story == ["can start", 3, "loop", here, "closed", "no loop"]


def test_the_workers_of_a_private_cluster_are_processes_that_share_the_memory():
    """The only test here that starts one."""
    with connect(None, workers=2, timeout=60) as own:
        workers = own.scheduler_info(n_workers=-1)["workers"].values()
        pids = set(own.run(os.getpid).values())
    assert len(pids) == 2 and os.getpid() not in pids
    assert [worker["nthreads"] for worker in workers] == [1, 1]
    memory = sum(worker["memory_limit"] for worker in workers)
    assert memory == pytest.approx(0.8 * cluster_file.MEMORY_LIMIT, rel=1e-6)
