"""The equations of the chapter "Backpropagation", each computed a second way."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from course_lib import SGD, Value, activations, gradcheck, mlp
from course_lib.network import Activate, Dense

ROUNDING = 1e-12  # a few additions of numbers near 1: 1e-15 each, with room


def layer(seed=0):
    """A layer that is not square, with biases, and an upstream gradient that is not all ones."""
    rng = np.random.default_rng(seed)
    x, W, b = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    return x, W, b, rng.normal(size=(5, 3))


def torch_layer(x, W, b, dz):
    tensors = [torch.tensor(v, requires_grad=True) for v in (x, W, b)]
    (tensors[0] @ tensors[1] + tensors[2]).backward(torch.tensor(dz))
    return [t.grad.numpy() for t in tensors]


def lib_layer(x, W, b, dz):
    dense, p = Dense(*W.shape), {"W": W, "b": b}
    grads = {"W": np.empty_like(W), "b": np.empty_like(b)}
    _, cache = dense.forward(p, x)
    dense.gradient(cache, dz, grads)
    return dense.backward(p, cache, dz), grads["W"], grads["b"]


@pytest.mark.equation("eq-backpropagation-update")
def test_the_update_is_a_step_against_the_gradient():
    theta, g = np.array([1.0, -2.0, 0.5]), np.array([0.3, -0.1, 2.0])
    stepped, _ = SGD(lr=0.1).step(theta, g, SGD(lr=0.1).init(theta))
    parameter = torch.tensor(theta, requires_grad=True)
    parameter.grad = torch.tensor(g)
    torch.optim.SGD([parameter], lr=0.1).step()
    np.testing.assert_allclose(stepped, theta - 0.1 * g, rtol=ROUNDING)
    np.testing.assert_allclose(stepped, parameter.detach().numpy(), rtol=ROUNDING)


@pytest.mark.equation("eq-backpropagation-neuron")
@pytest.mark.parametrize(("x", "w", "b", "y"), [(2.0, 0.5, -1.0, 1.0), (-1.3, 0.8, 0.4, 0.2)])
def test_a_neurons_gradient_has_three_factors(x, w, b, y):
    weight, bias = Value(w), Value(b)
    ((weight * x + bias).sigmoid() - y).__pow__(2).backward()
    z = w * x + b
    a = 1 / (1 + np.exp(-z))
    rate = np.exp(-z) / (1 + np.exp(-z)) ** 2  # sigma'(z), not written with a
    assert weight.grad == pytest.approx(2 * (a - y) * rate * x, rel=ROUNDING)
    assert bias.grad == pytest.approx(2 * (a - y) * rate, rel=ROUNDING)
    t = torch.tensor([w, b], dtype=torch.float64, requires_grad=True)
    ((torch.sigmoid(t[0] * x + t[1]) - y) ** 2).backward()
    assert [weight.grad, bias.grad] == pytest.approx(t.grad.tolist(), rel=ROUNDING)


def test_the_numbers_of_the_hand_calculation():
    w, b = Value(0.5), Value(-1.0)
    loss = ((w * 2 + b).sigmoid() - 1) ** 2
    loss.backward()
    assert (loss.data, w.grad, b.grad) == (0.25, -0.5, -0.25)


@pytest.mark.equation("eq-backpropagation-paths")
def test_paths_add_up():
    a = Value(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad == 4.0
    v = Value(0.7)  # v enters u1, u2 and, twice, u3
    u1, u2, u3 = v.exp(), v.tanh(), v * v
    (u1 * 2 + u2 * 3 + u3 * 5).backward()
    by_hand = 2 * np.exp(0.7) + 3 * (1 - np.tanh(0.7) ** 2) + 5 * (0.7 + 0.7)
    assert v.grad == pytest.approx(by_hand, rel=ROUNDING)


@pytest.mark.equation("eq-backpropagation-cost")
@pytest.mark.parametrize("sizes", [[7, 6, 3], [64, 64, 32, 10], [5, 2]])
def test_the_cost_counts_every_multiplication(sizes, monkeypatch):
    counted = []
    matmul = np.matmul

    def counting(p, q, out=None):
        counted.append(p.shape[0] * p.shape[1] * q.shape[1])
        return matmul(p, q, out=out)

    rows, rng, net = 4, np.random.default_rng(0), mlp(sizes)
    theta, x = net.init(rng), rng.normal(size=(rows, sizes[0]))
    y = rng.integers(0, sizes[-1], rows)
    monkeypatch.setattr(np, "matmul", counting)
    net.loss_value(theta, x, y)
    forward = sum(counted)
    counted.clear()
    net.loss_and_grad(theta, x, y)
    assert forward == rows * sum(m * n for m, n in pairwise(sizes))
    assert sum(counted) == 3 * forward - rows * sizes[0] * sizes[1]


@pytest.mark.equation("eq-backpropagation-dz")
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_dz_is_da_times_the_derivative(name):
    _, _, _, da = layer()
    z = np.random.default_rng(1).normal(size=da.shape)
    act = Activate(activations.get(name))
    _, cache = act.forward({}, z)
    t = torch.tensor(z, requires_grad=True)
    getattr(torch, name)(t).backward(torch.tensor(da))
    np.testing.assert_allclose(act.backward({}, cache, da), t.grad.numpy(), rtol=ROUNDING)


@pytest.mark.equation("eq-backpropagation-dw")
def test_dw_is_x_transposed_times_dz():
    x, W, b, dz = layer()
    dW = lib_layer(x, W, b, dz)[1]
    by_sums = [[sum(x[i, k] * dz[i, j] for i in range(5)) for j in range(3)] for k in range(4)]
    np.testing.assert_allclose(dW, by_sums, rtol=ROUNDING)
    np.testing.assert_allclose(dW, torch_layer(x, W, b, dz)[1], rtol=ROUNDING)


@pytest.mark.equation("eq-backpropagation-db")
def test_db_sums_dz_over_the_rows_only():
    x, W, b, dz = layer()
    db = lib_layer(x, W, b, dz)[2]
    np.testing.assert_allclose(db, [sum(dz[i, j] for i in range(5)) for j in range(3)])
    np.testing.assert_allclose(db, torch_layer(x, W, b, dz)[2], rtol=ROUNDING)


@pytest.mark.equation("eq-backpropagation-dx")
def test_dx_is_dz_times_w_transposed():
    x, W, b, dz = layer()
    dx = lib_layer(x, W, b, dz)[0]
    by_sums = [[sum(dz[i, j] * W[k, j] for j in range(3)) for k in range(4)] for i in range(5)]
    np.testing.assert_allclose(dx, by_sums, rtol=ROUNDING)
    np.testing.assert_allclose(dx, torch_layer(x, W, b, dz)[0], rtol=ROUNDING)


@pytest.mark.equation("eq-backpropagation-recursion")
def test_the_recursion_gives_every_dz_of_a_deep_network():
    rng = np.random.default_rng(2)
    net = mlp([7, 6, 5, 3], hidden="tanh")
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    x, y = rng.normal(size=(4, 7)), rng.integers(0, 3, 4)
    W, b = zip(*[(p["W"], p["b"]) for p in net.unpack(theta) if p], strict=True)
    # The oracle: PyTorch's derivative by every pre-activation.
    a, z = torch.tensor(x), []
    for i in range(3):
        z.append(a @ torch.tensor(W[i]) + torch.tensor(b[i]))
        z[-1].requires_grad_(True).retain_grad()
        a = torch.tanh(z[-1])
    torch.nn.functional.cross_entropy(z[-1], torch.tensor(y)).backward()
    dz = [v.grad.numpy() for v in z]
    for i in (1, 0):
        slope = 1 / np.cosh(z[i].detach().numpy()) ** 2  # tanh', written another way
        np.testing.assert_allclose((dz[i + 1] @ W[i + 1].T) * slope, dz[i], rtol=1e-10)
    # And the package's gradients are those of these dz: db is their sum over the rows.
    _, gradient = net.loss_and_grad(theta, x, y)
    ours = [p["b"] for p in net.unpack(gradient) if p]
    for db, d in zip(ours, dz, strict=True):
        np.testing.assert_allclose(db, d.sum(axis=0), rtol=1e-10, atol=1e-15)


@pytest.mark.equation("eq-backpropagation-central")
def test_central_differences_are_exact_for_a_quadratic():
    A = np.random.default_rng(3).normal(size=(4, 4))
    theta = np.random.default_rng(4).normal(size=4)
    for h in (0.5, 1e-3):  # the error term has the third derivative, which is zero
        found = gradcheck.numerical_gradient(lambda t: float(t @ A @ t), theta, h)
        np.testing.assert_allclose(found, (A + A.T) @ theta, rtol=1e-9, atol=1e-10)
    cube = gradcheck.numerical_gradient(lambda t: float((t**3).sum()), theta, 0.1)
    np.testing.assert_allclose(cube, 3 * theta**2 + 0.1**2, rtol=1e-12)  # error h^2 f'''/6


@pytest.mark.equation("eq-backpropagation-relative")
def test_the_relative_error_is_the_distance_over_the_longer_length():
    a, n = np.array([3.0, 4.0]), np.array([0.0, 8.0])  # lengths 5 and 8, distance 5
    assert gradcheck.relative_error(a, n) == pytest.approx(5 / 8, rel=ROUNDING)
    assert gradcheck.relative_error(n, a) == pytest.approx(5 / 8, rel=ROUNDING)
    assert gradcheck.relative_error(a, a) == 0.0
