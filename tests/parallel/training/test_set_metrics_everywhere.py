"""What is no mean over rows is measured on all of them, whichever rank has which."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, fit
from course_lib.parallel import LocalSGD, SyncSGD, VirtualShards, train
from course_lib.parallel.errors import CheckpointMismatch, RankFailed
from tests.parallel.sessions import NET, X, Y
from tests.parallel.strategies.test_every_optimizer import SERIAL

OPTIMIZER = SGD(0.5, momentum=0.9)
THETA = NET.init(np.random.default_rng(5))
HELD = X[:5], Y[:5]  # fewer rows than some have ranks
CALLS: list[tuple[np.ndarray, np.ndarray]] = []


def spread(outputs, targets):
    """No mean over rows, and another number in another order."""
    CALLS.append((outputs.copy(), targets.copy()))
    return np.ptp(outputs) + np.sum(np.arange(len(targets)) * targets)


HOW = {"epochs": 3, "batch_size": 7, "seed": 5, "validation": HELD}
HOW |= {"set_metrics": {"spread": spread}}


def trained(strategy, workers, **options):
    options = {"optimizer": OPTIMIZER} | HOW | options
    return train(
        NET, (X, Y), strategy=strategy, workers=workers, comm="inprocess", theta=THETA, **options
    )


@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_it_is_what_the_serial_run_measures(strategy):
    serial = fit(NET, THETA, OPTIMIZER, X, Y, **HOW)
    CALLS.clear()
    found = trained(strategy, SERIAL[strategy])
    assert len(CALLS) == 3  # on one rank, once per epoch
    assert all(targets.tolist() == Y[:5].tolist() for _, targets in CALLS)
    assert list(found.history) == list(serial.history)
    np.testing.assert_allclose(found.history["val_spread"], serial.history["val_spread"], rtol=1e-9)
    without = trained(strategy, SERIAL[strategy], set_metrics=None)
    assert without.digests == found.digests
    assert without.history == {k: v for k, v in found.history.items() if k != "val_spread"}


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_bits_do_not_depend_on_the_workers(workers):
    assert trained(VirtualShards(4), workers).history == trained(VirtualShards(4), 1).history


@pytest.mark.parametrize("strategy", [SyncSGD(), LocalSGD(2)], ids=repr)
def test_the_best_by_a_metric_is_kept_also_after_going_on(strategy, tmp_path):
    options = {"keep_best": "val_spread", "better": "lower", "epochs": 4}
    whole = trained(strategy, 3, **options)
    curve = whole.history["val_spread"]
    assert min(curve) < curve[-1]
    trained(strategy, 3, checkpoint=tmp_path, **(options | {"epochs": 2}))
    again = trained(strategy, 3, checkpoint=tmp_path, **options)
    assert again.theta.tobytes() == whole.theta.tobytes()
    assert again.history == whole.history
    for change, told in (
        ({"better": "higher"}, "its best epoch is"),
        ({"set_metrics": {"spread": lambda o, t: 1.0}}, "its set metric spread is"),
        ({"keep_best": "val_loss", "better": None, "set_metrics": None}, "its best epoch is"),
    ):
        with pytest.raises(CheckpointMismatch, match=told):
            trained(strategy, 3, checkpoint=tmp_path, **(options | change))


def test_one_that_is_left_out_is_another_training(tmp_path):
    trained(SyncSGD(), 2, checkpoint=tmp_path, epochs=1)
    with pytest.raises(
        CheckpointMismatch, match="its set metric spread is .*, and here it is none"
    ):
        trained(SyncSGD(), 2, checkpoint=tmp_path, set_metrics=None)


def test_held_out_rows_may_lie_in_files(tmp_path):
    np.save(tmp_path / "x.npy", X[:11])
    np.save(tmp_path / "y.npy", Y[:11])
    there = trained(SyncSGD(), 2, validation=(tmp_path / "x.npy", tmp_path / "y.npy"))
    assert there.history == trained(SyncSGD(), 2, validation=(X[:11], Y[:11])).history


def test_one_that_fails_or_gives_no_number_ends_the_training():
    def broken(outputs, targets):
        raise KeyError("no such class")

    with pytest.raises(RankFailed, match="rank 0 .*KeyError: 'no such class'"):
        trained(SyncSGD(), 3, set_metrics={"broken": broken})
    with pytest.raises(RankFailed, match=r"set_metrics\['all'\] must return one number"):
        trained(SyncSGD(), 3, set_metrics={"all": lambda outputs, targets: outputs})
    with pytest.raises(ValueError, match="train: set_metrics judges held-out rows"):
        trained(SyncSGD(), 3, validation=None)
    unknown = trained(SyncSGD(), 2, set_metrics={"none": lambda o, t: float("nan")})
    assert np.isnan(unknown.history["val_none"]).all()
