"""Rows that count more than others: as if they were there more often."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, fit, losses, mlp
from course_lib.gradcheck import numerical_gradient, relative_error
from course_lib.losses import Loss

RNG = np.random.default_rng(3)
N = 23
X = RNG.normal(size=(N, 4))
TARGETS = {
    "values": RNG.normal(size=(N, 3)),
    "binary": RNG.random((N, 3)),
    "labels": RNG.integers(0, 3, N),
    "margin": RNG.integers(0, 3, N),
}
COUNTS = RNG.integers(0, 4, N)
HOW = {"epochs": 3, "batch_size": 7, "seed": 2}

# Every loss with three outputs, and with one where that is another formula.
CASES = [(name, 3) for name in losses.ALL] + [("hinge", 1), ("mse", 1)]


def case(name, outputs):
    net = mlp([4, 5, outputs], hidden="tanh", loss=name)
    y = TARGETS[net.loss.kind]
    if outputs == 1:
        y = y % 2 if net.loss.kind == "margin" else y[:, :1]
    return net, net.init(np.random.default_rng(1)), y


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "outputs"), CASES)
def test_the_losses_of_the_rows_are_what_f_adds_up(name, outputs, dtype):
    net, theta, y = case(name, outputs)
    z = 5 * net.forward(theta, X)[0].astype(dtype)
    each = [net.loss.f(z[i : i + 1], y[i : i + 1])[0] for i in range(N)]
    rtol = 1e-13 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(net.loss.of_rows(z, y), each, rtol=rtol, atol=rtol)
    assert net.loss.of_rows(z, y).dtype == np.float64


@pytest.mark.parametrize(("name", "outputs"), CASES)
def test_a_row_of_weight_three_is_three_rows(name, outputs):
    net, theta, y = case(name, outputs)
    loss, gradient = net.loss_and_grad(theta, X, y, weights=COUNTS)
    often = np.repeat(np.arange(N), COUNTS)
    same, as_often = net.loss_and_grad(theta, X[often], y[often])
    assert loss == pytest.approx(same, rel=1e-13)
    np.testing.assert_allclose(gradient, as_often, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("name", "outputs"), CASES)
def test_the_gradient_is_that_of_the_weighted_mean(name, outputs):
    net, theta, y = case(name, outputs)
    weights = RNG.random(N)

    def mean(theta):
        return float(weights @ net.loss.of_rows(net.forward(theta, X)[0], y) / weights.sum())

    loss, gradient = net.loss_and_grad(theta, X, y, weights=weights)
    assert loss == pytest.approx(mean(theta), rel=1e-14)
    assert relative_error(gradient, numerical_gradient(mean, theta)) < 1e-7


def test_pieces_add_up_and_a_workspace_changes_nothing():
    net, theta, y = case("softmax_cross_entropy", 3)
    weights = RNG.random(N)
    whole, gradient = net.loss_and_grad(theta, X, y, weights=weights)
    workspace, parts = net.workspace(N), [slice(0, 9), slice(9, 10), slice(10, N)]
    found = [
        net.loss_and_grad(
            theta, X[part], y[part], weights=weights[part], denominator=weights.sum(),
            workspace=workspace,
        )
        for part in parts
    ]  # fmt: skip
    assert sum(loss for loss, _ in found) == pytest.approx(whole, rel=1e-14)
    np.testing.assert_allclose(sum(g for _, g in found), gradient, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["mse", "softmax_cross_entropy"])
def test_rows_that_count_alike_count_as_without_weights(name):
    net, theta, y = case(name, 3)
    plain = fit(net, theta, SGD(0.1, momentum=0.9), X, y, validation=(X, y), **HOW)
    same = fit(
        net, theta, SGD(0.1, momentum=0.9), X, y, validation=(X, y), weights=np.ones(N), **HOW
    )
    assert same.theta.tobytes() == plain.theta.tobytes()
    for key, values in plain.history.items():
        np.testing.assert_allclose(same.history[key], values, rtol=1e-14)
    scaled = fit(net, theta, SGD(0.1, momentum=0.9), X, y, weights=np.full(N, 8.0), **HOW)
    np.testing.assert_allclose(scaled.theta, plain.theta, rtol=0, atol=1e-14)
    np.testing.assert_allclose(scaled.history["loss"], plain.history["loss"], rtol=1e-14)


def test_a_training_by_hand():
    """Each step divides by the weights of its batch, an epoch by those of all rows."""
    net, theta, y = case("mse", 3)
    weights = RNG.random(N)
    found = fit(net, theta, SGD(0.1), X, y, weights=weights, **(HOW | {"epochs": 1}))
    order, total = np.random.default_rng([2, 0]).permutation(N), 0.0
    for start in range(0, N, 7):
        rows = order[start : start + 7]
        w = weights[rows]
        each = [net.loss_and_grad(theta, X[i : i + 1], y[i : i + 1]) for i in rows]
        total += sum(w[i] * loss for i, (loss, _) in enumerate(each))
        theta = theta - 0.1 * sum(w[i] * g for i, (_, g) in enumerate(each)) / w.sum()
    np.testing.assert_allclose(found.theta, theta, rtol=0, atol=1e-14)
    assert found.history["loss"] == pytest.approx([total / weights.sum()], rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_batch_in_which_no_row_counts_has_no_gradient(dtype):
    net, theta, y = case("mse", 3)
    weights = np.zeros(N)
    weights[4] = 2.0  # one batch of an epoch moves theta, the others do not
    found = fit(net, theta.astype(dtype), SGD(0.1), X, y, weights=weights, **(HOW | {"epochs": 1}))
    _, gradient = net.loss_and_grad(theta, X[4:5], y[4:5])
    rtol = 1e-13 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(found.theta, theta - 0.1 * gradient, rtol=rtol, atol=rtol)
    assert found.theta.dtype == dtype


@pytest.mark.parametrize("name", losses.ALL)
def test_pytorch_weighs_alike(name):
    pytest.importorskip("torch")
    from course_lib.torch_mlp import fit_torch, to_torch

    net, theta, y = case(name, 3)
    weights = RNG.random(N) * (RNG.random(N) < 0.8)
    held_out = (X[:5], y[:5])
    ours = fit(net, theta, Adam(0.01), X, y, weights=weights, validation=held_out, **HOW)
    theirs = fit_torch(
        to_torch(net, theta), Adam(0.01), X, y, weights=weights, validation=held_out, device="cpu",
        **HOW,
    )  # fmt: skip
    np.testing.assert_allclose(theirs.theta, ours.theta, rtol=0, atol=1e-10)
    for key, values in ours.history.items():
        np.testing.assert_allclose(theirs.history[key], values, rtol=1e-10)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (np.ones(N - 1), r"fit: weights must be one number per row of the data, 23, got 22\."),
        (np.zeros(N), "fit: weights must be finite and at least 0, and not all of them zero"),
        (-np.ones(N), "fit: weights must be finite and at least 0"),
        (np.full(N, np.nan), "fit: weights must be finite"),
        (["a"] * N, "fit: weights must be one number per row"),
        (np.ones((N, 1)), "fit: weights must be one number per row"),
        (3, "fit: weights must be one number per row"),
    ],
)
def test_weights_that_are_none_are_refused(weights, told):
    net, theta, y = case("mse", 3)
    with pytest.raises((ValueError, TypeError), match=told):
        fit(net, theta, SGD(0.1), X, y, weights=weights, **HOW)


def test_a_loss_of_your_own_has_to_say_what_its_rows_lose():
    net, theta, y = case("mse", 3)
    own = Loss("own", net.loss.f)
    mine = mlp([4, 5, 3], hidden="tanh", loss=own)
    with pytest.raises(TypeError, match="fit: weights need the loss of each row, and own gives"):
        fit(mine, theta, SGD(0.1), X, y, weights=np.ones(N), **HOW)
    with pytest.raises(TypeError, match="own: the losses of the rows are not known"):
        mine.loss_and_grad(theta, X, y, weights=np.ones(N))
    for rows in (lambda o, t: (o - t) ** 2, lambda o, t: 1.0, lambda o, t: np.ones((len(o), 1))):
        wrong = mlp([4, 5, 3], hidden="tanh", loss=Loss("own", net.loss.f, rows=rows))
        with pytest.raises(ValueError, match=r"own: rows must return one number per row, of shape"):
            wrong.loss_and_grad(theta, X, y, weights=np.ones(N))
    told = mlp([4, 5, 3], hidden="tanh", loss=Loss("own", net.loss.f, rows=net.loss.rows))
    weights = RNG.random(N)
    same = fit(net, theta, SGD(0.1), X, y, weights=weights, **HOW)
    found = fit(told, theta, SGD(0.1), X, y, weights=weights, **HOW)
    assert found.theta.tobytes() == same.theta.tobytes()
