"""The equations of the chapter "Optimizers", each computed a second way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from course_lib import SGD, Adam, AdamW
from course_lib.optimizers import AdaGrad, Nesterov, RMSProp
from course_lib.schedules import constant, cosine, step_decay, warmup

ROUNDING = 1e-12  # fifty updates of numbers near 1: some 1e-15 each, with room
START = np.array([0.7, -1.2, 2.0, 0.3])


def gradients(n=50, seed=0):
    """Gradients of very different sizes, among them zeros."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(n, 4)) * np.array([1e-3, 1.0, 50.0, 1.0])
    g[rng.random(g.shape) < 0.1] = 0.0
    return g


def by_class(optimizer, grads):
    theta, state = START, optimizer.init(START)
    for g in grads:
        theta, state = optimizer.step(theta, g, state)
    return theta


def by_torch(make, grads):
    p = torch.tensor(START, requires_grad=True)
    optimizer = make([p])
    for g in grads:
        p.grad = torch.tensor(g)
        optimizer.step()
    return p.detach().numpy()


def assert_all_equal(printed, optimizer, make):
    grads = gradients()
    ours = by_class(optimizer, grads)
    assert np.abs(ours - START).max() > 0.1
    np.testing.assert_allclose(ours, printed(grads), atol=ROUNDING)
    np.testing.assert_allclose(ours, by_torch(make, grads), atol=ROUNDING)


@pytest.mark.equation("eq-optimizers-momentum")
def test_momentum():
    def printed(grads):
        theta, v = START, 0.0
        for g in grads:
            v = 0.8 * v + g
            theta = theta - 0.02 * v
        return theta

    assert_all_equal(
        printed, SGD(0.02, momentum=0.8), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8)
    )


def test_the_numbers_of_the_hand_calculation():
    sgd, g = SGD(0.1, momentum=0.9), np.ones(1)
    first, state = sgd.step(np.ones(1), g, sgd.init(g))
    second, state = sgd.step(first, g, state)
    assert [first[0], second[0], state["v"][0]] == pytest.approx([0.9, 0.71, 1.9], abs=1e-15)


@pytest.mark.equation("eq-optimizers-terminal")
def test_under_a_constant_slope_the_velocity_is_a_geometric_series():
    sgd, g = SGD(0.1, momentum=0.7), np.array([2.0, -0.5])
    theta, state = np.zeros(2), sgd.init(np.zeros(2))
    for t in range(1, 100):
        theta, state = sgd.step(theta, g, state)
        np.testing.assert_allclose(state["v"], (1 - 0.7**t) / (1 - 0.7) * g, rtol=ROUNDING)
    np.testing.assert_allclose(state["v"], g / 0.3, rtol=ROUNDING)


@pytest.mark.equation("eq-optimizers-matrix")
@pytest.mark.parametrize("curvature", [0.3, 1.0, 12.0])
def test_a_step_of_momentum_on_a_bowl_is_a_matrix(curvature):
    lr, mu = 0.1, 0.6
    sgd = SGD(lr, momentum=mu)
    errors, state = [np.array([2.0])], sgd.init(np.zeros(1))
    for _ in range(12):
        new, state = sgd.step(errors[-1], curvature * errors[-1], state)
        errors.append(new)
    matrix = np.array([[1 + mu - lr * curvature, -mu], [1, 0]])
    start = np.array([errors[1][0], errors[0][0]])
    for n in range(11):
        pair = np.linalg.matrix_power(matrix, n) @ start
        np.testing.assert_allclose(pair, [errors[n + 1][0], errors[n][0]], atol=1e-10)


def radius(lr, mu, curvatures):
    return max(
        np.abs(np.linalg.eigvals(np.array([[1 + mu - lr * c, -mu], [1, 0]]))).max()
        for c in curvatures
    )


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_between_the_ends_every_axis_has_the_factor_root_mu(share):
    mu = 0.5
    low, high = (1 - math.sqrt(mu)) ** 2, (1 + math.sqrt(mu)) ** 2
    assert radius(low + share * (high - low), mu, [1.0]) == pytest.approx(math.sqrt(mu), rel=1e-12)


