"""What the tests of the parallel part share: one small Dask cluster, and processes that start fast.

Starting them is most of the time that these tests take.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``-k "not starts_a_cluster"`` leave out the tests that take long, as mutants need it."""
    if {"client", "by_hand"} & set(getattr(item, "fixturenames", ())):
        item.extra_keyword_matches.add("starts_a_cluster")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Three Dask workers, processes of one thread; one that is killed is started again."""
    distributed = pytest.importorskip("distributed")
    import dask

    with ExitStack() as stack:
        # Dask gives a lost worker up if the next one of its name is missing 15 s later.
        stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}))
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=3,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        )
        yield stack.enter_context(distributed.Client(cluster, set_as_default=False))


@pytest.fixture(autouse=True)
def _complete(request: pytest.FixtureRequest) -> None:
    """Begin with all workers of the cluster, whatever the test before has done to them."""
    if "client" in request.fixturenames:
        request.getfixturevalue("client").wait_for_workers(3, timeout=60)


@pytest.fixture
def quick_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``run_processes`` start ranks as copies of a process that has imported what they need.

    They are new processes all the same. Tests without this fixture start theirs as users do.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        names = (
            "pytest",
            "cloudpickle",
            "course_lib.parallel.channels.shared_memory",
            "torch.distributed",
        )
        found = [n for n in names if importlib.util.find_spec(n.partition(".")[0])]
        context.set_forkserver_preload([*found, "course_lib.parallel.launch.processes"])
        monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)
