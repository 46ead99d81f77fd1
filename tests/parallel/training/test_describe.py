"""What tells one training from another, such as any part of its data; and where it is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.parallel.strategies import Job, Progress, SyncSGD
from course_lib.parallel.training.prepare import make_job
from course_lib.parallel.training.recovery import describe, saving

# More rows than go into the digest.
N = 10_000
NET = mlp([2, 3])


def job_of(x, y):
    return Job(
        net=NET, optimizer=SGD(0.1), theta=np.zeros(NET.n_params), x=x, y=y, batch_size=10,
        strategy=SyncSGD(),
    )  # fmt: skip


def data_of(x, y):
    return describe(job_of(x, y))["training data"]


X, Y = np.random.default_rng(0).normal(size=(N, 2)), np.arange(N) % 3


@pytest.mark.parametrize("part", [slice(0, 100), slice(5000, 5100), slice(N - 100, N)])
def test_other_numbers_anywhere_are_other_data(part):
    x, y = X.copy(), Y.copy()
    x[part] += 1e-9
    y[part] = (y[part] + 1) % 3
    assert data_of(X.copy(), Y.copy()) == data_of(X, Y)
    assert len({data_of(X, Y), data_of(x, Y), data_of(X, y)}) == 3


def test_so_are_other_types_and_shapes_with_the_same_bytes():
    as_floats = Y.view(np.float64)
    assert len({data_of(X, Y), data_of(X, as_floats), data_of(X.reshape(-1, 1), Y)}) == 3


def test_a_job_says_and_saves_nothing_and_begins_at_the_beginning_unless_asked():
    job = job_of(X, Y)
    assert (job.report, job.saving, job.epochs, job.seed, job.backend) == (
        False,
        None,
        1,
        0,
        "numpy",
    )
    assert job.progress == Progress(epoch=0, step=0, taken=0, losses=[], history={})


def test_data_and_theta_are_handed_on_and_copied_only_for_another_precision():
    x, y, theta = X.copy(), Y.copy(), NET.init(np.random.default_rng(0))
    settings = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 10, "strategy": "sync", "seed": 0}
    settings |= dict.fromkeys(("virtual_shards", "validation", "saving"))
    job = make_job(NET, (x, y), theta, backend="numpy", workers=(1, 1), **settings)
    for found, given in ((job.x, x), (job.y, y), (job.theta, theta)):
        assert np.shares_memory(found, given)
    job = make_job(NET, (x, y), theta.astype("f4"), backend="numpy", workers=(1, 1), **settings)
    assert (job.x.dtype, job.theta.dtype) == (np.float32, np.float32)


def test_workers_find_the_directory_from_wherever_they_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = saving("runs/one", 5, 2)
    assert Path(found.directory) == tmp_path / "runs" / "one"
    assert (found.every, found.keep) == (5, 2)
    assert saving(None, None, 3) is None