@pytest.mark.parametrize(("share", "stable"), [(0.999, True), (1.001, False)])
def test_momentum_is_stable_up_to_two_times_one_plus_mu(share, stable):
    assert (radius(share * 2 * 1.81, 0.81, [1.0]) < 1) == stable


@pytest.mark.equation("eq-optimizers-best")
@pytest.mark.parametrize("kappa", [4.0, 30.0, 400.0])
def test_no_pair_of_a_fine_grid_beats_the_best_momentum(kappa):
    lmin, lmax = 0.5, 0.5 * kappa
    ends = np.array([lmin, lmax])
    lr = 4 / (math.sqrt(lmax) + math.sqrt(lmin)) ** 2
    root = (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)
    # coinciding eigenvalues: a rounding of 1e-16 moves them by its root, 1e-8
    assert radius(lr, root**2, ends) == pytest.approx(root, abs=1e-7)
    for rate in np.linspace(0.02, 4, 40) / lmax:
        for mu in np.linspace(0, 0.99, 34):
            assert radius(rate, mu, ends) >= root - 1e-7


def test_the_best_momentum_is_what_the_class_does():
    kappa = 100.0
    sides = np.array([1.0, kappa])
    sgd = SGD(4 / 11**2, momentum=(9 / 11) ** 2)
    theta, state = np.ones(2), sgd.init(np.ones(2))
    for _ in range(200):
        theta, state = sgd.step(theta, sides * theta, state)
    # the error is at most a few t times the factor to the power t
    assert np.linalg.norm(theta) < 10 * 200 * (9 / 11) ** 200


@pytest.mark.equation("eq-optimizers-nesterov")
def test_nesterov():
    def printed(grads):
        theta, v = START, 0.0
        for g in grads:
            v = 0.8 * v + g
            theta = theta - 0.02 * (g + 0.8 * v)
        return theta

    assert_all_equal(
        printed,
        Nesterov(0.02, momentum=0.8),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True),
    )


def test_nesterov_is_the_look_ahead_form():
    def slope(x):
        return np.array([1.0, 7.0]) * x + np.sin(x)

    lr, mu = 0.05, 0.9
    x, v = np.array([2.0, -1.0]), np.zeros(2)
    opt = Nesterov(lr, momentum=mu)
    theta, state = x, opt.init(x)
    for _ in range(30):
        v = mu * v + slope(x - lr * mu * v)
        x = x - lr * v
        theta, state = opt.step(theta, slope(theta), state)
        np.testing.assert_allclose(theta, x - lr * mu * v, atol=1e-12)


@pytest.mark.equation("eq-optimizers-adagrad")
def test_adagrad():
    def printed(grads):
        theta = START
        for t, g in enumerate(grads, start=1):
            theta = theta - 0.1 * g / (np.sqrt(np.sum(grads[:t] ** 2, axis=0)) + 1e-10)
        return theta

    assert_all_equal(printed, AdaGrad(0.1), lambda p: torch.optim.Adagrad(p, lr=0.1))


def test_the_steps_of_adagrad_fall_as_one_over_the_root_of_t():
    opt, g = AdaGrad(0.1), np.array([300.0])
    theta, state = np.zeros(1), opt.init(np.zeros(1))
    for t in range(1, 30):
        new, state = opt.step(theta, g, state)
        assert theta[0] - new[0] == pytest.approx(0.1 / math.sqrt(t), rel=1e-9)
        theta = new


@pytest.mark.equation("eq-optimizers-rmsprop")
def test_rmsprop():
    def printed(grads):
        theta = START
        for t, g in enumerate(grads, start=1):
            fading = 0.95 ** np.arange(t - 1, -1, -1)[:, None]
            s = 0.05 * np.sum(fading * grads[:t] ** 2, axis=0)
            theta = theta - 0.03 * g / (np.sqrt(s) + 1e-8)
        return theta

    assert_all_equal(
        printed, RMSProp(0.03, decay=0.95), lambda p: torch.optim.RMSprop(p, lr=0.03, alpha=0.95)
    )


