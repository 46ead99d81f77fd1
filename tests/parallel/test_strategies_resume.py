"""Whatever the strategy: a training that goes on from a checkpoint is the one without a break."""

from __future__ import annotations

import numpy as np
import pytest
from sessions import NET, NOISY, X, Y, start

from course_lib import SGD, Adam, schedules
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    PowerSGD,
    TopK,
    ZeRO1,
    train,
)

pytestmark = pytest.mark.timeout(120)

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
