"""The equations of the chapter on data parallelism, as printed, against the package."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, fit, mlp
from course_lib.gradcheck import numerical_gradient, relative_error
from course_lib.parallel import shard, train
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads

SIZES = [1, 2, 3, 5, 9]  # 9 ranks for 7 rows: two of them have none


@pytest.fixture
def case():
    """Give a network 4-6-3 with biases that are not zero, and a batch of seven rows."""
    rng = np.random.default_rng(3)
    net = mlp([4, 6, 3], hidden="tanh")
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    return net, theta, rng.normal(size=(7, 4)), rng.integers(3, size=7)


def _row_loss(net, theta, x, y, i):
    """Return the loss of row i, from the logits alone."""
    z = net.forward(theta, x[i : i + 1])[0][0]
    return np.log(np.sum(np.exp(z))) - z[y[i]]


@pytest.mark.equation("eq-data-parallel-split")
@pytest.mark.parametrize("p", SIZES)
def test_the_loss_of_a_batch_is_the_sum_of_the_losses_of_its_shards(case, p):
    net, theta, x, y = case
    row = [_row_loss(net, theta, x, y, i) for i in range(7)]
    shards = [list(range(7))[shard(7, r, p)] for r in range(p)]
    parts = [net.loss_and_grad(theta, x[s], y[s], denominator=7)[0] for s in shards]
    assert parts == pytest.approx([sum(row[i] for i in s) / 7 for s in shards], rel=1e-12)
    assert sum(parts) == pytest.approx(sum(row) / 7, rel=1e-12)


@pytest.mark.equation("eq-data-parallel-gradient")
@pytest.mark.parametrize("p", SIZES)
def test_the_gradients_of_the_shards_add_up_to_the_gradient_of_the_mean_loss(case, p):
    net, theta, x, y = case
    # Central differences: 1e-7 is far above their error and far below that of a wrong gradient.
    truth = numerical_gradient(
        lambda t: sum(_row_loss(net, t, x, y, i) for i in range(7)) / 7, theta
    )

    result = train(
        net, (x, y), theta=theta, optimizer=SGD(1.0), epochs=1, batch_size=7, workers=p,
        comm="inprocess",
    )  # fmt: skip
    assert result.replicas_identical
    assert relative_error(theta - result.theta, truth) < 1e-7  # a step of 1 is the gradient


@pytest.mark.equation("eq-data-parallel-replicas")
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01)])
def test_replicas_that_start_equal_stay_equal_to_each_other_and_to_the_serial_run(case, optimizer):
    net, theta, x, y = case
    settings = {"epochs": 4, "batch_size": 4, "seed": 5}
    result = train(
        net, (x, y), optimizer=optimizer, theta=theta, workers=3, comm="inprocess", **settings
    )
    assert result.replicas_identical
    serial = fit(net, theta, optimizer, x, y, **settings)
    assert relative_error(result.theta, serial.theta) < 1e-12


@pytest.mark.equation("eq-data-parallel-means")
def test_means_weighted_by_rows_give_the_gradient_and_their_plain_mean_does_not(case):
    net, theta, x, y = case
    _, truth = net.loss_and_grad(theta, x, y)
    for cut in (1, 2, 5):
        counts = [cut, 7 - cut]
        means = [net.loss_and_grad(theta, x[s], y[s])[1] for s in (slice(cut), slice(cut, 7))]
        weighted = sum(n / 7 * g for n, g in zip(counts, means, strict=True))
        assert relative_error(weighted, truth) < 1e-12
        assert relative_error(sum(means) / 2, truth) > 0.01
    # With equal shards the two agree, which is why the mistake survives.
    _, even = net.loss_and_grad(theta, x[:6], y[:6])
    halves = [net.loss_and_grad(theta, x[s], y[s])[1] for s in (slice(3), slice(3, 6))]
    assert relative_error(sum(halves) / 2, even) < 1e-12


@pytest.mark.equation("eq-data-parallel-shard")
@pytest.mark.parametrize("n", [0, 1, 7, 8, 64])
@pytest.mark.parametrize("p", SIZES)
def test_shards_have_the_printed_sizes_and_deal_out_every_row_once(n, p):
    dealt = [np.arange(n)[shard(n, r, p)] for r in range(p)]
    assert [len(rows) for rows in dealt] == [n // p + (r < n % p) for r in range(p)]
    assert np.concatenate(dealt).tolist() == list(range(n))


@pytest.mark.equation("eq-data-parallel-bytes")
@pytest.mark.parametrize("p", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_step_sends_the_gradient_twice_for_every_rank_but_one(p, dtype):
    n_params = 45

    def rank(comm):
        all_reduce(comm, np.ones(n_params, dtype), "ordered")
        return comm.counters

    sent = run_threads(p, rank)
    assert sum(c.messages for c in sent) == 2 * (p - 1)
    assert sum(c.bytes for c in sent) == 2 * (p - 1) * n_params * np.dtype(dtype).itemsize
    assert sent[0].messages == p - 1  # rank 0 sends half of it all