@pytest.mark.equation("eq-optimizers-bias")
@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_the_weights_of_a_running_mean_add_up_to_one_minus_beta_to_the_t(beta):
    adam, g = Adam(0.1, beta1=beta), np.array([3.0])
    theta, state = np.zeros(1), adam.init(np.zeros(1))
    for t in range(1, 40):
        weights = [(1 - beta) * beta ** (t - k) for k in range(1, t + 1)]
        assert sum(weights) == pytest.approx(1 - beta**t, rel=1e-10)
        theta, state = adam.step(theta, g, state)
        assert state["m"][0] == pytest.approx((1 - beta**t) * 3.0, rel=1e-10)


def _adam(grads, decay=0.0, lr=0.05):
    theta = START
    for t in range(1, len(grads) + 1):
        age = np.arange(t - 1, -1, -1)[:, None]
        m = 0.1 * np.sum(0.9**age * grads[:t], axis=0) / (1 - 0.9**t)
        s = 0.001 * np.sum(0.999**age * grads[:t] ** 2, axis=0) / (1 - 0.999**t)
        theta = (1 - lr * decay) * theta - lr * m / (np.sqrt(s) + 1e-8)
    return theta


@pytest.mark.equation("eq-optimizers-adam")
def test_adam():
    assert_all_equal(_adam, Adam(0.05), lambda p: torch.optim.Adam(p, lr=0.05))


@pytest.mark.parametrize("g", [-400.0, 1e-3, 7.0])
def test_the_first_step_of_adam_is_one_learning_rate(g):
    adam = Adam(0.02)
    theta, _ = adam.step(np.zeros(1), np.array([g]), adam.init(np.zeros(1)))
    assert theta[0] == pytest.approx(-0.02 * math.copysign(1, g), rel=1e-4)  # eps / |g| = 1e-5


@pytest.mark.equation("eq-optimizers-dampening")
@pytest.mark.parametrize("tau", [0.3, 0.8, 1.0])
def test_dampening(tau):
    def printed(grads):
        theta = START
        for t in range(1, len(grads) + 1):
            fading = 0.8 ** np.arange(t - 1, -1, -1)[:, None]
            shares = np.where(np.arange(t) == 0, 1, 1 - tau)[:, None]
            theta = theta - 0.02 * np.sum(fading * shares * grads[:t], axis=0)
        return theta

    assert_all_equal(
        printed,
        SGD(0.02, momentum=0.8, dampening=tau),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8, dampening=tau),
    )


def test_damped_by_its_own_factor_the_velocity_is_a_mean():
    sgd, g = SGD(0.1, momentum=0.7, dampening=0.7), np.array([2.0, -0.5])
    theta, state = np.zeros(2), sgd.init(np.zeros(2))
    for _ in range(20):
        theta, state = sgd.step(theta, g, state)
        np.testing.assert_allclose(state["v"], g, rtol=ROUNDING)


@pytest.mark.equation("eq-optimizers-centred")
def test_centred_rmsprop():
    def printed(grads):
        theta = START
        for t, g in enumerate(grads, start=1):
            # The variance of the gradients, and of a zero for what the weights lack to 1.
            weights = 0.05 * 0.95 ** np.arange(t - 1, -1, -1)
            samples = np.vstack([grads[:t], 0 * g])
            shares = np.append(weights, 1 - weights.sum())
            spread = np.sqrt(np.cov(samples.T, aweights=shares, ddof=0).diagonal())
            theta = theta - 0.03 * g / (spread + 1e-8)
        return theta

    assert_all_equal(
        printed,
        RMSProp(0.03, decay=0.95, centered=True),
        lambda p: torch.optim.RMSprop(p, lr=0.03, alpha=0.95, centered=True),
    )


@pytest.mark.equation("eq-optimizers-amsgrad")
def test_amsgrad():
    def printed(grads):
        theta, squares = START, []
        for t in range(1, len(grads) + 1):
            age = np.arange(t - 1, -1, -1)[:, None]
            m = 0.1 * np.sum(0.9**age * grads[:t], axis=0) / (1 - 0.9**t)
            squares.append(0.2 * np.sum(0.8**age * grads[:t] ** 2, axis=0))
            root = np.sqrt(np.max(squares, axis=0) / (1 - 0.8**t))
            theta = theta - 0.05 * m / (root + 1e-8)
        return theta

    assert_all_equal(
        printed,
        Adam(0.05, beta2=0.8, amsgrad=True),
        lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.9, 0.8), amsgrad=True),
    )


