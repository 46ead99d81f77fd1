"""Runs that start together share a cluster out among them; an adaptive one grows for them."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("distributed")

import distributed
from distributed import get_worker

from course_lib.parallel import gang
from course_lib.parallel.errors import NotEnoughWorkers, WorkersBusy
from course_lib.parallel.launch import connect, workers
from course_lib.parallel.launch.workers import held_workers, hold_workers
from course_lib.parallel.search import grid
from tests.patience import patient


def stay(comm, folder, runs):
    """Be there until all runs are."""
    (folder / f"{get_worker().address.replace('/', '_')}").touch()
    while len(list(folder.iterdir())) < runs:
        time.sleep(0.02)
        comm.check()
    return get_worker().address


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2), (2, 1)], ids=str)
def test_runs_that_start_together_take_different_workers(client, tmp_path, sizes):
    """Each waits for the others: were one to wait for the workers of another, none would end."""
    with ThreadPoolExecutor(len(sizes)) as pool:
        runs = [
            pool.submit(gang, client, stay, size, tmp_path, 3, timeout=patient(20))
            for size in sizes
        ]
        found = [run.result(timeout=patient(40)) for run in runs]
    assert [len(addresses) for addresses in found] == list(sizes)
    assert sorted(address for addresses in found for address in addresses) == sorted(
        client.nthreads()
    )


def test_a_search_leaves_the_workers_of_another_run_alone(client):
    place = lambda trial: float(int(get_worker().address.rpartition(":")[2]))  # noqa: E731
    everyone = sorted(client.nthreads())
    with connect(client, workers=1, timeout=20) as own, hold_workers(own, (2, 2), 20) as held:
        [free] = set(everyone) - set(held)
        rows = grid(place, {"a": list(range(6))}, client=client).rows
        assert {row.score for row in rows} == {float(free.rpartition(":")[2])}
    rows = grid(place, {"a": list(range(6))}, client=client).rows
    assert len({row.score for row in rows}) > 1  # and takes them when they are free again


def test_a_search_without_a_free_worker_ends_within_the_timeout(client):
    with connect(client, workers=1, timeout=20) as own, hold_workers(own, (3, 3), 20):
        start = time.monotonic()
        with pytest.raises(WorkersBusy, match=r"no worker became free for the search within 1 s"):
            grid(lambda trial: 0.0, {"a": [1]}, client=client, timeout=1)
        assert time.monotonic() - start < patient(5)


def test_who_can_not_have_all_its_workers_holds_none_of_them(client):
    with connect(client, workers=1, timeout=20) as own, hold_workers(own, (2, 2), 20) as held:
        with (
            pytest.raises(WorkersBusy, match=r"2 of the workers tcp.* did not become free within"),
            connect(client, workers=1, timeout=20) as other,
            hold_workers(other, (2, 2), 0.5),
        ):
            pass
        assert held_workers(own, client.nthreads()) == set(held)


def test_workers_that_are_lost_before_the_start_are_chosen_again(client, monkeypatch):
    """What was to be held is given back, and another choice is made."""
    tries, equip = [], workers.equip_workers

    def lost_at_first(own, chosen):
        tries.append(sorted(held_workers(own, client.nthreads())))
        return len(tries) > 1 and equip(own, chosen)

    monkeypatch.setattr(workers, "equip_workers", lost_at_first)
    with connect(client, workers=1, timeout=20) as own:
        with hold_workers(own, (2, 2), 20) as held:
            assert tries == [held, held]
        assert not held_workers(own, client.nthreads())


def test_an_adaptive_cluster_grows_from_nothing_and_not_beyond_what_it_may():
    with (
        distributed.LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        with pytest.raises(NotEnoughWorkers, match=r"cluster has 0 after .*adaptive one was asked"):
            gang(client, lambda comm: comm.rank, 1, timeout=0.5)
        cluster.adapt(minimum=0, maximum=2, interval="200ms")
        assert gang(client, lambda comm: comm.rank, 2, timeout=patient(30)) == [0, 1]
        with pytest.raises(NotEnoughWorkers, match=r"3 ranks need 3 workers"):
            gang(client, lambda comm: comm.rank, 3, timeout=2)
        # Nothing is left that would ask for more.
        assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.unrunnable)) == 0


def test_the_wish_is_one_of_so_many_threads(client):
    """What an adaptive cluster would make of it, as the scheduler itself says."""
    target = lambda dask_scheduler: dask_scheduler.adaptive_target()  # noqa: E731
    with connect(client, workers=1, timeout=20) as own:
        assert client.run_on_scheduler(target) <= 3
        with workers._wish(own) as wish:
            for wanted in (4, 7):
                wish(wanted, client.nthreads().values())
                deadline = time.monotonic() + patient(10)
                while client.run_on_scheduler(target) != wanted:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)


def test_who_waits_gets_its_workers_as_soon_as_they_are_given_back(client):
    release = threading.Event()

    def hold():
        with connect(client, workers=1, timeout=20) as own, hold_workers(own, (3, 3), 20):
            held.set()
            release.wait(patient(20))

    held = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(patient(20))
    threading.Timer(1.0, release.set).start()
    assert gang(client, lambda comm: comm.rank, 2, timeout=patient(20)) == [0, 1]
    thread.join(patient(20))
