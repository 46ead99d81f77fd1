"""The formulas of the chapter on activations, typed as printed, against the package."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from course_lib import activations as act
from course_lib import mlp

# None is 0 (a corner), and all formulas below are safe from overflow here.
Z = np.linspace(-6.0, 6.0, 100)


def _sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def _cdf(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def _density(z: float) -> float:
    return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _tanh(z: float) -> float:
    return (math.exp(z) - math.exp(-z)) / (math.exp(z) + math.exp(-z))


Formula = Callable[[float], float]
PRINTED: dict[str, tuple[Formula, Formula]] = {
    "sigmoid": (_sigma, lambda z: _sigma(z) * (1 - _sigma(z))),
    "tanh": (_tanh, lambda z: 1 - _tanh(z) ** 2),
    "relu": (lambda z: max(0.0, z), lambda z: 1.0 if z > 0 else 0.0),
    "leaky_relu": (lambda z: z if z > 0 else 0.01 * z, lambda z: 1.0 if z > 0 else 0.01),
    "elu": (lambda z: z if z > 0 else math.exp(z) - 1, lambda z: 1.0 if z > 0 else math.exp(z)),
    "gelu": (lambda z: z * _cdf(z), lambda z: _cdf(z) + z * _density(z)),
    "silu": (
        lambda z: z * _sigma(z),
        lambda z: _sigma(z) + z * _sigma(z) * (1 - _sigma(z)),
    ),
    "softplus": (lambda z: math.log(1 + math.exp(z)), _sigma),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sigmoid", marks=pytest.mark.equation("eq-activations-sigmoid")),
        pytest.param("tanh", marks=pytest.mark.equation("eq-activations-tanh")),
        pytest.param("relu", marks=pytest.mark.equation("eq-activations-relu")),
        pytest.param("leaky_relu", marks=pytest.mark.equation("eq-activations-leaky-relu")),
        pytest.param("elu", marks=pytest.mark.equation("eq-activations-elu")),
        pytest.param("gelu", marks=pytest.mark.equation("eq-activations-gelu")),
        pytest.param("silu", marks=pytest.mark.equation("eq-activations-silu")),
        pytest.param("softplus", marks=pytest.mark.equation("eq-activations-softplus")),
    ],
)
def test_value_and_derivative_are_the_printed_formulas(name: str) -> None:
    """The printed derivative is also the limit of differences of the printed value."""
    value, derivative = PRINTED[name]
    ours = act.ALL[name]
    a = ours(Z)
    # Rounding only: the formulas subtract numbers near 1, which costs some of the 16 digits.
    np.testing.assert_allclose(a, [value(z) for z in Z], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours.df(Z, a), [derivative(z) for z in Z], rtol=1e-9, atol=1e-14)
    h = 1e-5  # the error of central differences is near h^2 f''' / 6, about 1e-11
    differences = [(value(z + h) - value(z - h)) / (2 * h) for z in Z]
    np.testing.assert_allclose(ours.df(Z, a), differences, atol=1e-9)


@pytest.mark.equation("eq-activations-relu")
@pytest.mark.equation("eq-activations-leaky-relu")
@pytest.mark.equation("eq-activations-elu")
def test_at_the_corner_the_lower_case_of_the_formula_holds() -> None:
    """At z = 0 the formulas say 0, 0.01 and e^0 = 1."""
    zero = np.zeros(1)
    for f, slope in ((act.relu, 0.0), (act.leaky_relu, 0.01), (act.elu, 1.0)):
        assert f(zero)[0] == 0
        assert f.df(zero, f(zero))[0] == slope


@pytest.mark.equation("eq-activations-collapse")
def test_layers_without_a_bend_are_one_layer() -> None:
    """(x W1 + b1) W2 + b2 = x (W1 W2) + (b1 W2 + b2), and not so with a bend."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 4))
    net = mlp([4, 6, 3], hidden="identity")
    theta = rng.normal(size=net.n_params)
    first, _, second = net.unpack(theta)
    one_layer = x @ (first["W"] @ second["W"]) + (first["b"] @ second["W"] + second["b"])
    np.testing.assert_allclose(net.forward(theta, x)[0], one_layer, rtol=1e-12)
    bent = mlp([4, 6, 3], hidden="relu").forward(theta, x)[0]
    assert np.abs(bent - one_layer).max() > 0.1


@pytest.mark.equation("eq-activations-vanishing")
def test_slopes_of_a_chain_of_sigmoids_multiply_to_at_most_4_to_the_minus_depth() -> None:
    """One unit per layer, weights 1: d output / d z is the product of the slopes."""
    dense = np.linspace(-20, 20, 4001)
    slopes = act.sigmoid.df(dense, act.sigmoid(dense))
    assert slopes.max() == 0.25 == slopes[2000]
    rng = np.random.default_rng(1)
    for depth in (1, 3, 8):
        z, product = rng.normal(size=50), np.ones(50)
        for _ in range(depth):
            a = act.sigmoid(z)
            product, z = product * act.sigmoid.df(z, a), a + rng.normal()
        assert np.all(product <= 4.0**-depth)
        assert np.all(product > 0)


@pytest.mark.equation("eq-activations-softmax")
def test_softmax_is_exponentials_divided_by_their_sum_row_by_row() -> None:
    """Against the printed quotient in plain Python, and the numbers by hand of the chapter."""
    np.testing.assert_allclose(
        act.softmax(np.array([[0.0, 1.0, 2.0]])), [[0.090, 0.245, 0.665]], atol=5e-4
    )
    scores = np.random.default_rng(2).normal(0, 3, size=(6, 4))
    printed = [
        [math.exp(score) / sum(math.exp(other) for other in row) for score in row]
        for row in scores.tolist()
    ]
    np.testing.assert_allclose(act.softmax(scores), printed, rtol=1e-12)


@pytest.mark.equation("eq-activations-softmax-jacobian")
def test_the_jacobian_of_softmax_couples_all_outputs_of_a_row() -> None:
    """dp_i / dz_j = p_i ([i = j] - p_j), against differences in every entry."""
    z = np.random.default_rng(3).normal(size=5)
    p, h = act.softmax(z), 1e-5
    for i in range(5):
        for j in range(5):
            step = h * np.eye(5)[j]
            difference = (act.softmax(z + step)[i] - act.softmax(z - step)[i]) / (2 * h)
            assert p[i] * ((i == j) - p[j]) == pytest.approx(difference, abs=1e-9)