def test_where_adam_goes_uphill_amsgrad_goes_down():
    # Of three steps, without the first: after the 4 the root is nearly 4, then it is nearly 1.
    ways = {}
    for amsgrad in (False, True):
        adam = Adam(0.01, beta1=0.0, beta2=1 / 17, amsgrad=amsgrad)
        theta, state = np.zeros(1), adam.init(np.zeros(1))
        for g in [4.0, -1.0, -1.0] * 100:
            theta, state = adam.step(theta, np.array([g]), state)
        ways[amsgrad] = theta[0]
    squares = np.array([16.0, 1.0, 1.0])  # of the three slopes, newest last: s in the long run
    s = [16 / 17 * sum(squares[(i - k) % 3] / 17**k for k in range(30)) for i in range(3)]
    period = np.array([4.0, -1.0, -1.0]) @ (1 / np.sqrt(s))
    assert ways[False] == pytest.approx(-0.01 * 100 * period, rel=0.01)
    assert ways[True] == pytest.approx(-0.01 * 100 * 2 / math.sqrt(s[0]), rel=0.01)
    assert ways[True] < 0 < ways[False]


@pytest.mark.equation("eq-optimizers-decay")
def test_in_sgd_an_l2_term_is_weight_decay():
    lr, decay, g = 0.1, 0.3, gradients(1)[0]
    sgd = SGD(lr, weight_decay=decay)
    ours, _ = sgd.step(START, g, sgd.init(START))
    np.testing.assert_allclose(ours, START - lr * (g + decay * START), atol=ROUNDING)
    np.testing.assert_allclose(ours, (1 - lr * decay) * START - lr * g, atol=ROUNDING)
    term = torch.tensor(START, requires_grad=True)
    (0.5 * decay * (term**2).sum()).backward()
    np.testing.assert_allclose(term.grad.numpy(), decay * START, atol=ROUNDING)


@pytest.mark.equation("eq-optimizers-adamw")
def test_adamw():
    assert_all_equal(
        lambda grads: _adam(grads, decay=0.4),
        AdamW(0.05, weight_decay=0.4),
        lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.4),
    )


def test_in_adam_an_l2_term_is_not_weight_decay():
    grads = gradients()
    l2 = by_torch(lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.4), grads)
    assert np.abs(l2 - by_class(AdamW(0.05, weight_decay=0.4), grads)).max() > 0.1


def torch_rates(make, lr, n):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule, rates = make(optimizer), []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.equation("eq-optimizers-step")
def test_step_decay():
    ours = [step_decay(0.2, factor=0.3, every=7)(t) for t in range(40)]
    assert ours == pytest.approx([0.2 * 0.3 ** math.floor(t / 7) for t in range(40)], rel=ROUNDING)
    lr = torch.optim.lr_scheduler
    theirs = torch_rates(lambda o: lr.StepLR(o, step_size=7, gamma=0.3), 0.2, 40)
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.equation("eq-optimizers-cosine")
def test_cosine():
    ours = [cosine(0.2, steps=30, final=0.01)(t) for t in range(31)]
    printed = [0.01 + 0.5 * (0.2 - 0.01) * (1 + math.cos(math.pi * t / 30)) for t in range(31)]
    assert ours == pytest.approx(printed, rel=ROUNDING)
    lr = torch.optim.lr_scheduler
    theirs = torch_rates(lambda o: lr.CosineAnnealingLR(o, T_max=30, eta_min=0.01), 0.2, 31)
    assert ours == pytest.approx(theirs, rel=1e-9)  # torch multiplies from step to step


@pytest.mark.equation("eq-optimizers-warmup")
def test_warmup():
    then = cosine(0.2, steps=20)
    ours = [warmup(then, steps=5)(t) for t in range(25)]
    assert ours == pytest.approx(
        [(t + 1) / 5 * 0.2 if t < 5 else then(t - 5) for t in range(25)], rel=ROUNDING
    )
    lr = torch.optim.lr_scheduler
    theirs = torch_rates(lambda o: lr.LinearLR(o, start_factor=0.2, total_iters=4), 0.2, 6)
    flat = [warmup(constant(0.2), steps=5)(t) for t in range(6)]
    assert flat == pytest.approx(theirs, rel=1e-9)
