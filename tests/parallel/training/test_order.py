"""Rows as they come, where they are not shuffled: everywhere the same."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, fit
from course_lib.data import batches
from course_lib.parallel import BlockShuffle, InBlocks, SyncSGD, train
from course_lib.parallel.errors import CheckpointMismatch
from tests.parallel.sessions import NET, NOISY, X, Y
from tests.parallel.strategies.test_every_optimizer import SERIAL

OPTIMIZER = SGD(0.5, momentum=0.9)
THETA = NET.init(np.random.default_rng(5))
HOW = {"epochs": 2, "batch_size": 10, "seed": 5, "shuffle": False}


def test_batches_are_pieces_of_the_rows_in_their_order():
    for epoch in (0, 3):
        parts = list(batches(23, 10, seed=1, epoch=epoch, shuffle=False))
        assert [part.tolist() for part in parts] == [
            list(range(10)), list(range(10, 20)), [20, 21, 22],
        ]  # fmt: skip


def test_a_training_by_hand():
    found = fit(NET, THETA, SGD(0.1), X, Y, **(HOW | {"epochs": 1}))
    theta = THETA
    for start in range(0, len(X), 10):
        rows = slice(start, start + 10)
        theta = theta - 0.1 * NET.loss_and_grad(theta, X[rows], Y[rows])[1]
    np.testing.assert_allclose(found.theta, theta, rtol=0, atol=1e-14)


@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_every_strategy_is_the_serial_run(strategy):
    for net in (NET, NOISY):
        theta = net.init(np.random.default_rng(5))
        serial = fit(net, theta, OPTIMIZER, X, Y, **HOW)
        found = train(
            net, (X, Y), optimizer=OPTIMIZER, strategy=strategy, workers=SERIAL[strategy],
            comm="inprocess", theta=theta, **HOW,
        )  # fmt: skip
        np.testing.assert_allclose(found.theta, serial.theta, rtol=0, atol=1e-12)


def test_pytorch_is_the_serial_run():
    pytest.importorskip("torch")
    from course_lib.torch_mlp import fit_torch, to_torch

    ours = fit(NET, THETA, OPTIMIZER, X, Y, **HOW)
    theirs = fit_torch(to_torch(NET, THETA), OPTIMIZER, X, Y, device="cpu", **HOW)
    np.testing.assert_allclose(theirs.theta, ours.theta, rtol=0, atol=1e-10)


def test_the_order_belongs_to_a_training_and_blocks_are_not_shuffled_either(tmp_path):
    options = {"optimizer": OPTIMIZER, "workers": 2, "comm": "inprocess", "theta": THETA} | HOW
    whole = train(NET, (X, Y), **options)
    train(NET, (X, Y), checkpoint=tmp_path, **(options | {"epochs": 1}))
    with pytest.raises(CheckpointMismatch, match="its order of rows is as they come, and here it"):
        train(NET, (X, Y), checkpoint=tmp_path, **(options | {"shuffle": True}))
    assert train(NET, (X, Y), checkpoint=tmp_path, **options).digests == whole.digests
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    blocks = InBlocks((tmp_path / "x.npy", tmp_path / "y.npy"), BlockShuffle(rows=5, window=2))
    assert train(NET, blocks, strategy=SyncSGD(), **options).digests == whole.digests
