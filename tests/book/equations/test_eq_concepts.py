"""The equations of the chapter The concepts, as printed there, against course_lib."""

from __future__ import annotations

import math

import numpy as np
import pytest

from course_lib import SGD, gradcheck, mlp
from course_lib.data import batches

H = 3


def _theta(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=3 * H + 1)


def _printed(x: float, theta: np.ndarray) -> float:
    w, b, v, c = theta[:H], theta[H : 2 * H], theta[2 * H : 3 * H], theta[3 * H]
    return sum(v[j] * math.tanh(w[j] * x + b[j]) for j in range(H)) + c


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(5, 1)), rng.normal(size=5)


@pytest.mark.equation("eq-concepts-network")
def test_the_tiny_network_is_the_sum_over_its_hidden_neurons():
    net, theta, (x, _) = mlp([1, H, 1], hidden="tanh", loss="mse"), _theta(), _data()
    assert net.n_params == 3 * H + 1
    outputs, _ = net.forward(theta, x)
    for row, output in zip(x, outputs, strict=True):
        assert output[0] == pytest.approx(_printed(row[0], theta), rel=1e-13)


@pytest.mark.equation("eq-concepts-loss")
def test_the_loss_is_the_mean_of_the_squared_errors_as_in_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    net, theta, (x, y) = mlp([1, H, 1], hidden="tanh", loss="mse"), _theta(), _data()
    outputs = [_printed(row[0], theta) for row in x]
    printed = sum((outputs[i] - y[i]) ** 2 for i in range(5)) / 5
    assert net.loss_value(theta, x, y) == pytest.approx(printed, rel=1e-13)
    assert printed == pytest.approx(metrics.mean_squared_error(y, outputs), rel=1e-13)


@pytest.mark.equation("eq-concepts-gradient")
def test_the_gradient_is_the_limit_of_the_nudges_and_what_torch_finds():
    torch = pytest.importorskip("torch")
    net, theta, (x, y) = mlp([1, H, 1], hidden="tanh", loss="mse"), _theta(), _data()
    _, g = net.loss_and_grad(theta, x, y)
    errors = []
    for h in (1e-2, 1e-3, 1e-4):  # central differences: a tenth of h, a hundredth of the error
        nudged = np.empty_like(g)
        for k, e in enumerate(np.eye(len(theta))):
            up, down = net.loss_value(theta + h * e, x, y), net.loss_value(theta - h * e, x, y)
            nudged[k] = (up - down) / (2 * h)
        errors.append(np.abs(nudged - g).max())
    assert errors[1] < errors[0] / 50
    assert errors[2] < 1e-7
    np.testing.assert_allclose(
        gradcheck.numerical_gradient(lambda t: net.loss_value(t, x, y), theta), g, atol=1e-8
    )
    t = torch.tensor(theta, requires_grad=True)
    w, b, v, c = t[:H], t[H : 2 * H], t[2 * H : 3 * H], t[3 * H]
    outputs = torch.tanh(torch.tensor(x) * w + b) @ v + c
    ((outputs - torch.tensor(y)) ** 2).mean().backward()
    np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.equation("eq-concepts-step")
def test_a_step_is_that_of_torch():
    torch = pytest.importorskip("torch")
    theta, g, eta = _theta(2), _theta(3), 0.07
    sgd = SGD(eta)
    ours, _ = sgd.step(theta, g, sgd.init(theta))
    parameter = torch.tensor(theta, requires_grad=True)
    parameter.grad = torch.tensor(g)
    torch.optim.SGD([parameter], lr=eta).step()
    np.testing.assert_allclose(ours, theta - eta * g, rtol=1e-15)
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-14)


@pytest.mark.equation("eq-concepts-turn")
@pytest.mark.parametrize(("x", "eta"), [(2.0, 0.1), (2.0, 0.25), (3.0, 0.2), (-0.5, 0.7)])
def test_one_turn_multiplies_the_error_by_the_printed_factor(x, eta):
    net, y, w = mlp([1, 1], loss="mse"), 1.0, 1.3
    _, g = net.loss_and_grad(np.array([w, 0.0]), np.array([[x]]), np.array([y]))
    sgd = SGD(eta)
    stepped, _ = sgd.step(np.array([w, 0.0]), g * [1, 0], sgd.init(np.zeros(2)))
    printed = (1 - 2 * eta * x**2) * (w * x - y)
    assert stepped[0] * x - y == pytest.approx(printed, rel=1e-12, abs=1e-14)


def test_the_table_by_hand():
    w, rows = 1.0, []
    for _ in range(3):
        out = w * 2
        slope = 2 * (out - 1) * 2
        new = w - 0.1 * slope
        rows.append((out, (out - 1) ** 2, slope, new))
        w = new
    table = [(2, 1, 4, 0.6), (1.2, 0.04, 0.8, 0.52), (1.04, 0.0016, 0.16, 0.504)]
    np.testing.assert_allclose(rows, table, rtol=1e-12)


@pytest.mark.equation("eq-concepts-steps")
@pytest.mark.parametrize(("n", "size"), [(14, 5), (1438, 32), (10, 5), (3, 8), (7, 1)])
def test_an_epoch_has_n_over_b_steps_rounded_up(n, size):
    parts = [len(rows) for rows in batches(n, size, seed=0, epoch=0)]
    assert len(parts) == math.ceil(n / size) == -(-n // size)
    assert sum(parts) == n
