"""The equations of the chapter "Gradient descent", each computed a second way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from course_lib import SGD, mlp

ROUNDING = 1e-12  # a few additions of numbers near 1: 1e-15 each, with room


def steps(gradient, theta, lr, n):
    """Walk n steps with the package's optimizer."""
    sgd = SGD(lr=lr)
    state = sgd.init(theta)
    for _ in range(n):
        theta, state = sgd.step(theta, gradient(theta), state)
    return theta


def spd(curvatures, seed=0):
    """A symmetric matrix with these eigenvalues and random axes."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(curvatures),) * 2))
    return axes @ np.diag(curvatures) @ axes.T, axes


def problem(rows=7):
    """A smooth network that is not square, with biases that are not zero."""
    rng = np.random.default_rng(1)
    net = mlp([4, 6, 3], hidden="tanh")
    theta = net.init(rng) + rng.normal(0, 0.3, net.n_params)
    return net, theta, rng.normal(size=(rows, 4)), rng.integers(0, 3, rows)


@pytest.mark.equation("eq-gradient-descent-slope")
def test_the_slope_along_a_direction_is_the_dot_product_and_the_cosine():
    net, theta, x, y = problem()
    _, g = net.loss_and_grad(theta, x, y)
    u = np.random.default_rng(2).normal(size=g.size)
    u /= np.linalg.norm(u)
    h = 1e-5  # central differences err by about h^2 = 1e-10
    ahead, behind = (net.loss_value(theta + s * u, x, y) for s in (h, -h))
    slope = (ahead - behind) / (2 * h)
    # the angle from the sides of the triangle, so that the cosine is not the dot product again
    unit = g / np.linalg.norm(g)
    angle = 2 * np.arcsin(np.linalg.norm(unit - u) / 2)
    assert slope == pytest.approx(np.sum(g * u), abs=1e-8)
    assert slope == pytest.approx(np.linalg.norm(g) * np.cos(angle), abs=1e-8)


def test_no_direction_is_steeper_than_against_the_gradient():
    net, theta, x, y = problem()
    _, g = net.loss_and_grad(theta, x, y)
    u = np.random.default_rng(3).normal(size=(500, g.size))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    assert (u @ g).min() > -np.linalg.norm(g)


@pytest.mark.equation("eq-gradient-descent-update")
def test_ten_steps_are_those_of_torch():
    net, theta, x, y = problem()
    ours = steps(lambda t: net.loss_and_grad(t, x, y)[1], theta, 0.3, 10)

    W1, b1, W2, b2 = (
        torch.tensor(p[name], requires_grad=True)
        for p in net.unpack(theta.copy())
        if p
        for name in ("W", "b")
    )
    parameters = [W1, b1, W2, b2]
    optimizer = torch.optim.SGD(parameters, lr=0.3)
    for _ in range(10):
        optimizer.zero_grad()
        z = torch.tanh(torch.tensor(x) @ W1 + b1) @ W2 + b2
        torch.nn.functional.cross_entropy(z, torch.tensor(y)).backward()
        optimizer.step()
    theirs = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.equation("eq-gradient-descent-factor")
def test_each_axis_has_its_own_factor():
    curvatures = np.array([0.5, 1.0, 4.0])
    H, axes = spd(curvatures)
    minimum, start = np.array([1.0, -2.0, 0.3]), np.array([3.0, 1.0, 1.0])
    end = steps(lambda t: H @ (t - minimum), start, 0.3, 5)
    expected = (1 - 0.3 * curvatures) ** 5 * (axes.T @ (start - minimum))
    np.testing.assert_allclose(axes.T @ (end - minimum), expected, atol=1e-12)


def test_the_numbers_of_the_hand_calculation():
    path = [steps(lambda t: 4 * (t - 1), np.array([3.0]), 0.1, n)[0] for n in range(4)]
    assert path == pytest.approx([3, 2.2, 1.72, 1.432], abs=ROUNDING)


@pytest.mark.equation("eq-gradient-descent-limit")
@pytest.mark.parametrize(("share", "converges"), [(0.1, True), (0.99, True), (1.01, False)])
def test_descent_converges_exactly_below_two_over_the_largest_curvature(share, converges):
    H, _ = spd(np.array([0.3, 1.0, 7.0]), seed=4)
    lr = share * 2 / np.linalg.eigvalsh(H)[-1]
    start = np.array([1.0, 1.0, -1.0])
    end = steps(lambda t: H @ t, start, lr, 3000)
    assert (np.linalg.norm(end) < 1e-6) == converges
    radius = np.abs(np.linalg.eigvals(np.eye(3) - lr * H)).max()
    assert (radius < 1) == converges


def test_at_the_limit_the_error_neither_grows_nor_shrinks():
    end = steps(lambda t: 4 * (t - 1), np.array([3.0]), 0.5, 101)
    assert end[0] == pytest.approx(-1, abs=ROUNDING)


@pytest.mark.equation("eq-gradient-descent-best")
@pytest.mark.parametrize("kappa", [2.0, 20.0, 300.0])
def test_no_rate_of_a_fine_grid_beats_the_best_rate(kappa):
    lmin, lmax = 0.7, 0.7 * kappa
    H, _ = spd(np.array([lmin, 0.5 * (lmin + lmax), lmax]))

    def radius(lr):
        return np.abs(np.linalg.eigvals(np.eye(3) - lr * H)).max()

    best = 2 / (lmin + lmax)
    assert radius(best) == pytest.approx((kappa - 1) / (kappa + 1), rel=1e-9)
    grid = np.linspace(0, 2 / lmax, 2001)
    assert min(radius(lr) for lr in grid) >= radius(best) - 1e-12
    start = np.linalg.eigh(H)[1].sum(axis=1)
    errors = [np.linalg.norm(steps(lambda t: H @ t, start, best, n)) for n in (30, 31)]
    if kappa > 2:  # the middle axis has the factor 0, so from the first step on only two count
        assert errors[1] / errors[0] == pytest.approx((kappa - 1) / (kappa + 1), rel=1e-6)


def every_batch(size):
    net, theta, x, y = problem()
    full = net.loss_and_grad(theta, x, y)[1]
    batches = [
        net.loss_and_grad(theta, x[list(rows)], y[list(rows)])[1]
        for rows in combinations(range(len(x)), size)
    ]
    singles = np.array(
        [net.loss_and_grad(theta, x[i : i + 1], y[i : i + 1])[1] for i in range(len(x))]
    )
    return np.array(batches), singles, full


@pytest.mark.equation("eq-gradient-descent-minibatch")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_mean_over_all_possible_batches_is_the_full_gradient(size):
    batches, singles, full = every_batch(size)
    np.testing.assert_allclose(batches.mean(axis=0), full, atol=1e-14)
    first = batches[0]  # combinations start with rows 0, 1, ..., size - 1
    np.testing.assert_allclose(first, singles[:size].sum(axis=0) / size, atol=1e-14)


@pytest.mark.equation("eq-gradient-descent-noise")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_noise_over_all_possible_batches(size):
    batches, singles, full = every_batch(size)
    n = len(singles)
    sigma2 = np.mean(np.sum((singles - full) ** 2, axis=1))
    measured = np.mean(np.sum((batches - full) ** 2, axis=1))
    expected = sigma2 / size * (n - size) / (n - 1)
    assert measured == pytest.approx(expected, rel=1e-9, abs=1e-25)


@pytest.mark.equation("eq-gradient-descent-floor")
@pytest.mark.parametrize(("lr", "curvature", "sigma"), [(0.5, 1.0, 1.0), (0.1, 3.0, 0.5)])
def test_noisy_descent_ends_on_the_floor(lr, curvature, sigma):
    # exact: the variance obeys v <- (1 - lr c)^2 v + lr^2 sigma^2, iterated until it stands still
    v = 0.0
    for _ in range(10_000):
        v = (1 - lr * curvature) ** 2 * v + lr**2 * sigma**2
    floor = lr * sigma**2 / (curvature * (2 - lr * curvature))
    assert v == pytest.approx(floor, rel=ROUNDING)
    # and in 20,000 simulated runs of the optimizer: a variance is then known to about 1 percent
    rng = np.random.default_rng(0)
    end = steps(lambda t: curvature * t + rng.normal(0, sigma, t.size), np.zeros(20_000), lr, 200)
    assert np.mean(end**2) == pytest.approx(floor, rel=0.05)


@pytest.mark.equation("eq-gradient-descent-sum")
def test_the_sum_with_the_rate_divided_by_n_is_the_mean():
    net, theta, x, y = problem()
    mean = steps(lambda t: net.loss_and_grad(t, x, y)[1], theta, 0.7, 20)
    total = steps(lambda t: net.loss_and_grad(t, x, y, denominator=1)[1], theta, 0.7 / len(x), 20)
    np.testing.assert_allclose(total, mean, atol=1e-12)
