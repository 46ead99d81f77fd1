"""Ranks run on the workers that they may run on, and on no other."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("distributed")

from course_lib import SGD, mlp
from course_lib.parallel import train
from course_lib.parallel.errors import NotEnoughWorkers

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
WHAT = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 5, "timeout": 20}


@pytest.fixture
def labelled(client):
    """Two of the three workers have GPUs, so they say; where each worker's process is."""
    addresses = sorted(client.nthreads())

    async def label(gpus, dask_worker):
        await dask_worker.set_resources(GPU=gpus)

    for address, gpus in zip(addresses, (2, 0, 1), strict=True):
        client.run(label, gpus, workers=[address])
    yield addresses
    client.run(label, 0, workers=list(client.nthreads()))


def notes(folder):
    """A callback and a stop that leave a file named as the process that each rank is."""

    def stop(history):
        (folder / str(os.getpid())).touch()
        return False

    return stop


def ran_on(client, folder):
    processes = {address: str(pid) for address, pid in client.run(os.getpid).items()}
    there = {path.name for path in folder.iterdir()}
    return sorted(address for address, pid in processes.items() if pid in there)


@pytest.mark.parametrize(
    ("among", "places"),
    [({"GPU": 1}, [0, 2]), ({"GPU": 2}, [0]), ([2, 1], [1, 2]), ([1], [1])],
)
def test_a_training_runs_where_it_may(client, labelled, tmp_path, among, places):
    if isinstance(among, list):
        among = [labelled[place] for place in among]
    result = train(
        mlp([3, 2]), (X, Y), workers=len(places), client=client, among=among,
        stop=notes(tmp_path), **WHAT,
    )  # fmt: skip
    assert result.replicas_identical
    assert ran_on(client, tmp_path) == [labelled[place] for place in places]


def test_pytorch_too(client, labelled):
    pytest.importorskip("torch")
    from course_lib.parallel import torch_ddp

    pids = torch_ddp.run(
        lambda ctx: os.getpid(), workers=2, client=client, among={"GPU": 1}, device="cpu"
    )
    there = client.run(os.getpid, workers=[labelled[0], labelled[2]])
    assert sorted(pids) == sorted(there.values())


def test_too_few_are_counted(client, labelled):
    with pytest.raises(NotEnoughWorkers, match=r"has 2 of those with \{'GPU': 1.*\} after"):
        train(
            mlp([3, 2]), (X, Y), workers=3, client=client, among={"GPU": 1},
            **(WHAT | {"timeout": 1}),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("among", "told"),
    [
        ("tcp://10.0.0.1:1", "among must be addresses of workers, or resources such as"),
        ([], "among must be addresses"),
        ([3], "among must be addresses"),
        (3, "among must be"),
        ({"GPU": "one"}, r"among\['GPU'\] must be a finite number > 0"),
        ({"GPU": -1}, r"among\['GPU'\] must be a finite number > 0"),
    ],
)
def test_what_means_nothing_is_refused(client, among, told):
    with pytest.raises((TypeError, ValueError), match="train: " + told):
        train(mlp([3, 2]), (X, Y), client=client, among=among, **WHAT)


def test_without_a_cluster_there_is_nothing_to_choose_from():
    with pytest.raises(ValueError, match="train: among= chooses among the workers of a cluster"):
        train(mlp([3, 2]), (X, Y), comm="inprocess", among=["tcp://10.0.0.1:1"], **WHAT)
