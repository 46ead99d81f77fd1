"""The gradient check: exact on polynomials, silent on right gradients, loud on planted faults."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from course_lib import activations, gradcheck, losses
from course_lib.network import Activate, Dense, Network, mlp

# With h = 1e-5 in float64 a right gradient is confirmed to 1e-9 or better; 1e-7 leaves room.
RIGHT = 1e-7


@pytest.fixture
def problem():
    """Eleven rows, 7-4-6-3, tanh: layers that are not square, biases that are not zero."""
    rng = np.random.default_rng(0)
    net = mlp([7, 4, 6, 3], hidden="tanh")
    theta = rng.normal(scale=0.5, size=net.n_params)
    return net, theta, rng.normal(size=(11, 7)), rng.integers(0, 3, 11)


def test_central_differences_are_exact_on_a_parabola_and_leave_theta_alone():
    rng = np.random.default_rng(1)
    a, b, theta = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5)
    before = theta.copy()
    numerical = gradcheck.numerical_gradient(lambda t: float(t @ a @ t + b @ t), theta)
    # No third derivative, so only rounding remains: 1e-16 / 1e-5.
    np.testing.assert_allclose(numerical, (a + a.T) @ theta + b, atol=1e-9)
    np.testing.assert_array_equal(theta, before)


def test_the_error_falls_with_h_squared_until_rounding_takes_over():
    theta = np.array([0.7])

    def error(h):
        n = gradcheck.numerical_gradient(lambda t: float(np.exp(t[0])), theta, h)
        return abs(n[0] - np.exp(0.7)) / np.exp(0.7)

    assert error(1e-2) == pytest.approx(1e-4 / 6, rel=0.01)  # h^2 f''' / 6, and exp''' = exp
    assert error(1e-3) == pytest.approx(1e-6 / 6, rel=0.01)
    assert error(1e-5) < 1e-9 < error(1e-12)


def test_float32_could_not_tell_right_from_wrong():
    theta = np.linspace(-1, 1, 5)
    exact = np.exp(theta)
    best = np.inf
    for h in 10.0 ** np.arange(-6, 0):
        up, down = (np.exp((theta + s * h).astype(np.float32)) for s in (1, -1))
        numerical = (up - down) / np.float32(2 * h)
        best = min(best, gradcheck.relative_error(exact, numerical.astype(np.float64)))
    assert best > 1e-5  # a hundred times above what float64 is held to
    with pytest.raises(TypeError, match=r"theta must be float64, got float32; .*astype"):
        gradcheck.numerical_gradient(lambda t: 0.0, theta.astype(np.float32))


def test_relative_error_by_hand():
    e = gradcheck.relative_error
    assert e(np.array([3.0, 4.0]), np.array([3.0, 4.0])) == 0
    assert e(np.array([3.0, 4.0]), np.array([0.0, 0.0])) == 1
    assert e(np.array([3.0, 4.0]), np.array([-3.0, -4.0])) == 2
    assert e(np.array([1.0]), np.array([2.0])) == e(np.array([2.0]), np.array([1.0])) == 0.5
    assert e(np.zeros(2), np.zeros(2)) == 0


def test_a_right_gradient_passes_for_every_parameter_of_every_layer(problem):
    errors = gradcheck.check(*problem)
    assert list(errors) == ["0.W", "0.b", "2.W", "2.b", "4.W", "4.b"]
    assert max(errors.values()) < RIGHT


@dataclass(frozen=True)
class _SummedBias(Dense):
    """The article's second fault: the bias gradient is summed over the units as well."""

    def gradient(self, cache, dy, out):
        super().gradient(cache, dy, out)
        out["b"][:] = out["b"].sum()


@dataclass(frozen=True)
class _MeanOverBatch(Dense):
    def gradient(self, cache, dy, out):
        super().gradient(cache, dy, out)
        out["W"] /= len(dy)


@dataclass(frozen=True)
class _Transposed(Dense):
    """The input gradient uses W where W.T belongs: only possible if W is square."""

    def backward(self, p, cache, dy, *, empty=np.empty):
        return dy @ p["W"]


@dataclass(frozen=True)
class _NoDerivative(Activate):
    """The article's first fault: the error is not multiplied by the activation's derivative."""

    def backward(self, p, cache, dy, *, empty=np.empty):
        return dy


def _with(net, at, layer):
    return Network((*net.layers[:at], layer, *net.layers[at + 1 :]), net.loss)


@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_a_missing_derivative_shows_in_all_layers_before_it_and_in_none_after(problem, hidden):
    _, theta, x, y = problem
    net = mlp([7, 4, 6, 3], hidden=hidden)
    errors = gradcheck.check(_with(net, 3, _NoDerivative(activations.get(hidden))), theta, x, y)
    assert min(errors[name] for name in ("0.W", "0.b", "2.W", "2.b")) > 0.01
    assert max(errors[name] for name in ("4.W", "4.b")) < RIGHT


def test_a_bias_gradient_summed_over_the_units_shows_in_that_bias_alone(problem):
    net, theta, x, y = problem
    errors = gradcheck.check(_with(net, 2, _SummedBias(4, 6)), theta, x, y)
    assert errors.pop("2.b") > 0.1
    assert max(errors.values()) < RIGHT


def test_a_weight_gradient_averaged_twice_shows_in_that_weight_alone(problem):
    net, theta, x, y = problem
    errors = gradcheck.check(_with(net, 2, _MeanOverBatch(4, 6)), theta, x, y)
    assert errors.pop("2.W") == pytest.approx(1 - 1 / len(x))
    assert max(errors.values()) < RIGHT


