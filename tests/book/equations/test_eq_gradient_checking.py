"""The equations of the chapter "Gradient checking", each computed a second way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib import Network, gradcheck, losses, mlp
from course_lib.torch_mlp import to_torch, torch_loss

EPS = float(np.finfo(np.float64).eps)


def problem(hidden="tanh", loss="softmax_cross_entropy"):
    """Eleven rows, 7-4-3, biases that are not zero."""
    rng = np.random.default_rng(0)
    net = mlp([7, 4, 3], hidden=hidden, loss=loss)
    theta, x = rng.normal(scale=0.5, size=net.n_params), rng.normal(size=(11, 7))
    y = rng.integers(0, 3, 11) if loss == "softmax_cross_entropy" else rng.normal(size=(11, 3))
    return net, theta, x, y


def by_torch(net, theta, x, y):
    """The gradient from PyTorch's autograd, in the order of theta."""
    model = to_torch(net, theta)
    total = torch_loss(net.loss.name)(model(torch.tensor(x)), torch.tensor(y)) / len(x)
    total.backward()
    return np.concatenate(
        [(p.grad.T if p.ndim == 2 else p.grad).ravel() for p in model.parameters()]
    )


@pytest.mark.equation("eq-gradient-checking-forward")
def test_a_forward_difference_is_off_by_half_the_curvature_times_h():
    t, h = 0.7, 1e-3  # exp''/2 = exp(t)/2; the next term is h^2 exp(t) / 6, h/3 of the first
    found = (math.exp(t + h) - math.exp(t)) / h
    assert found - math.exp(t) == pytest.approx(h / 2 * math.exp(t), rel=h)
    assert (1.1**3 - 1) / 0.1 == pytest.approx(3 + 0.1 / 2 * 6 + 0.1**2)


@pytest.mark.equation("eq-gradient-checking-central")
def test_a_central_difference_is_off_by_h_squared_f3_over_6():
    t, h = np.array([0.7]), 1e-2  # the next term is h^4 exp(t) / 120, h^2 / 20 of the first
    found = gradcheck.numerical_gradient(lambda s: math.exp(s[0]), t, h)[0]
    assert found - math.exp(0.7) == pytest.approx(h**2 / 6 * math.exp(0.7), rel=h**2)
    cube = gradcheck.numerical_gradient(lambda s: float(s[0] ** 3), np.array([1.0]), 0.1)[0]
    assert cube == pytest.approx(3.01, rel=1e-12)


@pytest.mark.equation("eq-gradient-checking-total")
@pytest.mark.parametrize("h", [1e-10, 1e-8, 1e-6, 1e-4, 1e-2])
def test_the_total_error_has_the_size_of_the_formula(h):
    t = np.linspace(0.9, 1.1, 101)
    found = np.array(
        [gradcheck.numerical_gradient(lambda s: math.exp(s[0]), np.array([v]), h)[0] for v in t]
    )
    measured = np.abs(found - np.exp(t)).max()
    printed = (EPS * np.exp(t) / (2 * h) + h**2 / 6 * np.exp(t)).max()
    # The rounding term bounds the two values; that t + h is rounded too adds as much again.
    assert printed / 5 < measured < 5 * printed


@pytest.mark.equation("eq-gradient-checking-optimum")
@pytest.mark.parametrize(("f", "f3"), [(1.0, 1.0), (0.2, 7.0), (30.0, 0.5)])
@pytest.mark.parametrize("eps", [EPS, float(np.finfo(np.float32).eps)])
def test_the_best_step_is_the_lowest_point_of_the_total_error(f, f3, eps):
    best = (3 * eps * f / (2 * f3)) ** (1 / 3)

    def total(h):
        return eps * f / (2 * h) + h**2 / 6 * f3

    h = best * np.linspace(0.5, 2, 3001)
    assert h[np.argmin(total(h))] == pytest.approx(best, rel=1e-3)


@pytest.mark.equation("eq-gradient-checking-complex")
def test_the_complex_step_is_off_by_minus_h_squared_f3_over_6():
    h = 1e-2
    off = np.exp(0.7 + 1j * h).imag / h - math.exp(0.7)
    assert off == pytest.approx(-(h**2) / 6 * math.exp(0.7), rel=h**2)
    exact = 1 - np.tanh(0.3) ** 2
    assert np.tanh(0.3 + 1e-20j).imag / 1e-20 == pytest.approx(exact, rel=1e-15)


@pytest.mark.equation("eq-gradient-checking-factor")
@pytest.mark.parametrize("c", [0.5, 2.0, 11.0, 1 / 11, 1.0])
def test_a_factor_has_its_signature(c):
    n = np.random.default_rng(1).normal(size=20)
    assert gradcheck.relative_error(c * n, n) == pytest.approx(abs(c - 1) / max(c, 1), abs=1e-15)
    assert gradcheck.relative_error(-n, n) == pytest.approx(2)


