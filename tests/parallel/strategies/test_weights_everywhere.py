"""Every strategy weighs rows as the serial run does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from course_lib import SGD, Dropout, Network, fit
from course_lib.losses import Loss
from course_lib.parallel import LocalSGD, Strategy, SyncSGD, VirtualShards, train
from course_lib.parallel.errors import CheckpointMismatch
from tests.parallel.sessions import NET, X, Y
from tests.parallel.strategies.test_every_optimizer import SERIAL

OPTIMIZER = SGD(0.5, momentum=0.9)
THETA = NET.init(np.random.default_rng(5))
HOW = {"epochs": 2, "batch_size": 7, "seed": 5, "validation": (X[:11], Y[:11])}
# A third of the rows do not count; some pieces of batches have none that does.
RNG = np.random.default_rng(9)
WEIGHTS = RNG.random(len(X)) * (RNG.random(len(X)) < 0.67)


def trained(strategy, workers, net=NET, theta=THETA, **options):
    options = {"optimizer": OPTIMIZER, "weights": WEIGHTS} | HOW | options
    return train(
        net, (X, Y), strategy=strategy, workers=workers, comm="inprocess", theta=theta, **options
    )


@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_it_is_the_serial_run(strategy):
    serial = fit(NET, THETA, OPTIMIZER, X, Y, weights=WEIGHTS, **HOW)
    plain = fit(NET, THETA, OPTIMIZER, X, Y, **HOW)
    assert np.abs(serial.theta - plain.theta).max() > 0.1  # it makes a difference
    found = trained(strategy, SERIAL[strategy])
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)
    assert found.replicas_identical
    assert found.history.keys() == serial.history.keys()
    for name, values in serial.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-11)


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_bits_do_not_depend_on_the_workers(workers):
    found = trained(VirtualShards(4), workers)
    assert found.digests[0] == trained(VirtualShards(4), 1).digests[0]


def test_ranks_that_step_alone_count_in_the_mean_as_their_rows_do():
    """Averaged after each step, plain descent is the serial run, whoever has which rows."""
    serial = fit(NET, THETA, SGD(0.5), X, Y, weights=WEIGHTS, **HOW)
    found = trained(LocalSGD(1), 4, optimizer=SGD(0.5))
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.history["loss"], serial.history["loss"], rtol=1e-11)
    only = np.zeros(len(X))
    only[3] = 1.0  # whole rounds in which no row counts
    serial = fit(NET, THETA, SGD(0.5), X, Y, weights=only, **HOW)
    found = trained(LocalSGD(1), 4, optimizer=SGD(0.5), weights=only)
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", [SyncSGD(), LocalSGD(4)], ids=repr)
def test_it_goes_on_to_the_bit_and_other_weights_are_another_training(strategy, tmp_path):
    trained(strategy, 3, checkpoint=tmp_path, every=5, epochs=1)
    for weights in (None, WEIGHTS + 0.1):
        with pytest.raises(CheckpointMismatch, match="its weights"):
            trained(strategy, 3, checkpoint=tmp_path, weights=weights)
    again = trained(strategy, 3, checkpoint=tmp_path)  # from step 5 of 8: within an epoch
    whole = trained(strategy, 3)
    assert again.digests == whole.digests
    assert again.history == whole.history


def test_dropout_and_pytorch():
    net = Network([*NET.layers[:2], Dropout(0.3), *NET.layers[2:]], NET.loss)
    theta = net.init(np.random.default_rng(1))
    serial = fit(net, theta, OPTIMIZER, X, Y, weights=WEIGHTS, **HOW)
    found = trained(SyncSGD(), 3, net, theta)
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)
    pytest.importorskip("torch")
    plain = fit(NET, THETA, OPTIMIZER, X, Y, weights=WEIGHTS, **HOW)
    found = trained(SyncSGD(), 2, backend="torch")
    np.testing.assert_allclose(found.theta, plain.theta, rtol=0, atol=1e-10)


def test_what_does_not_weigh_is_refused():
    @dataclass(frozen=True)
    class Own(Strategy):
        def start(self, comm, job, clock):
            return SyncSGD().start(comm, job, clock)

    with pytest.raises(ValueError, match="does not say that it weighs.*weighs = True"):
        trained(Own(), 2)
    assert trained(Own(), 2, weights=None).replicas_identical
    sums_only = Network(NET.layers, Loss("own", NET.loss.f, "labels"))
    with pytest.raises(TypeError, match="train: weights need the loss of each row, and own gives"):
        trained(SyncSGD(), 2, sums_only)
