"""PyTorch as calculator: the same gradient, the same training, nothing copied."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from course_lib import SGD, Adam, fit, losses, mlp
from course_lib.parallel import train
from course_lib.parallel.strategies.local_gradient import RowNoise
from course_lib.parallel.strategies.torch_backend import TorchModel

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)

TARGETS = {
    "mse": X[:, 1:4],
    "mae": X[:, 1:4],
    "huber": X[:, 1:4],
    "binary_cross_entropy": (X[:, 1:4] > 0) * 1.0,
    "softmax_cross_entropy": Y,
    "hinge": Y,
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", sorted(losses.ALL))
def test_loss_and_gradient_are_those_of_the_network(loss, dtype):
    net = mlp([7, 6, 3], hidden="tanh", loss=loss)
    theta = RNG.normal(size=net.n_params).astype(dtype)
    expected, gradient = net.loss_and_grad(theta, X.astype(dtype), TARGETS[loss], denominator=80)
    model = TorchModel(net)
    for _ in range(2):  # a second call must not add to the first
        out = np.full_like(theta, np.nan)
        got, same = model.loss_and_grad(
            theta, X.astype(dtype), TARGETS[loss], denominator=80, out=out
        )
        tolerance = 20 * float(np.finfo(dtype).eps)
        assert got == pytest.approx(expected, rel=tolerance)
        assert same is out
        assert same.dtype == dtype
        np.testing.assert_allclose(same, gradient, rtol=0, atol=tolerance * np.abs(gradient).max())


def test_parameters_changed_in_place_are_seen():
    net = mlp([7, 6, 3])
    theta, model = net.init(np.random.default_rng(0)), TorchModel(net)
    model.loss_and_grad(theta, X, Y, denominator=53)
    theta *= 1.5
    _, gradient = model.loss_and_grad(theta, X, Y, denominator=53)
    np.testing.assert_allclose(gradient, net.loss_and_grad(theta, X, Y)[1], rtol=0, atol=1e-14)


def test_another_theta_may_come_with_the_same_buffer_and_another_buffer_with_the_same_theta():
    net, out = mlp([7, 6, 3]), [np.zeros(mlp([7, 6, 3]).n_params) for _ in range(2)]
    thetas, model = [net.init(np.random.default_rng(seed)) for seed in (0, 1)], TorchModel(net)
    for t, o in [(0, 0), (1, 0), (1, 1), (0, 1)]:
        _, gradient = model.loss_and_grad(thetas[t], X, Y, denominator=53, out=out[o])
        expected = net.loss_and_grad(thetas[t], X, Y)[1]
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-14)


def test_dropout_takes_our_noise_and_none_without():
    net = mlp([7, 6, 3], dropout=0.5)
    theta, model = net.init(np.random.default_rng(0)), TorchModel(net)

    def noise():
        return RowNoise(np.random.default_rng(3), slice(2, 12), 53)

    for rng in (noise, lambda: None):
        _, expected = net.loss_and_grad(theta, X[2:12], Y[2:12], rng=rng())
        _, got = model.loss_and_grad(theta, X[2:12], Y[2:12], denominator=10, rng=rng())
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01)], ids=["sgd", "adam"])
def test_training_with_torch_on_p_ranks_is_serial_training_with_numpy(optimizer, dropout, workers):
    net = mlp([7, 6, 3], hidden="tanh", dropout=dropout)
    options = {"epochs": 3, "batch_size": 10, "seed": 5, "validation": (XV, YV)}
    reference = fit(net, net.init(np.random.default_rng(5)), optimizer, X, Y, **options)
    result = train(
        net,
        (X, Y),
        optimizer=optimizer,
        workers=workers,
        comm="inprocess",
        backend="torch",
        **options,
    )
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=1e-10)
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-10)
    assert result.replicas_identical
