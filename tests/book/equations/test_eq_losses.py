"""The formulas of the chapter on losses, typed as printed, against the package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional as F

from course_lib import losses, mlp
from course_lib.activations import sigmoid, softmax
from course_lib.losses import Loss

N, K = 7, 3


def _differences(loss: Loss, outputs: Any, targets: Any) -> Any:
    """Differentiate the value of a loss by each output, without its gradient."""
    h, result = 1e-5, np.empty_like(outputs)
    for index in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[index] = h
        above, below = (loss(outputs + s, targets)[0] for s in (step, -step))
        result[index] = (above - below) / (2 * h)
    return result


def _data(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, size=(N, K)), rng.normal(0, 2, size=(N, K))


@pytest.mark.equation("eq-losses-batch")
def test_the_loss_of_a_batch_is_the_mean_of_the_row_losses() -> None:
    """Rows one by one, added and divided by N, for every loss."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 4))
    for loss in losses.ALL.values():
        net = mlp([4, 6, K], hidden="tanh", loss=loss)
        theta = rng.normal(size=net.n_params)
        y = {"values": rng.normal(size=(N, K)), "binary": rng.integers(0, 2, (N, K))}.get(
            loss.kind, rng.integers(0, K, N)
        )
        outputs, _ = net.forward(theta, x)
        rows = [loss(outputs[[i]], y[[i]])[0] for i in range(N)]
        assert net.loss_and_grad(theta, x, y)[0] == pytest.approx(sum(rows) / N, rel=1e-12)


@pytest.mark.equation("eq-losses-mse")
def test_mse_is_the_mean_square_and_its_gradient_2_e_over_k() -> None:
    """Against scikit-learn, the printed gradient and PyTorch."""
    guess, truth = _data()
    total, gradient = losses.mse(guess, truth)
    assert total / N == pytest.approx(metrics.mean_squared_error(truth, guess), rel=1e-12)
    np.testing.assert_allclose(gradient, 2 / K * (guess - truth), rtol=1e-12)
    t = torch.tensor(guess, requires_grad=True)
    F.mse_loss(t, torch.tensor(truth)).backward()
    np.testing.assert_allclose(gradient / N, t.grad.numpy(), rtol=1e-12)


@pytest.mark.equation("eq-losses-mae")
def test_mae_is_the_mean_distance_and_its_gradient_a_sign() -> None:
    """Against scikit-learn, the printed gradient and differences."""
    guess, truth = _data()
    total, gradient = losses.mae(guess, truth)
    assert total / N == pytest.approx(metrics.mean_absolute_error(truth, guess), rel=1e-12)
    np.testing.assert_allclose(gradient, np.sign(guess - truth) / K, rtol=1e-12)
    np.testing.assert_allclose(gradient, _differences(losses.mae, guess, truth), atol=1e-8)


@pytest.mark.equation("eq-losses-huber")
def test_huber_is_a_parabola_inside_and_a_line_outside() -> None:
    """The printed cases in plain Python, and PyTorch; errors on both sides of 1 occur."""
    guess, truth = _data()
    errors = (guess - truth).ravel().tolist()
    assert any(abs(e) < 1 for e in errors) and any(abs(e) > 1 for e in errors)
    printed = sum(0.5 * e * e if abs(e) <= 1 else abs(e) - 0.5 for e in errors) / K
    total, gradient = losses.huber(guess, truth)
    assert total == pytest.approx(printed, rel=1e-12)
    np.testing.assert_allclose(gradient.ravel(), [max(-1, min(1, e)) / K for e in errors])
    t = torch.tensor(guess, requires_grad=True)
    F.huber_loss(t, torch.tensor(truth)).backward()
    np.testing.assert_allclose(gradient / N, t.grad.numpy(), rtol=1e-12)


@pytest.mark.equation("eq-losses-bce")
def test_binary_cross_entropy_is_minus_the_log_likelihood() -> None:
    """log(1 + e^z) - y z is -y log p - (1 - y) log(1 - p), as scikit-learn computes it."""
    z, _ = _data()
    y = np.random.default_rng(2).integers(0, 2, size=(N, K))
    total, _ = losses.binary_cross_entropy(z, y)
    pairs = list(zip(z.ravel().tolist(), y.ravel().tolist(), strict=True))
    assert total == pytest.approx(sum(math.log(1 + math.exp(t)) - b * t for t, b in pairs) / K)
    likelihood = metrics.log_loss(y.ravel(), sigmoid(z).ravel(), normalize=False) / K
    assert total == pytest.approx(likelihood, rel=1e-12)


@pytest.mark.equation("eq-losses-bce-gradient")
def test_the_gradient_of_binary_cross_entropy_is_p_minus_y() -> None:
    """The printed gradient, with p in plain Python, against the package and differences."""
    z, _ = _data()
    y = np.random.default_rng(2).integers(0, 2, size=(N, K))
    _, gradient = losses.binary_cross_entropy(z, y)
    printed = (np.vectorize(lambda t: 1 / (1 + math.exp(-t)))(z) - y) / K
    np.testing.assert_allclose(gradient, printed, rtol=1e-12)
    np.testing.assert_allclose(gradient, _differences(losses.binary_cross_entropy, z, y), atol=1e-8)


@pytest.mark.equation("eq-losses-softmax")
def test_softmax_cross_entropy_is_minus_the_log_of_the_right_probability() -> None:
    """Both printed forms, and scikit-learn."""
    z, _ = _data()
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    total, _ = losses.softmax_cross_entropy(z, y)
    rows = list(zip(z.tolist(), y.tolist(), strict=True))
    logs = sum(math.log(sum(math.exp(t) for t in row)) - row[label] for row, label in rows)
    assert total == pytest.approx(logs, rel=1e-12)
    assert total == pytest.approx(-np.log(softmax(z)[np.arange(N), y]).sum(), rel=1e-12)
    assert total / N == pytest.approx(metrics.log_loss(y, softmax(z)), rel=1e-12)


