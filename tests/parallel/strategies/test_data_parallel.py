"""The sum of the ranks' gradients is the gradient of the batch; the mean of their means is not."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.parallel import SyncSGD, shard, train
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads
from tests.parallel.sessions import run

RNG = np.random.default_rng(3)
NET = mlp([4, 6, 3], hidden="tanh")
THETA = RNG.normal(size=NET.n_params)  # biases are not zero
X, Y = RNG.normal(size=(10, 4)), RNG.integers(0, 3, 10)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("n", range(0, 20))
def test_shards_are_cut_as_array_split_cuts(n, size):
    rows = np.arange(n)
    cut = [rows[shard(n, rank, size)].tolist() for rank in range(size)]
    assert cut == [part.tolist() for part in np.array_split(rows, size)]


@pytest.mark.parametrize("algorithm", ["ordered", "tree"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 12])  # 12 ranks, 10 rows: two have nothing to do
def test_a_step_on_p_ranks_is_the_serial_step(size, algorithm):
    """One step of plain SGD with learning rate 1: theta - new theta is the gradient."""
    loss, expected = NET.loss_and_grad(THETA, X, Y)
    result = train(
        NET, (X, Y), theta=THETA, optimizer=SGD(1.0), epochs=1, batch_size=len(X),
        strategy=SyncSGD(algorithm), workers=size, comm="inprocess",
    )  # fmt: skip
    # Sums of 10 rows, taken in another order: a few roundings.
    assert result.history["loss"] == [pytest.approx(loss, rel=1e-14)]
    np.testing.assert_allclose(THETA - result.theta, expected, rtol=0, atol=1e-14)
    assert len(result.digests) == size and result.replicas_identical


def test_the_mean_of_means_is_wrong_when_shards_differ_in_size():
    """The most frequent bug of the field: each rank divides by its own number of rows."""

    def naive(comm):
        part = shard(len(X), comm.rank, comm.size)
        _, gradient = NET.loss_and_grad(THETA, X[part], Y[part])
        return all_reduce(comm, gradient) / comm.size

    _, expected = NET.loss_and_grad(THETA, X, Y)
    even, uneven = run_threads(2, naive)[0], run_threads(3, naive)[0]
    np.testing.assert_allclose(even, expected, rtol=0, atol=1e-14)  # 5 + 5 rows: by luck
    assert np.linalg.norm(uneven - expected) > 0.01 * np.linalg.norm(expected)  # 4 + 3 + 3


def test_a_step_uses_only_the_rows_asked_for_in_their_order():
    rows = np.array([7, 2, 2, 5])
    _, expected = NET.loss_and_grad(THETA, X[rows], Y[rows])
    data = {"net": NET, "x": X, "y": Y, "theta": THETA}
    for part in run(SyncSGD("ordered"), 3, SGD(1.0), rows=rows, last=1, **data):
        np.testing.assert_allclose(THETA - part.theta, expected, rtol=0, atol=1e-14)


def test_unknown_algorithms_are_refused_when_the_strategy_is_made():
    with pytest.raises(ValueError, match=r"unknown all_reduce algorithm 'rink'"):
        SyncSGD("rink")
