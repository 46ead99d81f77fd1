"""The equations of the chapter on PyTorch, as printed, against the package."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from course_lib import SGD, Value, mlp, weights  # noqa: E402
from course_lib.gradcheck import relative_error  # noqa: E402
from course_lib.torch_mlp import fit_torch, from_torch, to_torch  # noqa: E402


@pytest.fixture
def case():
    """Give a network 4-6-3 with biases that are not zero, and a batch of seven rows."""
    rng = np.random.default_rng(3)
    net = mlp([4, 6, 3], hidden="tanh")
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    return net, theta, rng.normal(size=(7, 4)), rng.integers(3, size=7)


@pytest.mark.equation("eq-pytorch-neuron")
@pytest.mark.parametrize(("w", "b", "x", "y"), [(0.5, -0.2, 2.0, 1.0), (-1.3, 0.4, 0.7, -2.0)])
def test_both_engines_give_the_derivative_of_one_neuron_that_the_chain_rule_gives_by_hand(
    w, b, x, y
):
    a = math.tanh(w * x + b)
    by_hand = [2 * (a - y) * (1 - a**2) * x, 2 * (a - y) * (1 - a**2)]
    ours = [Value(w), Value(b)]
    (((ours[0] * x + ours[1]).tanh() - y) ** 2).backward()
    theirs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (w, b)]
    ((torch.tanh(theirs[0] * x + theirs[1]) - y) ** 2).backward()
    assert [v.grad for v in ours] == pytest.approx(by_hand, rel=1e-12)
    assert [v.grad.item() for v in theirs] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.equation("eq-pytorch-accumulate")
def test_backward_adds_to_the_gradient_and_fit_torch_starts_each_step_from_zero(case):
    net, theta, x, y = case
    _, once = net.loss_and_grad(theta, x, y)
    model = to_torch(net, theta)
    for times in (1, 2, 3):
        functional.cross_entropy(model(torch.tensor(x)), torch.tensor(y)).backward()
        grad = model.layers[0].weight.grad.numpy().T
        assert relative_error(grad, times * net.unpack(once)[0]["W"]) < 1e-12
    # The model still holds three gradients; one step must use a fresh one alone.
    stepped = fit_torch(model, SGD(0.5), x, y, epochs=1, batch_size=7, seed=0, device="cpu").theta
    assert relative_error(stepped, theta - 0.5 * once) < 1e-12


@pytest.mark.equation("eq-pytorch-linear")
def test_the_weight_of_a_linear_module_is_our_weight_transposed(case):
    net, theta, x, _ = case
    p = net.unpack(theta)[0]
    linear = to_torch(net, theta).layers[0]
    A, b = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    assert A.shape == (6, 4)
    assert np.array_equal(A, p["W"].T)
    z = linear(torch.tensor(x)).detach().numpy()
    assert relative_error(z, x @ A.T + b) < 1e-14
    assert relative_error(z, x @ p["W"] + p["b"]) < 1e-14


@pytest.mark.equation("eq-pytorch-mean")
def test_cross_entropy_of_pytorch_is_the_printed_mean_and_our_loss(case):
    net, theta, x, y = case
    z, _ = net.forward(theta, x)
    rows = [math.log(sum(math.exp(v) for v in z[i])) - z[i][y[i]] for i in range(7)]
    printed = sum(rows) / 7
    assert net.loss_value(theta, x, y) == pytest.approx(printed, rel=1e-12)
    theirs = functional.cross_entropy(torch.tensor(z), torch.tensor(y)).item()
    assert theirs == pytest.approx(printed, rel=1e-12)


@pytest.mark.equation("eq-pytorch-theta")
def test_theta_is_each_transposed_weight_row_by_row_and_its_bias_layer_after_layer(case):
    net, theta, _, _ = case
    model = to_torch(net, theta)
    printed = []
    for layer in (model.layers[0], model.layers[2]):
        A, b = layer.weight.tolist(), layer.bias.tolist()
        printed += [A[unit][i] for i in range(len(A[0])) for unit in range(len(A))] + b
    assert from_torch(model).tolist() == printed == theta.tolist()


@pytest.mark.equation("eq-pytorch-rounding")
def test_a_stored_number_is_off_by_at_most_the_rounding_unit():
    from fractions import Fraction

    net = mlp([4, 6, 3])
    exact = net.init(np.random.default_rng(0))
    short = net.init(np.random.default_rng(0), dtype=np.float32)
    assert short.dtype == np.float32
    nonzero = exact != 0
    delta = short[nonzero].astype(np.float64) / exact[nonzero] - 1
    # 2**-52: the two roundings of the quotient itself, in float64.
    assert 0 < np.max(np.abs(delta)) <= 2.0**-24 + 2.0**-52
    third = Fraction(1, 3)
    assert 0 < abs(Fraction(1 / 3) / third - 1) <= Fraction(1, 2**53)


@pytest.mark.equation("eq-pytorch-growth")
@pytest.mark.parametrize("n", [32, 128, 200])
def test_unit_variance_weights_grow_a_relu_signal_by_the_root_of_half_the_fan_in(n):
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        # Rows of zero-mean z, symmetric about zero, as the derivation assumes.
        z = rng.normal(size=(500, n))
        after = np.maximum(z, 0) @ weights.normal(rng, n, 4 * n, std=1.0)
        ratios.append(np.mean(after**2) / np.mean(z**2))
    # 20 x 4 n random columns: the mean square is known to about 2 percent.
    assert math.sqrt(np.mean(ratios)) == pytest.approx(math.sqrt(n / 2), rel=0.03)