@pytest.mark.equation("eq-gradient-checking-kink")
@pytest.mark.parametrize("share", [-0.9, -0.2, 0.0, 0.4, 0.99])
def test_near_a_kink_the_estimate_lies_between_the_two_slopes(share):
    h = 1e-5
    t = share * h
    relu = torch.nn.functional.relu
    found = gradcheck.numerical_gradient(lambda s: relu(torch.tensor(s)).item(), np.array([t]), h)[
        0
    ]
    assert found == pytest.approx((t + h) / (2 * h), abs=1e-10)


@pytest.mark.equation("eq-gradient-checking-direction")
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_a_slope_along_a_direction_is_the_product_with_the_gradient(loss):
    net, theta, x, y = problem(loss=loss)
    v = np.random.default_rng(2).normal(size=theta.size)
    g = by_torch(net, theta, x, y)
    for h, tolerance in ((1e-2, 1e-2), (1e-4, 1e-6)):  # the error falls with h^2
        slope = (net.loss_value(theta + h * v, x, y) - net.loss_value(theta - h * v, x, y)) / (
            2 * h
        )
        assert abs(slope - g @ v) < tolerance
    along = gradcheck.numerical_gradient(
        lambda s: net.loss_value(theta + s[0] * v, x, y), np.zeros(1)
    )
    _, ours = net.loss_and_grad(theta, x, y)
    assert along[0] == pytest.approx(ours @ v, rel=1e-7)


@pytest.mark.equation("eq-gradient-checking-length")
def test_the_mean_square_of_a_random_projection_is_the_squared_length():
    rng = np.random.default_rng(3)
    d = rng.normal(size=30) * np.arange(30)
    squares = (rng.normal(size=(100_000, 30)) @ d) ** 2
    # A squared normal number has standard deviation sqrt(2); five of the mean's.
    assert squares.mean() == pytest.approx(d @ d, rel=5 * math.sqrt(2 / 100_000))


@pytest.mark.equation("eq-gradient-checking-miss")
@pytest.mark.parametrize("K", [1, 2, 3])
def test_the_chance_that_all_directions_miss(K):
    rng = np.random.default_rng(4)
    d, c, runs = rng.normal(size=10), 0.5, 50_000
    hidden = np.all(np.abs(rng.normal(size=(runs, K, 10)) @ d) < c * np.linalg.norm(d), axis=1)
    printed = math.erf(c / math.sqrt(2)) ** K
    assert hidden.mean() == pytest.approx(printed, abs=5 * math.sqrt(printed / runs))


@pytest.mark.equation("eq-gradient-checking-cost")
def test_a_full_check_takes_two_passes_per_parameter():
    net, theta, x, y = problem()
    calls = []

    def loss(t):
        calls.append(1)
        return net.loss_value(t, x, y)

    numerical = gradcheck.numerical_gradient(loss, theta)
    assert len(calls) == 2 * net.n_params
    assert gradcheck.relative_error(numerical, by_torch(net, theta, x, y)) < 1e-8


@pytest.mark.equation("eq-gradient-checking-outputs")
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_mean_over_outputs_has_its_share_in_the_gradient(k):
    rng = np.random.default_rng(k)
    outputs, targets = rng.normal(size=(11, k)), rng.normal(size=(11, k))
    t = torch.tensor(outputs, requires_grad=True)
    rows = 0.5 * ((t - torch.tensor(targets)) ** 2).mean(dim=1)
    rows.sum().backward()
    printed = (outputs - targets) / k
    np.testing.assert_allclose(t.grad.numpy(), printed, rtol=1e-14)
    total, gradient = losses.mse(outputs, targets)  # the package's loss is twice this one
    assert total / 2 == pytest.approx(rows.sum().item())
    np.testing.assert_allclose(gradient / 2, printed, rtol=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_without_that_share_the_gradient_is_k_times_the_derivative(k):
    def specimen(outputs, targets, out=None):
        error = outputs - targets
        return float(0.5 * (error**2).mean(axis=1).sum()), error

    rng = np.random.default_rng(5)
    net = mlp([7, 6, k], hidden="tanh", loss="mse")
    net = Network(net.layers, replace(net.loss, f=specimen))
    theta, x, y = rng.normal(size=net.n_params), rng.normal(size=(11, 7)), rng.normal(size=(11, k))
    for error in gradcheck.check(net, theta, x, y).values():
        assert error == pytest.approx(1 - 1 / k, abs=1e-7)
