"""Whatever the strategy: a training that goes on from a checkpoint is the one without a break."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, schedules
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    PowerSGD,
    SyncSGD,
    TopK,
    VirtualShards,
    ZeRO1,
    train,
)
from course_lib.parallel.errors import CheckpointMismatch
from tests.parallel.sessions import NET, NOISY, X, Y, start

STRATEGIES = [
    LocalSGD(4),
    AsyncParameterServer(0),
    Compressed(TopK(0.1)),
    Compressed(Int8(), error_feedback=False),
    Compressed(PowerSGD(2)),
    ZeRO1(),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@pytest.mark.parametrize(
    "optimizer", [SGD(schedules.cosine(0.1, 18), momentum=0.5), Adam(0.01)], ids=["sgd", "adam"]
)
def test_every_checkpoint_leads_to_the_same_end_to_the_bit(strategy, optimizer, tmp_path):
    # Two ranks: then the server has one worker, whose gradients come in one order only.
    workers = 2 if isinstance(strategy, AsyncParameterServer) else 3
    options = {
        "optimizer": optimizer, "strategy": strategy, "workers": workers, "epochs": 3,
        "batch_size": 10, "seed": 5, "theta": start(NOISY), "validation": (X[:11], Y[:11]),
        "comm": "inprocess",
    }  # fmt: skip
    whole = train(NOISY, (X, Y), **options)
    saved = train(NOISY, (X, Y), checkpoint=tmp_path / "a", every=5, keep=9, **options)
    assert saved.digests == whole.digests  # to save changes nothing
    points = sorted((tmp_path / "a").glob("*.json"))
    assert len(points) >= 3  # after 5, 10 and 15 of 18 steps: all within an epoch
    for i, point in enumerate(points):
        again = train(NOISY, (X, Y), checkpoint=tmp_path / f"b{i}", resume=point, **options)
        assert again.digests == whole.digests
        assert again.history == whole.history


@pytest.mark.parametrize("strategy", [SyncSGD(), VirtualShards(4), *STRATEGIES], ids=repr)
def test_the_best_epoch_survives_a_break_to_the_bit(strategy, tmp_path):
    workers = 2 if isinstance(strategy, AsyncParameterServer) else 3
    options = {
        "optimizer": Adam(0.05), "strategy": strategy, "workers": workers, "epochs": 6,
        "batch_size": 10, "seed": 5, "theta": start(NET), "validation": (X[:11], Y[:11] * 0),
        "comm": "inprocess", "keep_best": "val_loss", "checkpoint": tmp_path, "keep": 99,
    }  # fmt: skip
    whole = train(NET, (X, Y), every=5, **options)
    best = int(np.argmin(whole.history["val_loss"]))
    assert best < 4  # or no checkpoint would lie behind it
    point = next(p for p in tmp_path.glob("*.json") if int(p.stem[5:]) > 6 * (best + 1))
    again = train(NET, (X, Y), **options | {"resume": point, "checkpoint": tmp_path / "again"})
    last = train(NET, (X, Y), **options | {"checkpoint": tmp_path / "new", "epochs": best + 1})
    for result in (again, last):
        assert np.array_equal(result.theta, whole.theta)
        assert all(np.array_equal(result.state[k], v) for k, v in whole.state.items())
    with pytest.raises(CheckpointMismatch, match=r"best epoch is by val_loss.* here it is by loss"):
        train(NET, (X, Y), **options | {"keep_best": "loss"})


def test_an_asynchronous_training_goes_on_from_a_checkpoint(tmp_path):
    """Its bits depend on the order of arrival, but no update is lost or made twice."""
    options = {
        "optimizer": SGD(0.1), "strategy": AsyncParameterServer(2), "workers": 4, "epochs": 3,
        "batch_size": 10, "seed": 5, "comm": "inprocess", "theta": start(NET),
    }  # fmt: skip
    whole = train(NET, (X, Y), checkpoint=tmp_path, every=4, keep=9, **options)
    again = train(NET, (X, Y), resume=min(tmp_path.glob("*.json")), **options)
    assert again.state["t"] == whole.state["t"] == 18 * 3
    np.testing.assert_allclose(again.history["loss"], whole.history["loss"], rtol=0.05)
