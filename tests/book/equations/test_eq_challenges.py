"""The equations of the chapter "Challenges", each computed a second way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance

from course_lib import AdamW, accuracy, losses, mlp, softmax
from course_lib.network import Dropout

TIGHT = {"rtol": 1e-10, "atol": 1e-13}  # float64, a few dozen additions


@pytest.mark.equation("eq-challenges-power")
def test_a_power_law_is_a_line_in_the_logarithms_and_halves_by_its_exponent():
    n, beta, c = np.array([50.0, 100, 200, 400]), 0.6, 2.3
    slope, offset = np.polyfit(np.log(n), np.log(c * n**-beta), 1)
    assert -slope == pytest.approx(beta)
    assert np.exp(offset) == pytest.approx(c)
    more = 2 ** (1 / beta)  # times the data ...
    assert c * (50 * more) ** -beta == pytest.approx(c * 50**-beta / 2)  # ... half the error


@pytest.mark.equation("eq-challenges-quantise")
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_quantised_weights_are_pytorchs_and_off_by_half_a_scale_at_most(bits):
    w = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    top = 2 ** (bits - 1) - 1
    s = np.abs(w).max() / top
    q = np.round(w / s)
    assert np.abs(q).max() == top
    assert np.abs(s * q - w).max() <= s / 2 * (1 + 1e-6)
    fake = torch.fake_quantize_per_tensor_affine(torch.tensor(w), float(s), 0, -top, top)
    np.testing.assert_allclose(s * q, fake.numpy(), rtol=1e-6, atol=1e-7)  # float32


def test_the_hand_calculation_of_the_chapter_is_right():
    w = np.array([0.6, -0.08, 0.35])
    s = np.abs(w).max() / (2 ** (3 - 1) - 1)
    assert s == pytest.approx(0.2)
    np.testing.assert_allclose(w / s, [3, -0.4, 1.75])
    np.testing.assert_allclose(s * np.round(w / s), [0.6, 0, 0.4], atol=1e-15)


@pytest.mark.equation("eq-challenges-distil")
@pytest.mark.parametrize("T", [1.0, 3.0])
def test_the_gradient_of_distillation_is_pytorchs(T):
    rng = np.random.default_rng(0)
    t, z = rng.normal(size=(2, 5, 4)) * 3
    p, q = softmax(t / T), softmax(z / T)
    loss = -(T**2) / 5 * np.sum(p * np.log(q))
    logits = torch.tensor(z, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(logits / T, torch.tensor(p)) * T**2
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-10)
    np.testing.assert_allclose(T / 5 * (q - p), logits.grad.numpy(), **TIGHT)


def test_labels_are_a_sure_teacher():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    _, gradient = losses.softmax_cross_entropy(z, y)
    np.testing.assert_allclose((softmax(z) - np.eye(4)[y]), gradient, **TIGHT)


@pytest.mark.equation("eq-challenges-saliency")
def test_the_saliency_is_pytorchs_gradient_by_the_input():
    rng = np.random.default_rng(0)
    net = mlp([7, 6, 3])
    theta, x = net.init(rng) + 0.1 * rng.normal(size=net.n_params), rng.normal(size=(5, 7))
    logits, caches = net.forward(theta, x)
    winner = logits.argmax(axis=1)
    dz = np.zeros_like(logits)
    dz[np.arange(5), winner] = 1.0
    dx, _ = net.backward(theta, caches, dz)
    first, last = net.unpack(theta)[0], net.unpack(theta)[2]
    images = torch.tensor(x, requires_grad=True)
    hidden = torch.relu(images @ torch.tensor(first["W"]) + torch.tensor(first["b"]))
    outputs = hidden @ torch.tensor(last["W"]) + torch.tensor(last["b"])
    outputs[torch.arange(5), torch.tensor(winner)].sum().backward()
    np.testing.assert_allclose(np.abs(dx), np.abs(images.grad.numpy()), **TIGHT)


class _Clothes(ClassifierMixin, BaseEstimator):
    """A network with the methods that scikit-learn asks for."""

    def __init__(self, net=None, theta=None):
        self.net, self.theta, self.classes_ = net, theta, np.arange(3)

    def fit(self, x, y):
        return self

    def predict(self, x):
        return self.net.predict(self.theta, x)


@pytest.mark.equation("eq-challenges-permutation")
def test_permutation_importance_agrees_with_scikit_learns():
    rng, repeats = np.random.default_rng(0), 200
    net = mlp([4, 6, 3])
    theta, x = rng.normal(size=net.n_params), rng.normal(size=(60, 4))
    net.unpack(theta)[0]["W"][3] = 0.0  # the network does not look at the last column
    y = net.predict(theta, x)
    whole = accuracy(net, theta, x, y)
    lost = np.empty((4, repeats))
    for j, r in np.ndindex(lost.shape):
        shuffled = x.copy()
        shuffled[:, j] = rng.permutation(x[:, j])
        lost[j, r] = whole - accuracy(net, theta, shuffled, y)
    theirs = permutation_importance(
        _Clothes(net, theta), x, y, n_repeats=repeats, random_state=0
    ).importances
    error = np.sqrt((lost.var(axis=1) + theirs.var(axis=1)) / repeats)
    assert (np.abs(lost.mean(axis=1) - theirs.mean(axis=1)) <= 4 * error + 1e-12).all()
    assert lost[:3].mean(axis=1).min() > 0.05
    assert not lost[3].any()


@pytest.mark.equation("eq-challenges-dropout")
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_keeps_the_mean_and_adds_this_variance(rate):
    a = np.array([3.0, -1.0, 0.5])
    rows = np.tile(a, (200_000, 1))
    seen, _ = Dropout(rate).forward({}, rows, rng=np.random.default_rng(0))
    values = [0.0, a[0] / (1 - rate)]
    assert set(np.unique(seen[:, 0])) == set(values)
    # By hand, over the two values that there are ...
    mean = (1 - rate) * values[1]
    variance = rate * (0 - mean) ** 2 + (1 - rate) * (values[1] - mean) ** 2
    assert mean == pytest.approx(a[0])
    assert variance == pytest.approx(rate / (1 - rate) * a[0] ** 2)
    # ... and by counting: 200,000 draws, four standard errors are about one percent.
    np.testing.assert_allclose(seen.mean(axis=0), a, rtol=0.01)
    np.testing.assert_allclose(seen.var(axis=0), rate / (1 - rate) * a**2, rtol=0.02)


@pytest.mark.equation("eq-challenges-decay")
def test_decoupled_weight_decay_shrinks_first_and_is_pytorchs():
    rng = np.random.default_rng(0)
    theta, gradient = rng.normal(size=(2, 12))
    lr, decay = 0.05, 0.3
    ours = AdamW(lr=lr, weight_decay=decay)
    plain = AdamW(lr=lr, weight_decay=0.0)
    step = (theta - plain.step(theta, gradient, plain.init(theta))[0]) / lr
    printed = (1 - lr * decay) * theta - lr * step
    np.testing.assert_allclose(ours.step(theta, gradient, ours.init(theta))[0], printed, **TIGHT)
    tensor = torch.tensor(theta, requires_grad=True)
    tensor.grad = torch.tensor(gradient)
    torch.optim.AdamW([tensor], lr=lr, weight_decay=decay).step()
    np.testing.assert_allclose(printed, tensor.detach().numpy(), **TIGHT)
