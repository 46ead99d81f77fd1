"""The equations of the chapter "A network in NumPy", each computed a second way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from course_lib import SGD, accuracy, losses, mlp

TIGHT = {"rtol": 1e-10, "atol": 1e-14}  # float64, a few dozen additions


def network(seed=0):
    """Weights, a batch, and PyTorch's derivatives by everything: the oracle."""
    rng = np.random.default_rng(seed)
    net = mlp([7, 6, 3])
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    x, y = rng.normal(size=(5, 7)), rng.integers(0, 3, 5)
    tree = net.unpack(theta)
    W1, b1, W2, b2 = (torch.tensor(tree[i][n], requires_grad=True) for i in (0, 2) for n in "Wb")
    z1 = torch.tensor(x) @ W1 + b1
    z2 = torch.relu(z1) @ W2 + b2
    for t in (z1, z2):
        t.retain_grad()
    loss = torch.nn.functional.cross_entropy(z2, torch.tensor(y))
    loss.backward()
    return net, theta, x, y, (W1, b1, W2, b2), (z1, z2), loss


def numpy(*tensors):
    return [t.detach().numpy() for t in tensors]


@pytest.mark.equation("eq-numpy-network-forward")
def test_the_forward_pass_is_two_products_and_a_maximum():
    net, theta, x, _, params, (_, z2), _ = network()
    W1, b1, W2, b2 = numpy(*params)
    printed = np.maximum(x @ W1 + b1, 0) @ W2 + b2
    np.testing.assert_allclose(printed, z2.detach().numpy(), **TIGHT)
    np.testing.assert_allclose(net.forward(theta, x)[0], printed, **TIGHT)


@pytest.mark.equation("eq-numpy-network-loss")
def test_the_loss_is_the_mean_surprise_at_the_labels():
    net, theta, x, y, _, (_, z2), loss = network()
    rows = [[math.exp(v) for v in row] for row in z2.tolist()]
    by_hand = -sum(math.log(row[c] / sum(row)) for row, c in zip(rows, y, strict=True)) / 5
    assert net.loss_value(theta, x, y) == pytest.approx(by_hand, rel=1e-10)
    assert net.loss_value(theta, x, y) == pytest.approx(loss.item(), rel=1e-10)


@pytest.mark.equation("eq-numpy-network-backward")
def test_the_error_starts_as_p_minus_y_and_passes_only_units_that_are_on():
    net, theta, x, y, params, (z1, z2), _ = network()
    W2 = numpy(*params)[2]
    p = net.predict_proba(theta, x)
    dz2 = (p - np.eye(3)[y]) / 5
    np.testing.assert_allclose(dz2, z2.grad.numpy(), **TIGHT)
    dz1 = (dz2 @ W2.T) * (z1.detach().numpy() > 0)
    np.testing.assert_allclose(dz1, z1.grad.numpy(), **TIGHT)
    _, dy = losses.softmax_cross_entropy(net.forward(theta, x)[0], y)
    np.testing.assert_allclose(dy / 5, dz2, **TIGHT)


@pytest.mark.equation("eq-numpy-network-gradients")
def test_the_gradients_are_products_and_sums_over_rows():
    net, theta, x, y, params, (z1, z2), _ = network()
    dz1, dz2 = z1.grad.numpy(), z2.grad.numpy()
    a1 = np.maximum(z1.detach().numpy(), 0)
    printed = [x.T @ dz1, dz1.sum(axis=0), a1.T @ dz2, dz2.sum(axis=0)]
    tree = net.unpack(net.loss_and_grad(theta, x, y)[1])
    ours = [tree[i][n] for i in (0, 2) for n in "Wb"]
    for formula, package, tensor in zip(printed, ours, params, strict=True):
        np.testing.assert_allclose(formula, tensor.grad.numpy(), **TIGHT)
        np.testing.assert_allclose(package, tensor.grad.numpy(), **TIGHT)


@pytest.mark.equation("eq-numpy-network-update")
def test_the_step_changes_each_array_by_its_own_gradient():
    net, theta, x, y, params, _, _ = network()
    _, gradient = net.loss_and_grad(theta, x, y)
    stepped, _ = SGD(lr=0.5).step(theta, gradient, SGD(lr=0.5).init(theta))
    torch.optim.SGD(params, lr=0.5).step()
    expected = np.concatenate([v.ravel() for v in numpy(*params)])
    np.testing.assert_allclose(stepped, expected, **TIGHT)


@pytest.mark.equation("eq-numpy-network-start")
@pytest.mark.parametrize("classes", [2, 10, 26])
def test_a_network_that_knows_nothing_has_the_loss_log_k(classes):
    net = mlp([4, 3, classes])
    x, y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6) % classes
    loss = net.loss_value(np.zeros(net.n_params), x, y)
    assert loss == pytest.approx(math.log(classes), rel=1e-12)
    even = torch.nn.functional.cross_entropy(torch.zeros(6, classes), torch.tensor(y))
    assert loss == pytest.approx(even.item(), rel=1e-6)  # PyTorch's default is float32


@pytest.mark.equation("eq-numpy-network-accuracy")
def test_accuracy_is_the_share_of_right_answers():
    net, theta, x, y, *_ = network(seed=3)
    answers = net.predict(theta, x)
    by_counting = sum(int(a == t) for a, t in zip(answers, y, strict=True)) / 5
    assert 0 < by_counting < 1  # else the test could not tell right from wrong
    assert accuracy(net, theta, x, y) == pytest.approx(by_counting)
    assert accuracy(net, theta, x, y) == pytest.approx(accuracy_score(y, answers))