@pytest.mark.equation("eq-losses-softmax-gradient")
def test_the_gradient_of_softmax_cross_entropy_is_p_minus_onehot() -> None:
    """Against PyTorch, differences, and the full Jacobian of softmax that melts away."""
    z, _ = _data()
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    _, gradient = losses.softmax_cross_entropy(z, y)
    p, onehot = softmax(z), np.eye(K)[y]
    np.testing.assert_allclose(gradient, p - onehot, rtol=1e-12)
    np.testing.assert_allclose(
        gradient, _differences(losses.softmax_cross_entropy, z, y), atol=1e-8
    )
    for i in range(N):
        jacobian = np.diag(p[i]) - np.outer(p[i], p[i])
        np.testing.assert_allclose(gradient[i], jacobian @ (-onehot[i] / p[i]), atol=1e-12)
    t = torch.tensor(z, requires_grad=True)
    F.cross_entropy(t, torch.tensor(y)).backward()
    np.testing.assert_allclose(gradient / N, t.grad.numpy(), rtol=1e-10, atol=1e-15)


@pytest.mark.equation("eq-losses-hinge")
def test_hinge_asks_for_a_margin_of_one_over_the_best_wrong_class() -> None:
    """The printed maximum in plain Python, scikit-learn, and PyTorch's gradient of the maximum."""
    z, _ = _data(4)
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    z[:2] += 20 * np.eye(K)[y[:2]]  # two rows that are right by more than the margin
    total, gradient = losses.hinge(z, y)
    printed = [
        max(0.0, 1 + max(t for j, t in enumerate(row) if j != label) - row[label])
        for row, label in zip(z.tolist(), y.tolist(), strict=True)
    ]
    assert 0 < sum(value == 0 for value in printed) < N  # both cases occur
    assert total == pytest.approx(sum(printed), rel=1e-12)
    assert total / N == pytest.approx(metrics.hinge_loss(y, z), rel=1e-12)
    t, rows = torch.tensor(z, requires_grad=True), torch.arange(N)
    wrong = t.masked_fill(torch.tensor(np.eye(K)[y] == 1), -torch.inf).max(dim=1).values
    torch.relu(1 + wrong - t[rows, torch.tensor(y)]).sum().backward()
    np.testing.assert_array_equal(gradient, t.grad.numpy())


@pytest.mark.equation("eq-losses-mse-sigmoid")
def test_squared_error_of_a_sigmoid_has_a_factor_that_vanishes() -> None:
    """2 (p - y) sigma'(z), against autograd; tiny where cross-entropy still pulls with 1."""
    z = np.linspace(-10, 10, 41)
    for y in (0.0, 1.0):
        t = torch.tensor(z, requires_grad=True)
        ((torch.sigmoid(t) - y) ** 2).sum().backward()
        p = sigmoid(z)
        np.testing.assert_allclose(2 * (p - y) * p * (1 - p), t.grad.numpy(), rtol=1e-9)
    _, cross = losses.binary_cross_entropy([[-10.0]], [1])
    assert abs(float(t.grad[0])) < 1e-4 < 0.999 < abs(cross[0, 0])


@pytest.mark.equation("eq-losses-lse")
def test_log_sum_exp_may_pull_out_the_largest() -> None:
    """Both sides are equal where the left exists, and the right survives where it does not."""
    rng = np.random.default_rng(5)
    for scale in (1.0, 1000.0):
        for row in rng.normal(0, scale, size=(20, 5)).tolist():
            m = max(row)
            right = m + math.log(sum(math.exp(t - m) for t in row))
            if scale == 1.0:
                assert right == pytest.approx(math.log(sum(math.exp(t) for t in row)), rel=1e-12)
            assert right == pytest.approx(
                torch.tensor(row, dtype=torch.float64).logsumexp(0).item()
            )
            assert m <= right <= m + math.log(5)
            ours, _ = losses.softmax_cross_entropy([row], [2])
            assert ours == pytest.approx(right - row[2], rel=1e-12, abs=1e-12)


@pytest.mark.equation("eq-losses-pieces")
def test_sums_over_one_denominator_add_up_and_means_of_means_do_not() -> None:
    """A batch cut in pieces of 4, 1 and 2 rows; the chapter's numbers 2 and 3.5."""
    rng = np.random.default_rng(6)
    net = mlp([4, 6, K], hidden="tanh")
    theta = rng.normal(size=net.n_params)
    x, y = rng.normal(size=(N, 4)), rng.integers(0, K, N)
    whole, gradient = net.loss_and_grad(theta, x, y)
    cuts = [slice(0, 4), slice(4, 5), slice(5, 7)]
    parts = [net.loss_and_grad(theta, x[cut], y[cut], denominator=N) for cut in cuts]
    assert sum(loss for loss, _ in parts) == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(sum(g for _, g in parts), gradient, rtol=1e-10, atol=1e-14)
    means = [net.loss_and_grad(theta, x[cut], y[cut]) for cut in cuts]
    assert abs(np.mean([loss for loss, _ in means]) - whole) > 1e-3
    rows = [1.0, 1.0, 1.0, 1.0, 6.0]
    assert np.mean(rows) == 2.0
    assert np.mean([np.mean(rows[:4]), np.mean(rows[4:])]) == 3.5
