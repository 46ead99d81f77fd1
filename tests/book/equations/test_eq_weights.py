"""The equations of the chapter Weights, as printed there, against course_lib."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from course_lib import SGD, Dense, mlp, weights
from course_lib.activations import relu

# The variance of n independent draws is estimated to about sqrt(2 / n); the tests below take at
# least 20,000 of them (1 %) and allow 5 %.
LOOSE = 0.05


@pytest.mark.equation("eq-weights-count")
@pytest.mark.parametrize("sizes", [(3, 4, 2), (64, 32, 10), (7, 1), (5, 4, 3, 2)])
def test_the_parameters_are_counted_like_the_numbers_in_torch_layers(sizes):
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(n, m) for n, m in itertools.pairwise(sizes)]
    printed = sum((sizes[i - 1] + 1) * sizes[i] for i in range(1, len(sizes)))
    assert printed == mlp(list(sizes)).n_params
    assert printed == sum(p.numel() for layer in layers for p in layer.parameters())


@pytest.mark.equation("eq-weights-update")
def test_an_update_subtracts_the_learning_rate_times_the_gradient_as_torch_does():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    theta, g, eta = rng.normal(size=9), rng.normal(size=9), 0.3
    sgd = SGD(eta)
    ours, _ = sgd.step(theta, g, sgd.init(theta))
    np.testing.assert_allclose(ours, theta - eta * g, rtol=1e-15)
    parameter = torch.tensor(theta, requires_grad=True)
    parameter.grad = torch.tensor(g)
    torch.optim.SGD([parameter], lr=eta).step()
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-14)


def test_the_step_by_hand():
    net, theta = mlp([1, 1], loss="mse"), np.array([0.5, 0.0])
    x, y = np.array([[2.0], [-1.0]]), np.array([3.0, 1.0])
    loss, g = net.loss_and_grad(theta, x, y)
    assert loss == 3.125 and g.tolist() == [-2.5, -3.5]
    assert net.loss_value(theta - 0.2 * g, x, y) == pytest.approx(0.89, rel=1e-12)


@pytest.mark.equation("eq-weights-first-order")
def test_the_error_of_the_prediction_shrinks_with_the_square_of_the_step():
    rng = np.random.default_rng(1)
    net = mlp([7, 5, 3], hidden="tanh")
    theta = net.init(rng) + 0.1
    x, y = rng.normal(size=(11, 7)), rng.integers(0, 3, 11)
    loss, g = net.loss_and_grad(theta, x, y)
    errors = []
    for eta in (1e-2, 1e-3):
        printed = loss - eta * np.linalg.norm(g) ** 2
        errors.append(abs(net.loss_value(theta - eta * g, x, y) - printed))
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)  # next term of the Taylor series


@pytest.mark.equation("eq-weights-unit")
def test_the_gradient_into_a_unit_depends_on_the_weights_of_that_unit_only():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    net = mlp([7, 4, 3], hidden="tanh")
    theta = net.init(rng) + rng.normal(0, 0.1, net.n_params)
    x, y = rng.normal(size=(6, 7)), rng.integers(0, 3, 6)
    first, _, last = net.unpack(theta)
    z1 = torch.tensor(x @ first["W"] + first["b"])
    z2 = (torch.tanh(z1) @ torch.tensor(last["W"]) + torch.tensor(last["b"])).requires_grad_()
    torch.nn.functional.cross_entropy(z2, torch.tensor(y)).backward()
    dz2 = z2.grad.numpy()
    _, g = net.loss_and_grad(theta, x, y)
    for j in range(4):
        slope = 1 / np.cosh(z1.numpy()[:, j]) ** 2  # the derivative of tanh
        dz1_j = (dz2 @ last["W"][j, :].T) * slope
        printed = x.T @ dz1_j
        np.testing.assert_allclose(net.unpack(g)[0]["W"][:, j], printed, rtol=1e-10, atol=1e-14)


def test_equal_units_get_equal_gradients_and_zero_weights_get_none():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 7)), rng.integers(0, 3, 6)

    def constant(rng, fan_in, fan_out):
        return np.full((fan_in, fan_out), 0.1)

    for start in (constant, weights.zeros):
        net = mlp([7, 4, 3], hidden="tanh", weights=start)
        _, g = net.loss_and_grad(net.init(rng), x, y)
        first, _, last = net.unpack(g)
        np.testing.assert_allclose(first["W"], first["W"][:, :1] @ np.ones((1, 4)), atol=1e-15)
        np.testing.assert_allclose(last["W"], np.ones((4, 1)) @ last["W"][:1], atol=1e-15)
        if start is weights.zeros:
            assert not first["W"].any() and not last["W"].any() and last["b"].any()


@pytest.mark.equation("eq-weights-variance")
@pytest.mark.parametrize("name", ["normal", "uniform", "glorot_uniform", "he_normal"])
def test_the_variance_of_a_weighted_sum_of_dependent_inputs_with_a_mean(name):
    rng = np.random.default_rng(4)
    x = 2.0 + np.cumsum(rng.normal(size=50))  # one sample: neighbours are alike, the mean is not 0
    W = np.concatenate([weights.get(name)(rng, 50, 100) for _ in range(400)], axis=1)
    s = {
        "normal": 0.01,
        "uniform": 1 / np.sqrt(3 * 50),
        "glorot_uniform": np.sqrt(2 / 150),
        "he_normal": np.sqrt(2 / 50),
    }[name]
    assert np.var(x @ W) == pytest.approx(50 * s**2 * np.mean(x**2), rel=LOOSE)


@pytest.mark.equation("eq-weights-half")
def test_relu_keeps_half_of_the_squares_of_a_symmetric_signal():
    z = np.random.default_rng(5).normal(size=1000)
    z = np.concatenate([z, -z])  # exactly symmetric, so the equation holds exactly
    assert np.mean(relu(z) ** 2) == pytest.approx(np.mean(z**2) / 2, rel=1e-12)


@pytest.mark.equation("eq-weights-he")
def test_he_has_variance_two_over_fan_in_and_keeps_the_signal_behind_relu():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    for start in (weights.he_normal, weights.he_uniform):
        assert start(rng, 300, 500).var() == pytest.approx(2 / 300, rel=LOOSE)
    theirs = torch.empty(500, 300, dtype=torch.float64)  # stored transposed
    torch.nn.init.kaiming_normal_(theirs, nonlinearity="relu", generator=torch.manual_seed(0))
    assert theirs.numpy().var() == pytest.approx(2 / 300, rel=LOOSE)
    x = rng.normal(size=(200, 300))
    a = [relu(x @ weights.he_normal(rng, 300, 400)) for _ in range(10)]
    assert np.mean(np.square(a)) == pytest.approx(np.mean(x**2), rel=LOOSE)


@pytest.mark.equation("eq-weights-back")
def test_the_variance_of_the_gradient_grows_with_fan_out():
    rng = np.random.default_rng(7)
    dz = 1.0 + rng.normal(size=(3, 40))
    layer = Dense(100, 40)
    x = np.zeros((3, 100))
    dx = []
    for _ in range(200):
        p = {"W": weights.normal(rng, 100, 40, std=0.2), "b": rng.normal(size=40)}
        dx.append(layer.backward(p, x, dz))
    for row in range(3):
        printed = 40 * 0.2**2 * np.mean(dz[row] ** 2)
        assert np.var(np.array(dx)[:, row]) == pytest.approx(printed, rel=LOOSE)


@pytest.mark.equation("eq-weights-glorot")
def test_glorot_has_variance_two_over_the_sum_of_the_fans():
    torch = pytest.importorskip("torch")
    for start in (weights.glorot_normal, weights.glorot_uniform):
        W = start(np.random.default_rng(8), 300, 500)
        assert W.var() == pytest.approx(2 / 800, rel=LOOSE)
    theirs = torch.empty(500, 300, dtype=torch.float64)
    torch.nn.init.xavier_normal_(theirs, generator=torch.manual_seed(0))
    assert theirs.numpy().var() == pytest.approx(2 / 800, rel=LOOSE)


@pytest.mark.equation("eq-weights-limit")
def test_a_uniform_number_needs_a_limit_of_sqrt_three_standard_deviations():
    l = 0.7
    w = np.linspace(-l, l, 20_001)
    assert np.trapezoid(w**2, w) / (2 * l) == pytest.approx(l**2 / 3, rel=1e-7)
    # The largest of 150,000 uniform numbers is within 1e-4 of the limit.
    for start, s in ((weights.he_uniform, 2 / 300), (weights.glorot_uniform, 2 / 800)):
        W = start(np.random.default_rng(9), 300, 500)
        assert np.abs(W).max() == pytest.approx(np.sqrt(3) * np.sqrt(s), rel=1e-3)
        assert np.abs(W).max() <= np.sqrt(3) * np.sqrt(s)


@pytest.mark.equation("eq-weights-orthogonal")
def test_orthogonal_matrices_keep_lengths():
    rng = np.random.default_rng(10)
    W = weights.orthogonal(rng, 7, 4)
    np.testing.assert_allclose(W.T @ W, np.eye(4), atol=1e-13)
    x = rng.normal(size=(5, 4))
    np.testing.assert_allclose(
        np.linalg.norm(x @ W.T, axis=1), np.linalg.norm(x, axis=1), rtol=1e-13
    )
    W, x = weights.orthogonal(rng, 6, 6), rng.normal(size=(5, 6))
    for product in (x @ W, x @ W.T):
        np.testing.assert_allclose(
            np.linalg.norm(product, axis=1), np.linalg.norm(x, axis=1), rtol=1e-13
        )
