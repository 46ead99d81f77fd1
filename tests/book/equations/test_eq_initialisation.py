"""The equations of the chapter Initialisation, as printed there, against course_lib."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from course_lib import activations, weights
from course_lib.layers import Dense
from course_lib.losses import mse
from course_lib.network import Activate, Network

SMOOTH = ("sigmoid", "tanh", "gelu", "silu", "softplus")
NODES, BELL = np.polynomial.hermite_e.hermegauss(100)


def mean_over_bell(h):
    """Return E[h(Z)], as eq-initialisation-quadrature prints it."""
    return np.sum(BELL * h(NODES)) / math.sqrt(2 * math.pi)


def by_trapezoids(h):
    """Return E[h(Z)] by the trapezoidal rule with 240,000 steps, good to about 1e-9."""
    t = np.linspace(-12, 12, 240_001)
    return np.trapezoid(h(t) * np.exp(-(t**2) / 2), t) / math.sqrt(2 * math.pi)


@pytest.mark.equation("eq-initialisation-quadrature")
def test_the_sum_over_nodes_is_the_mean_over_the_bell():
    for power, moment in ((0, 1), (1, 0), (2, 1), (4, 3), (6, 15)):
        assert mean_over_bell(lambda t, k=power: t**k) == pytest.approx(moment, abs=1e-11)
    assert mean_over_bell(np.cos) == pytest.approx(math.exp(-0.5), abs=1e-13)
    for name in SMOOTH:
        f = activations.get(name)
        # Poles of tanh and its relatives off the real axis limit 100 nodes to about 1e-6.
        squares = [way(lambda t, f=f: f(t) ** 2) for way in (mean_over_bell, by_trapezoids)]
        assert squares[0] == pytest.approx(squares[1], abs=1e-6)


@pytest.mark.equation("eq-initialisation-map")
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "leaky_relu"])
def test_the_size_of_the_next_layer_follows_the_map(name):
    f, g, sigma_b, n = activations.get(name), 1.3, 0.5, 300
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1.4, size=(50, n))  # pre-activations
    layer = Dense(n, 400, lambda r, m, k: r.normal(0, g / math.sqrt(m), (m, k)))
    sizes = []
    for _ in range(20):
        p = layer.init(rng) | {"b": rng.normal(0, sigma_b, 400)}
        sizes.append(np.mean(layer.forward(p, f(x))[0] ** 2))
    printed = g**2 * mean_over_bell(lambda t: f(1.4 * t) ** 2) + sigma_b**2
    assert np.mean(sizes) == pytest.approx(printed, rel=0.03)  # 8,000 units: about 1 %


@pytest.mark.equation("eq-initialisation-gain")
def test_with_the_right_gain_a_signal_of_size_one_stays_at_size_one():
    for name in ("relu", "leaky_relu", *SMOOTH):
        f = activations.get(name)
        printed = 1 / math.sqrt(mean_over_bell(lambda t, f=f: f(t) ** 2))
        assert printed**2 * by_trapezoids(lambda t, f=f: f(t) ** 2) == pytest.approx(1, abs=1e-5)
    torch = pytest.importorskip("torch")
    g = 1 / math.sqrt(mean_over_bell(lambda t: activations.relu(t) ** 2))
    assert g == pytest.approx(torch.nn.init.calculate_gain("relu"), rel=1e-12)


@pytest.mark.equation("eq-initialisation-leaky")
@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.2, 1.0])
def test_the_gain_of_a_leaky_relu_is_that_of_torch_and_of_the_integral(alpha):
    torch = pytest.importorskip("torch")
    printed = math.sqrt(2 / (1 + alpha**2))
    assert printed == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", alpha), rel=1e-12)
    if alpha == 0.01:  # the slope of course_lib's
        square = mean_over_bell(lambda t: activations.leaky_relu(t) ** 2)
        assert printed == pytest.approx(1 / math.sqrt(square), rel=1e-12)


@pytest.mark.equation("eq-initialisation-chi")
@pytest.mark.parametrize("name", ["tanh", "relu", "silu"])
def test_the_gradient_is_multiplied_by_chi(name):
    f, g, q, n = activations.get(name), 1.2, 2.0, 400
    rng = np.random.default_rng(1)
    z = rng.normal(0, math.sqrt(q), size=(50, n))
    dz_next = 0.3 + rng.normal(size=(50, n))
    layer, act, sizes = Dense(n, n), Activate(f), []
    for _ in range(10):
        p = {"W": rng.normal(0, g / math.sqrt(n), (n, n)), "b": np.zeros(n)}
        dz = act.backward({}, (z, f(z)), layer.backward(p, f(z), dz_next))
        sizes.append(np.mean(dz**2))
    printed = g**2 * mean_over_bell(lambda t: f.df(math.sqrt(q) * t, f(math.sqrt(q) * t)) ** 2)
    assert np.mean(sizes) / np.mean(dz_next**2) == pytest.approx(printed, rel=0.03)


@pytest.mark.equation("eq-initialisation-cosine")
@pytest.mark.parametrize("phi", [0.3, math.pi / 3, math.pi / 2, 2.5])
def test_a_wide_relu_layer_turns_the_angle_into_this_one(phi):
    n = 200_000  # units; the cosine of their activations is good to about 1 / sqrt(n) = 0.002
    x = np.array([[1.0, 0.0, 0.0], [math.cos(phi), math.sin(phi), 0.0]])
    a = activations.relu(x @ weights.he_normal(np.random.default_rng(2), 3, n))
    measured = a[0] @ a[1] / (np.linalg.norm(a[0]) * np.linalg.norm(a[1]))
    printed = (math.sin(phi) + (math.pi - phi) * math.cos(phi)) / math.pi
    assert measured == pytest.approx(printed, abs=0.01)


@pytest.mark.equation("eq-initialisation-jacobian")
def test_the_jacobian_is_the_product_of_weights_and_slopes():
    rng = np.random.default_rng(3)
    sizes, layers = (7, 6, 4, 3), []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [Dense(fan_in, fan_out), Activate(activations.tanh)]
    net = Network(tuple(layers), mse)
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    x = rng.normal(size=(1, 7))
    printed, a = np.eye(7), x
    for p in net.unpack(theta)[::2]:
        a = np.tanh(a @ p["W"] + p["b"])
        printed = printed @ p["W"] @ np.diag(1 - a[0] ** 2)
    _, caches = net.forward(theta, np.tile(x, (3, 1)))
    dx, _ = net.backward(theta, caches, np.eye(3))
    np.testing.assert_allclose(dx.T, printed, atol=1e-14)
    h = 1e-6 * np.eye(7)
    nudged = (net.forward(theta, x + h)[0] - net.forward(theta, x - h)[0]) / 2e-6
    np.testing.assert_allclose(nudged, printed, atol=1e-8)


@pytest.mark.equation("eq-initialisation-width")
@pytest.mark.parametrize(("n", "depth"), [(64, 1), (200, 1), (100, 4)])
def test_the_size_fluctuates_like_one_over_the_root_of_the_width(n, depth):
    rng = np.random.default_rng(4)
    sizes = []
    for _ in range(1500):
        a = np.ones(n)
        for _ in range(depth):
            a = activations.relu(a @ weights.he_normal(rng, n, n))
        sizes.append(np.mean(a**2))
    printed = math.sqrt((1 + 5 / n) ** depth - 1)
    if depth == 1:
        assert printed == pytest.approx(math.sqrt(5 / n), rel=1e-12)
    # The standard deviation of 1,500 draws is good to about 3 % (heavier tails: 5 %).
    assert np.std(sizes) / np.mean(sizes) == pytest.approx(printed, rel=0.15)


@pytest.mark.equation("eq-initialisation-residual")
def test_the_gradient_of_a_residual_block_is_the_sum_of_both_roads():
    rng = np.random.default_rng(5)
    layer, f = Dense(5, 5), activations.tanh
    p = {"W": rng.normal(size=(5, 5)), "b": rng.normal(size=5)}
    x, dy = rng.normal(size=(1, 5)), rng.normal(size=(1, 5))

    def block(x):
        return x + f(layer.forward(p, x)[0])

    z, cache = layer.forward(p, x)
    slopes = f.df(z, f(z))
    jacobian = p["W"] * slopes  # inputs by outputs: W D
    printed = dy + dy @ jacobian.T
    np.testing.assert_allclose(dy + layer.backward(p, cache, dy * slopes), printed, atol=1e-14)
    h = 1e-6 * np.eye(5)
    nudged = (block(x + h) - block(x - h)) @ dy[0] / 2e-6
    np.testing.assert_allclose(nudged, printed[0], atol=1e-8)


def _normalise(z, axis, eps=1e-5):
    m, v = z.mean(axis, keepdims=True), z.var(axis, keepdims=True)
    return (z - m) / np.sqrt(v + eps)


@pytest.mark.equation("eq-initialisation-normalise")
def test_both_normalisations_are_those_of_torch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    z = np.random.default_rng(6).normal(2, 3, size=(9, 6))
    by_row = functional.layer_norm(torch.tensor(z), (6,)).numpy()
    by_unit = functional.batch_norm(torch.tensor(z), None, None, training=True).numpy()
    np.testing.assert_allclose(_normalise(z, axis=1), by_row, atol=1e-13)
    np.testing.assert_allclose(_normalise(z, axis=0), by_unit, atol=1e-13)


@pytest.mark.equation("eq-initialisation-normalise-back")
def test_the_backward_pass_of_layer_normalisation_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    z, dz_hat = rng.normal(2, 3, size=(9, 6)), rng.normal(size=(9, 6))
    hat, v = _normalise(z, axis=1), z.var(axis=1, keepdims=True)
    along = (dz_hat * hat).mean(axis=1, keepdims=True)
    printed = (dz_hat - dz_hat.mean(axis=1, keepdims=True) - hat * along) / np.sqrt(v + 1e-5)
    leaf = torch.tensor(z, requires_grad=True)
    torch.nn.functional.layer_norm(leaf, (6,)).backward(torch.tensor(dz_hat))
    np.testing.assert_allclose(printed, leaf.grad.numpy(), atol=1e-13)


def test_the_constants_of_selu_keep_mean_zero_and_mean_square_one():
    torch = pytest.importorskip("torch")
    alpha, scale = 1.6732632423543772, 1.0507009873554805

    def selu(t):
        return scale * np.where(t > 0, t, alpha * np.expm1(np.minimum(t, 0)))

    t = np.linspace(-3, 3, 13)
    theirs = torch.nn.functional.selu(torch.tensor(t)).numpy()
    np.testing.assert_allclose(selu(t), theirs, atol=1e-15)
    assert by_trapezoids(selu) == pytest.approx(0, abs=1e-8)
    assert by_trapezoids(lambda t: selu(t) ** 2) == pytest.approx(1, abs=1e-8)
    np.testing.assert_allclose(
        selu(t), scale * np.where(t > 0, t, alpha * activations.elu(t)), atol=1e-15
    )
