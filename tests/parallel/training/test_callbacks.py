"""What is called after each epoch sees what the serial training has then, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, fit
from course_lib.parallel import SyncSGD, train
from course_lib.parallel.errors import RankFailed
from tests.parallel.sessions import NET, X, Y
from tests.parallel.strategies.test_every_optimizer import SERIAL

THETA = NET.init(np.random.default_rng(5))
HOW = {"optimizer": SGD(0.2, momentum=0.9), "epochs": 3, "batch_size": 7, "seed": 5}


def trained(strategy, workers, **options):
    inside = {"comm": "inprocess", "theta": THETA, "validation": (X, Y)}
    return train(NET, (X, Y), strategy=strategy, workers=workers, **inside | HOW | options)


@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_each_epoch_is_that_of_the_serial_training(strategy):
    serial, found = [], []
    how = dict(HOW)
    fit(NET, THETA, how.pop("optimizer"), X, Y, validation=(X, Y), callbacks=[serial.append], **how)
    # Rank 0 is a thread of this process.
    whole = trained(strategy, SERIAL[strategy], callbacks=[found.append])
    assert [e.epoch for e in found] == [e.epoch for e in serial] == [0, 1, 2]
    for ours, theirs in zip(found, serial, strict=True):
        np.testing.assert_allclose(ours.theta, theirs.theta, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours.state["v"], theirs.state["v"], rtol=0, atol=1e-12)
        assert ours.state["t"] == theirs.state["t"]
    assert found[-1].theta.tobytes() == whole.theta.tobytes()
    assert [len(e.history["val_loss"]) for e in found] == [1, 2, 3]
    assert found[-1].history == whole.history


@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_what_a_callback_does_to_what_it_sees_changes_nothing(strategy):
    def spoil(epoch):
        epoch.theta[:] = np.nan
        epoch.state["v"][:] = np.nan
        epoch.history.clear()

    workers = SERIAL[strategy]
    spoiled = trained(strategy, workers, callbacks=[spoil])
    assert spoiled.digests == trained(strategy, workers).digests
    assert len(spoiled.history["loss"]) == 3


def test_only_one_rank_calls_in_the_order_given_and_from_the_middle_on(tmp_path):
    seen = []
    calls = [lambda epoch: seen.append(("a", epoch.epoch)), lambda epoch: seen.append("b")]
    trained(SyncSGD(), 3, epochs=2, checkpoint=tmp_path)
    trained(SyncSGD(), 3, checkpoint=tmp_path, callbacks=calls)
    assert seen == [("a", 2), "b"]


def test_an_exception_is_that_of_the_run():
    def fail(epoch):
        raise KeyError("the cat")

    with pytest.raises(RankFailed, match="rank 0 failed in step 7: KeyError: 'the cat'") as refused:
        trained(SyncSGD(), 2, callbacks=[fail], timeout=20)
    assert isinstance(refused.value.__cause__, KeyError)


@pytest.mark.parametrize("callbacks", [3, [3], [lambda: None]])
def test_what_cannot_be_called_is_refused_before_a_rank_starts(callbacks):
    with pytest.raises(TypeError, match="train: .*callbacks"):
        trained(SyncSGD(), 2, callbacks=callbacks)
