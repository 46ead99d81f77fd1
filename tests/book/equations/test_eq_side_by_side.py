"""The equations of the chapter on NumPy and PyTorch, as printed there, against course_lib."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from course_lib import activations, mlp, weights
from course_lib.optimizers import SGD, Adam
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads
from course_lib.torch_mlp import to_torch

torch = pytest.importorskip("torch")
functional = torch.nn.functional


@pytest.mark.equation("eq-side-by-side-gradient")
def test_the_gradient_of_the_transposed_weight_is_the_transposed_gradient():
    rng = np.random.default_rng(0)
    net = mlp([7, 4, 6, 3], hidden="tanh")
    theta = rng.normal(size=net.n_params)
    x, y = rng.normal(size=(11, 7)), rng.integers(0, 3, 11)
    model = to_torch(net, theta)
    z, a = [], [torch.tensor(x)]
    for module in model.layers:
        a.append(module(a[-1]))
        if isinstance(module, torch.nn.Linear):
            z.append((module, a[-2].detach().numpy(), a[-1]))
            a[-1].retain_grad()
    functional.cross_entropy(a[-1], torch.tensor(y)).backward()
    ours = [p["W"] for p in net.unpack(net.loss_and_grad(theta, x, y)[1]) if p]
    for dW, (module, inputs, out) in zip(ours, z, strict=True):
        dA = module.weight.grad.numpy()
        np.testing.assert_allclose(out.grad.numpy().T @ inputs, dA, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(dW.T, dA, rtol=1e-10, atol=1e-15)


@pytest.mark.equation("eq-side-by-side-sum")
@pytest.mark.parametrize("n", [2, 10, 1000])
def test_a_sum_one_after_the_other_keeps_its_bound(n):
    u = Fraction(1, 2**24)
    bound = (n - 1) * u / (1 - (n - 1) * u)
    for seed in range(5):
        v = np.random.default_rng(seed).normal(size=n).astype(np.float32)
        exact = sum(Fraction(float(w)) for w in v)  # no rounding at all
        size = sum(abs(Fraction(float(w))) for w in v)
        assert abs(Fraction(float(np.cumsum(v)[-1])) - exact) <= bound * size
    # Ranks that add in order of their numbers do the same sum.
    v = np.random.default_rng(9).normal(size=(4, 50)).astype(np.float32)
    found = run_threads(4, lambda comm: all_reduce(comm, v[comm.rank].copy(), "ordered"))[0]
    for column, total in zip(v.T, found, strict=True):
        exact = sum(Fraction(float(w)) for w in column)
        size = sum(abs(Fraction(float(w))) for w in column)
        assert abs(Fraction(float(total)) - exact) <= 3 * u / (1 - 3 * u) * size


@pytest.mark.equation("eq-side-by-side-softplus")
def test_softplus_beyond_its_threshold_leaves_out_at_most_exp_of_minus_20():
    z = np.linspace(20.0001, 60, 500)
    left_out = np.log1p(np.exp(-z))
    assert np.all(left_out <= math.exp(-20)) and math.exp(-20) == pytest.approx(2.1e-9, rel=0.02)
    theirs = functional.softplus(torch.tensor(z)).numpy()
    assert np.array_equal(theirs, z)
    # The difference of two numbers near z is rounded to the spacing of numbers near 60: 7e-15.
    np.testing.assert_allclose(activations.softplus(z) - z, left_out, rtol=0, atol=1e-14)


@pytest.mark.equation("eq-side-by-side-gelu")
def test_the_tanh_form_of_gelu_is_pytorchs_and_near_the_exact_one():
    z = np.linspace(-6, 6, 2001)
    printed = z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    theirs = functional.gelu(torch.tensor(z), approximate="tanh").numpy()
    np.testing.assert_allclose(printed, theirs, rtol=1e-12, atol=1e-15)
    distance = np.abs(printed - activations.gelu(z)).max()
    assert distance == pytest.approx(4.7e-4, rel=0.02)


@pytest.mark.equation("eq-side-by-side-eps")
def test_both_forms_of_adam_with_epsilon_where_each_has_it():
    pytest.importorskip("sklearn")
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    rng, lr, b1, b2, eps = np.random.default_rng(1), 0.1, 0.9, 0.999, 1e-8
    first, second, m, s = np.zeros(50), [np.zeros(50)], np.zeros(50), np.zeros(50)
    printed, cheaper, equal = np.zeros(50), np.zeros(50), np.zeros(50)
    adam = Adam(lr=lr, beta1=b1, beta2=b2, eps=eps)
    state, theirs = adam.init(first), AdamOptimizer(second, learning_rate_init=lr)
    parameter = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
    twin = torch.optim.Adam([parameter], lr=lr)
    for t in range(1, 8):
        g = 1e-8 * rng.normal(size=50)
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
        c1, c2 = 1 - b1**t, 1 - b2**t
        printed -= lr * (m / c1) / (np.sqrt(s / c2) + eps)
        cheaper -= lr * math.sqrt(c2) / c1 * m / (np.sqrt(s) + eps)
        equal -= lr * math.sqrt(c2) / c1 * m / (np.sqrt(s) + eps * math.sqrt(c2))
        first, state = adam.step(first, g, state)
        theirs.update_params(second, [g])
        parameter.grad = torch.tensor(g)
        twin.step()
    np.testing.assert_allclose(first, printed, rtol=1e-11)
    np.testing.assert_allclose(parameter.detach().numpy(), printed, rtol=1e-11)
    np.testing.assert_allclose(second[0], cheaper, rtol=1e-11)
    np.testing.assert_allclose(equal, printed, rtol=1e-11)
    assert np.linalg.norm(cheaper - printed) > 0.5 * np.linalg.norm(printed)


@pytest.mark.equation("eq-side-by-side-momentum")
def test_a_step_is_a_sum_of_gradients_with_one_rate_or_with_each_its_own():
    rng, mu = np.random.default_rng(2), 0.8
    gradients, rates = rng.normal(size=(12, 5)), rng.random(12)
    sgd = SGD(lr=lambda step: float(rates[step]), momentum=mu)
    theta, inside, v = np.zeros(5), np.zeros(5), np.zeros(5)
    state = sgd.init(theta)
    parameter = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    twin = torch.optim.SGD([parameter], lr=1.0, momentum=mu)
    for t, g in enumerate(gradients):
        old, old_inside = theta, inside
        theta, state = sgd.step(theta, g, state)
        v = mu * v + rates[t] * g
        inside = inside - v
        twin.param_groups[0]["lr"] = rates[t]
        parameter.grad = torch.tensor(g)
        twin.step()
        memory = [mu ** (t - s) * gradients[s] for s in range(t + 1)]
        np.testing.assert_allclose(theta - old, -rates[t] * np.sum(memory, axis=0), atol=1e-13)
        own = [rates[s] * memory[s] for s in range(t + 1)]
        np.testing.assert_allclose(inside - old_inside, -np.sum(own, axis=0), atol=1e-13)
    np.testing.assert_allclose(parameter.detach().numpy(), theta, rtol=1e-12)
    assert np.abs(inside - theta).max() > 0.1


@pytest.mark.equation("eq-side-by-side-start")
def test_a_linear_layer_of_pytorch_starts_uniform_with_one_over_root_m():
    m, n = 300, 400
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layer = torch.nn.Linear(m, n, dtype=torch.float64)
    for values in (layer.weight, layer.bias):
        values = values.detach().numpy()
        assert np.abs(values).max() <= 1 / math.sqrt(m)
        assert np.abs(values).max() > 0.98 / math.sqrt(m)
    variance = layer.weight.detach().numpy().var()
    # 120,000 draws of a uniform variable: its variance is known to 0.3 percent, five times 0.26.
    assert variance == pytest.approx(1 / (3 * m), rel=0.013)
    he = weights.he_normal(np.random.default_rng(3), m, n).var()
    assert he / variance == pytest.approx(6, rel=0.03)


class _Counted(np.ndarray):
    """An array that counts the multiplications and additions of its matrix products."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [np.asarray(v) for v in inputs]
        if ufunc is np.matmul:
            (rows, inner), columns = plain[0].shape, plain[1].shape[1]
            _Counted.operations += 2 * rows * inner * columns
        kwargs = {k: tuple(np.asarray(o) for o in v) if k == "out" else v
                  for k, v in kwargs.items()}  # fmt: skip
        result = getattr(ufunc, method)(*plain, **kwargs)
        return result.view(_Counted) if isinstance(result, np.ndarray) else result


