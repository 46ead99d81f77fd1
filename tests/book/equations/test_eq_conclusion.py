"""The five equations of the chapter "Conclusion", each computed a second way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import SGD, mlp, softmax
from course_lib.parallel import shard
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads

TIGHT = {"rtol": 1e-10, "atol": 1e-13}  # float64, a few dozen additions


@pytest.fixture
def problem():
    """A network with two hidden layers, a batch, and PyTorch's tensors of its parameters."""
    rng = np.random.default_rng(0)
    net = mlp([7, 6, 5, 3])
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    x, y = rng.normal(size=(8, 7)), rng.integers(0, 3, 8)
    layers = [v for v in net.unpack(theta) if "W" in v]
    tensors = [
        (torch.tensor(v["W"], requires_grad=True), torch.tensor(v["b"], requires_grad=True))
        for v in layers
    ]
    a = torch.tensor(x)
    for i, (W, b) in enumerate(tensors):
        z = a @ W + b
        a = torch.relu(z) if i < 2 else z
    loss = torch.nn.functional.cross_entropy(a, torch.tensor(y))
    loss.backward()
    return net, theta, x, y, layers, tensors, a.detach().numpy(), loss.item()


def forward(layers, x):
    """Follow the printed formula; return all z and all a."""
    zs, activations = [], [x]
    for v in layers:
        zs.append(activations[-1] @ v["W"] + v["b"])
        activations.append(np.maximum(zs[-1], 0))
    return zs, activations


@pytest.mark.equation("eq-conclusion-forward")
def test_layer_by_layer_gives_pytorchs_outputs(problem):
    net, theta, x, _, layers, _, outputs, _ = problem
    np.testing.assert_allclose(forward(layers, x)[0][-1], outputs, **TIGHT)
    np.testing.assert_allclose(net.forward(theta, x)[0], outputs, **TIGHT)


@pytest.mark.equation("eq-conclusion-loss")
def test_the_loss_is_the_mean_surprise(problem):
    net, theta, x, y, layers, _, _, loss = problem
    printed = -np.mean(np.log(softmax(forward(layers, x)[0][-1])[np.arange(8), y]))
    assert printed == pytest.approx(loss, rel=1e-10)
    assert net.loss_value(theta, x, y) == pytest.approx(loss, rel=1e-10)


@pytest.mark.equation("eq-conclusion-backward")
def test_the_walk_back_gives_pytorchs_gradients(problem):
    net, theta, x, y, layers, tensors, _, _ = problem
    zs, activations = forward(layers, x)
    dz = (softmax(zs[-1]) - np.eye(3)[y]) / 8
    package = [v for v in net.unpack(net.loss_and_grad(theta, x, y)[1]) if "W" in v]
    for i in (2, 1, 0):
        dW, db = activations[i].T @ dz, dz.sum(axis=0)
        for ours, theirs, own in zip((dW, db), tensors[i], package[i].values(), strict=True):
            np.testing.assert_allclose(ours, theirs.grad.numpy(), **TIGHT)
            np.testing.assert_allclose(own, theirs.grad.numpy(), **TIGHT)
        if i:
            dz = (dz @ layers[i]["W"].T) * (zs[i - 1] > 0)


@pytest.mark.equation("eq-conclusion-update")
def test_the_step_is_that_of_pytorchs_sgd(problem):
    net, theta, x, y, _, tensors, _, _ = problem
    gradient = net.loss_and_grad(theta, x, y)[1]
    torch.optim.SGD([t for pair in tensors for t in pair], lr=0.3).step()
    theirs = np.concatenate([t.detach().numpy().ravel() for pair in tensors for t in pair])
    np.testing.assert_allclose(theta - 0.3 * gradient, theirs, **TIGHT)
    ours = SGD(0.3).step(theta, gradient, SGD(0.3).init(theta))[0]
    np.testing.assert_allclose(ours, theirs, **TIGHT)


@pytest.mark.equation("eq-conclusion-parallel")
@pytest.mark.parametrize("size", [1, 3, 11])
def test_the_gradients_of_the_ranks_add_up_to_pytorchs(problem, size):
    net, theta, x, y, _, tensors, _, _ = problem

    def program(comm):
        part = shard(8, comm.rank, comm.size)
        return all_reduce(comm, net.loss_and_grad(theta, x[part], y[part], denominator=8)[1])

    theirs = np.concatenate([t.grad.numpy().ravel() for pair in tensors for t in pair])
    for gradient in run_threads(size, program):
        np.testing.assert_allclose(gradient, theirs, **TIGHT)
