"""The equations of the bug museum, as printed there, against course_lib."""

from __future__ import annotations

import math

import numpy as np
import pytest

from course_lib import activations, losses, mlp
from course_lib.optimizers import SGD, Adam
from course_lib.parallel import shard
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads

torch = pytest.importorskip("torch")


def _problem():
    rng = np.random.default_rng(0)
    net = mlp([7, 4, 6, 3])
    return net, rng.normal(size=net.n_params), rng.normal(size=(12, 7)), rng.integers(0, 3, 12)


@pytest.mark.equation("eq-bug-museum-rows")
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse", "hinge"])
def test_a_batch_is_the_sum_of_its_rows(loss):
    net, theta, x, y = _problem()
    net = mlp([7, 4, 6, 3], loss=loss)
    x = x * np.logspace(-2, 3, 12)[:, None]  # rows of very different size
    y = np.eye(3)[y] if loss == "mse" else y
    total, g = net.loss_and_grad(theta, x, y)
    order = np.random.default_rng(1).permutation(12)
    each = [net.loss_and_grad(theta, x[[i]], y[[i]], denominator=12) for i in order]
    assert sum(value for value, _ in each) == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(sum(g for _, g in each), g, rtol=1e-9, atol=1e-9)


@pytest.mark.equation("eq-bug-museum-softmax")
def test_every_probability_depends_on_every_logit():
    rng = np.random.default_rng(2)
    z, dp = rng.normal(size=5), rng.normal(size=5)
    p = activations.softmax(z[None])[0]
    printed = p[:, None] * (np.eye(5) - p[None, :])
    jacobian = torch.autograd.functional.jacobian(
        lambda v: torch.softmax(v, dim=0), torch.tensor(z)
    ).numpy()
    np.testing.assert_allclose(printed, jacobian, rtol=1e-12, atol=1e-16)
    h = 1e-6
    moved = [(activations.softmax((z + h * e)[None]) - activations.softmax((z - h * e)[None]))[0]
             / (2 * h) for e in np.eye(5)]  # fmt: skip
    np.testing.assert_allclose(printed, np.transpose(moved), atol=1e-9)
    np.testing.assert_allclose(p * (dp - np.sum(p * dp)), jacobian.T @ dp, rtol=1e-12)


@pytest.mark.equation("eq-bug-museum-floor")
@pytest.mark.parametrize("k", [2, 3, 10])
def test_softmax_twice_has_a_floor(k):
    printed = math.log(1 + (k - 1) / math.e)
    loss = losses.softmax_cross_entropy.f
    assert loss(np.eye(k)[:1], np.array([0]))[0] == pytest.approx(printed, rel=1e-14)
    rng = np.random.default_rng(3)
    p = activations.softmax(rng.normal(scale=20, size=(2000, k)))
    assert min(loss(row[None], np.array([0]))[0] for row in p) >= printed - 1e-12


@pytest.mark.equation("eq-bug-museum-columns")
def test_all_columns_are_least_when_every_row_says_the_shares():
    labels = np.array([0, 2, 2, 1, 2, 0])
    share = np.bincount(labels, minlength=3) / 6
    entropy = -np.sum(share * np.log(share))

    def printed(p):
        return -sum(np.log(p[i, c]) for i in range(6) for c in labels) / 36

    assert printed(np.tile(share, (6, 1))) == pytest.approx(entropy, rel=1e-14)
    rng = np.random.default_rng(4)
    for _ in range(200):
        p = activations.softmax(rng.normal(size=(6, 3)))
        assert printed(p) == pytest.approx(-np.log(p)[:, labels].mean(), rel=1e-13)
        assert printed(p) > entropy


@pytest.mark.equation("eq-bug-museum-accumulate")
def test_gradients_that_are_never_zeroed_are_momentum_one():
    rng = np.random.default_rng(5)
    gradients, lr = rng.normal(size=(9, 4)), 0.1
    momentum = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    kept = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    one = torch.optim.SGD([momentum], lr=lr, momentum=1.0)
    plain = torch.optim.SGD([kept], lr=lr)
    printed, sgd = np.zeros(4), SGD(lr=lr)
    ours, state = np.zeros(4), sgd.init(np.zeros(4))
    for t, g in enumerate(gradients):
        printed = printed - lr * gradients[: t + 1].sum(axis=0)
        momentum.grad = torch.tensor(g)
        one.step()
        (kept * torch.tensor(g)).sum().backward()  # adds to kept.grad: nobody zeroes it
        plain.step()
        ours, state = sgd.step(ours, gradients[: t + 1].sum(axis=0), state)
    for found in (momentum.detach().numpy(), kept.detach().numpy(), ours):
        np.testing.assert_allclose(found, printed, rtol=1e-12)
    with pytest.raises(ValueError, match="momentum"):
        SGD(lr=lr, momentum=1.0)


@pytest.mark.equation("eq-bug-museum-adam")
def test_the_first_step_without_correction_is_too_long():
    printed = (1 - 0.9) / math.sqrt(1 - 0.999)
    assert printed == pytest.approx(3.2, abs=0.05)
    g = np.array([3.0, -200.0, 0.01])
    m, s = (1 - 0.9) * g, (1 - 0.999) * g**2  # the means after one step from zero
    np.testing.assert_allclose(np.abs(m / np.sqrt(s)), printed, rtol=1e-12)
    adam = Adam(lr=1.0)
    step = adam.step(np.zeros(3), g, adam.init(np.zeros(3)))[0]
    np.testing.assert_allclose(np.abs(step), 1.0, rtol=1e-5)  # epsilon is 1e-8 of 0.01


@pytest.mark.equation("eq-bug-museum-sum-of-means")
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_added_means_turn_up_the_learning_rate(ranks):
    net, theta, x, y = _problem()

    def summed(comm):
        part = shard(12, comm.rank, comm.size)
        return all_reduce(comm, net.loss_and_grad(theta, x[part], y[part])[1])

    _, gradient = net.loss_and_grad(theta, x, y)
    wrong, sgd = run_threads(ranks, summed)[0], SGD(lr=0.1)
    fast = SGD(lr=0.1 * ranks)
    after = sgd.step(theta, wrong, sgd.init(theta))[0]
    np.testing.assert_allclose(
        after, fast.step(theta, gradient, fast.init(theta))[0], rtol=1e-12, atol=1e-14
    )
