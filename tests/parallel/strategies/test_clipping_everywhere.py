"""Every strategy clips by the norm of the whole gradient, also where no rank has the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from course_lib import SGD, Dropout, Network, fit, mlp
from course_lib.parallel import (
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    PowerSGD,
    Strategy,
    SyncSGD,
    TopK,
    VirtualShards,
    ZeRO1,
    train,
)
from course_lib.parallel.errors import CheckpointMismatch
from tests.parallel.sessions import NET, X, Y
from tests.parallel.strategies.test_every_optimizer import SERIAL

OPTIMIZER = SGD(0.5, momentum=0.9)
CLIP = 0.1  # of every gradient here something is cut off
THETA = NET.init(np.random.default_rng(5))
HOW = {"epochs": 2, "batch_size": 7, "seed": 5}


def trained(strategy, workers, net=NET, theta=THETA, **options):
    options = {"optimizer": OPTIMIZER, "clip": CLIP} | HOW | options
    return train(
        net, (X, Y), strategy=strategy, workers=workers, comm="inprocess", theta=theta, **options
    )


@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_it_is_the_serial_run(strategy):
    serial = fit(NET, THETA, OPTIMIZER, X, Y, clip=CLIP, **HOW)
    free = fit(NET, THETA, OPTIMIZER, X, Y, **HOW)
    assert np.abs(serial.theta - free.theta).max() > 0.1  # it makes a difference
    found = trained(strategy, SERIAL[strategy])
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)
    assert found.replicas_identical


def test_what_a_codec_lets_through_is_clipped():
    serial = fit(NET, THETA, OPTIMIZER, X, Y, clip=CLIP, **HOW)
    all_of_it = trained(Compressed(TopK(1.0)), 3)
    np.testing.assert_allclose(all_of_it.theta, serial.theta, rtol=0, atol=1e-12)
    for codec in (Int8(), TopK(0.3), PowerSGD(1)):
        free, loose, tight = (
            trained(Compressed(codec), 2, clip=clip, epochs=1, batch_size=len(X))
            for clip in (None, 1e9, 0.01)
        )
        assert free.digests == loose.digests
        step = np.linalg.norm(tight.theta - THETA)  # one step of SGD: rate times gradient
        assert step == pytest.approx(OPTIMIZER.lr * 0.01, rel=2e-4)  # 1e-6 beside 0.01


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_norm_is_the_same_however_the_gradient_is_cut(workers):
    """So what has the bits of another run without clipping has them with it."""
    whole = trained(SyncSGD("ordered"), workers)
    assert trained(ZeRO1("ordered"), workers).digests[0] == whole.digests[0]
    shards = trained(VirtualShards(4), workers)
    assert shards.digests[0] == trained(VirtualShards(4), 1).digests[0]


@pytest.mark.parametrize("axes", [(1, 1, 2), (1, 3, 1), (1, 2, 2), (2, 2, 2), (2, 1, 2)])
def test_parameters_that_several_ranks_have_count_once(axes):
    """The biases after a sum over the tensor axis are on each of its ranks."""
    net = mlp([X.shape[1], 6, 5, 4, 3], hidden="tanh")
    theta = net.init(np.random.default_rng(1))
    serial = fit(net, theta, OPTIMIZER, X, Y, clip=CLIP, **HOW)
    found = trained(Mesh(*axes, micro_batches=2), int(np.prod(axes)), net, theta)
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)


def test_ranks_that_step_alone_clip_their_own():
    """By hand: two ranks, one step each on its own half, then the mean."""
    found = trained(LocalSGD(1), 2, epochs=1, batch_size=len(X))
    order = np.random.default_rng([5, 0]).permutation(len(X))
    own = []
    for rows in np.array_split(order, 2):
        gradient = NET.loss_and_grad(THETA, X[rows], Y[rows])[1]
        norm = float(np.linalg.norm(gradient))
        assert norm > CLIP
        own.append(THETA - 0.5 * gradient * CLIP / (norm + 1e-6))
    weights = [len(rows) / len(X) for rows in np.array_split(order, 2)]
    np.testing.assert_allclose(found.theta, np.average(own, 0, weights), rtol=0, atol=1e-12)


def test_dropout_and_pytorch():
    net = Network([*NET.layers[:2], Dropout(0.3), *NET.layers[2:]], NET.loss)
    theta = net.init(np.random.default_rng(1))
    serial = fit(net, theta, OPTIMIZER, X, Y, clip=CLIP, **HOW)
    found = trained(SyncSGD(), 3, net, theta)
    np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)
    pytest.importorskip("torch")
    plain = fit(NET, THETA, OPTIMIZER, X, Y, clip=CLIP, **HOW)
    found = trained(SyncSGD(), 2, backend="torch")
    np.testing.assert_allclose(found.theta, plain.theta, rtol=0, atol=1e-10)


def test_another_limit_is_another_training(tmp_path):
    trained(SyncSGD(), 2, checkpoint=tmp_path)
    for clip, told in (
        (0.2, "its clip is 0.1, and here it is 0.2"),
        (None, "its clip is 0.1, and here it is none"),
    ):
        with pytest.raises(CheckpointMismatch, match=told):
            trained(SyncSGD(), 2, checkpoint=tmp_path, clip=clip, epochs=3)
    whole = trained(SyncSGD(), 2, epochs=3)
    assert trained(SyncSGD(), 2, checkpoint=tmp_path, epochs=3).digests == whole.digests


def test_a_strategy_that_does_not_say_that_it_clips_is_refused():
    @dataclass(frozen=True)
    class Own(Strategy):
        def start(self, comm, job, clock):
            return SyncSGD().start(comm, job, clock)

    with pytest.raises(ValueError, match="does not say that it clips.*clips = True"):
        trained(Own(), 2)
    assert trained(Own(), 2, clip=None).replicas_identical