@pytest.mark.equation("eq-side-by-side-flops")
@pytest.mark.parametrize(("sizes", "batch"), [([7, 4, 6, 3], 5), ([3, 2], 4), ([64, 32, 10], 8)])
def test_the_matrix_products_of_a_step_are_counted_right(sizes, batch):
    layers = list(pairwise(sizes))
    printed = 2 * batch * (3 * sum(m * n for m, n in layers) - layers[0][0] * layers[0][1])
    rng = np.random.default_rng(4)
    net = mlp(sizes, hidden="tanh")
    theta = net.init(rng).view(_Counted)
    x, y = rng.normal(size=(batch, sizes[0])).view(_Counted), rng.integers(0, sizes[-1], batch)
    _Counted.operations = 0
    outputs, caches = net.forward(theta, x)
    net.backward(theta, caches, np.ones_like(outputs))
    extra = 2 * batch * layers[0][0] * layers[0][1]  # backward gives the input's gradient as well
    assert _Counted.operations == printed + extra
    torch_flops = pytest.importorskip("torch.utils.flop_counter")
    model = to_torch(net, np.asarray(theta))
    with torch_flops.FlopCounterMode(display=False) as counter:
        functional.cross_entropy(model(torch.tensor(np.asarray(x))), torch.tensor(y)).backward()
    assert counter.get_total_flops() == printed