def test_a_forgotten_transpose_shows_in_the_layers_before_it(problem):
    _, _, x, y = problem
    net = mlp([7, 5, 5, 3], hidden="tanh")
    theta = np.random.default_rng(2).normal(scale=0.5, size=net.n_params)
    errors = gradcheck.check(_with(net, 2, _Transposed(5, 5)), theta, x, y)
    assert min(errors["0.W"], errors["0.b"]) > 0.1
    assert max(errors[name] for name in ("2.W", "2.b", "4.W", "4.b")) < RIGHT


def test_a_loss_gradient_of_the_wrong_size_shows_everywhere(problem):
    _, theta, x, _ = problem
    net = mlp([7, 4, 6, 3], hidden="tanh", loss="mse")
    right = net.loss.f

    def times_outputs(outputs, targets, out=None):
        total, gradient = right(outputs, targets, out)
        return total, gradient * outputs.shape[1]

    wrong = Network(net.layers, replace(net.loss, f=times_outputs))
    errors = gradcheck.check(wrong, theta, x, np.random.default_rng(3).normal(size=(11, 3)))
    np.testing.assert_allclose(list(errors.values()), 1 - 1 / 3, rtol=1e-6)


def test_an_array_whose_gradient_is_exactly_zero_is_not_an_error():
    """A hinge that pulls a bias up as often as down: the estimate is rounding, the gradient 0."""
    net = Network((Dense(2, 1),), losses.hinge)
    x, y = np.array([[0.3, 0.1], [0.2, -0.4]]), np.array([0, 1])
    theta = np.array([0.1, 0.2, 0.05])
    _, gradient = net.loss_and_grad(theta, x, y)
    assert gradient[2] == 0
    numerical = gradcheck.numerical_gradient(lambda t: net.loss_value(t, x, y), theta)
    numerical[2] += 2e-11  # what rounding leaves here depends on the machine
    longest = np.linalg.norm(numerical)
    assert gradcheck.relative_error(gradient[2:], numerical[2:]) == 1
    assert gradcheck.relative_error(gradient[2:], numerical[2:], floor=0.01 * longest) < RIGHT
    assert max(gradcheck.check(net, theta, x, y).values()) < RIGHT


def test_a_wrong_array_far_shorter_than_the_others_still_shows(problem):
    net, theta, x, y = problem
    layers = net.unpack(theta)
    layers[4]["W"] *= 1e-5  # what comes before the last layer hardly matters
    errors = gradcheck.check(_with(net, 2, _SummedBias(4, 6)), theta, x, y)
    assert errors.pop("2.b") > 1e-5
    assert max(errors.values()) < RIGHT


def test_bad_arguments_are_refused():
    def f(t):
        return 0.0

    with pytest.raises(ValueError, match=r"theta must be a vector, got shape \(2, 1\)"):
        gradcheck.numerical_gradient(f, np.zeros((2, 1)))
    with pytest.raises(ValueError, match="h must be a finite number > 0, got 0"):
        gradcheck.numerical_gradient(f, np.zeros(2), h=0)
    net = mlp([2, 2])
    with pytest.raises(TypeError, match="theta must be float64, got float32"):
        gradcheck.check(net, np.zeros(6, np.float32), np.zeros((1, 2)), [0])


def test_a_gradient_with_nan_passes_no_limit_wherever_it_stands():
    """`max` of numbers with NaN is whatever came first, so NaN counts as infinite."""
    errors = [
        gradcheck.relative_error(np.array([1.0, bad]), np.ones(2)) for bad in (1.0, np.nan, np.inf)
    ]
    assert errors == [0.0, np.inf, np.inf]
    assert not max(errors) < 1e-6


def test_gradients_of_other_shapes_are_not_broadcast():
    with pytest.raises(ValueError, match=r"same shape, got \(3,\) and \(3, 1\)"):
        gradcheck.relative_error(np.ones(3), np.ones((3, 1)))


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e-160, 1.0, 1e160, 1e300])
def test_a_relative_error_does_not_depend_on_the_size(size: float) -> None:
    a = np.array([1.0, -2.0, 0.5]) * size
    assert gradcheck.relative_error(a, 2 * a) == pytest.approx(0.5, rel=1e-12)
    assert gradcheck.relative_error(a, -a) == pytest.approx(2.0, rel=1e-12)
    assert gradcheck.relative_error(a, a) == 0.0
    assert gradcheck.relative_error(a, 2 * a, floor=4 * 2.5 * size) == pytest.approx(
        np.sqrt(5.25) / 10, rel=1e-12
    )


def test_a_relative_error_keeps_its_bits_where_nothing_over_or_underflows() -> None:
    rng = np.random.default_rng(0)
    a, n = rng.normal(size=(2, 50))
    scale = max(np.linalg.norm(a), np.linalg.norm(n))
    assert gradcheck.relative_error(a, n) == float(np.linalg.norm(a - n)) / scale
    assert gradcheck.relative_error(np.zeros(3), np.zeros(3)) == 0.0
    assert gradcheck.relative_error(np.zeros(0), np.zeros(0)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_infinitely_wrong(bad: float) -> None:
    for a, n in (([bad], [1.0]), ([1.0], [bad]), ([bad], [bad])):
        assert gradcheck.relative_error(np.array(a), np.array(n)) == np.inf


@pytest.mark.parametrize(
    "f", [lambda t: t, lambda t: t[:1], lambda t: None, lambda t: "1", lambda t: 1j], ids="va1tj"
)
def test_a_function_that_returns_no_number_has_no_gradient(f) -> None:
    with pytest.raises(TypeError, match="numerical_gradient: f must return a number, got"):
        gradcheck.numerical_gradient(f, np.ones(2))
    assert gradcheck.numerical_gradient(lambda t: np.array(t[0]), np.ones(2)).round(6).tolist() == [
        1.0,
        0.0,
    ]
