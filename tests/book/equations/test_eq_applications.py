"""The equations of the chapter on applications, as printed, against the layers that it defines.

The layers are read from the page itself: what is tested is what a reader sees.
"""

from __future__ import annotations

import ast
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from course_lib import Adam, Network, accuracy, fit, losses, mlp, schedules
from course_lib.gradcheck import numerical_gradient, relative_error
from tests.book.book_files import BOOK, cells

PAGE = BOOK / "chapters" / "applications.ipynb"


@pytest.fixture(scope="module")
def page():
    """Execute what the page defines (imports, classes, functions, CONSTANTS), and nothing else."""
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    wanted = ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef
    body = []
    for cell in cells(PAGE, "code"):
        for node in ast.parse(cell["source"]).body:
            constant = isinstance(node, ast.Assign) and ast.unparse(node.targets).isupper()
            if isinstance(node, wanted) or constant:
                body.append(node)
    names: dict = {"__name__": "page"}
    # The annotations of the page are not those of this file.
    code = compile(ast.Module(body, type_ignores=[]), str(PAGE), "exec", dont_inherit=True)
    exec(code, names)
    return SimpleNamespace(**names)


def _image(seed, n=3, shape=(5, 6, 2)):
    return np.random.default_rng(seed).normal(size=(n, *shape))


@pytest.mark.equation("eq-applications-chain")
def test_the_probability_of_a_word_is_the_product_of_its_letters(page):
    """The words that the invented language can have, enumerated, against `true_bits`."""
    words = [
        "".join(a + b for a, b in zip(onsets, vowels, strict=True)) + ending
        for family in page.FAMILIES
        for onsets in itertools.product("pt", repeat=2)  # two of the eight: a factor of 16
        for vowels in itertools.product(family, repeat=2)
        for ending in ("", "n")
    ]
    # All words of two syllables: 0.5 is the chance to stop after the second.
    assert sum(2.0 ** -page.true_bits(w) for w in words) * 16 == pytest.approx(0.5)
    # Letter by letter: family and vowel, the other vowel given the first, end or n.
    p = (1 / 8) * (1 / 6) * (1 / 8) * (1 / 3) * 0.5 * 0.7
    assert 2.0 ** -page.true_bits("piti") == pytest.approx(p)


@pytest.mark.equation("eq-applications-bits")
def test_nobody_pays_less_than_the_truth():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6))
    truth = -np.sum(p * np.log2(p))
    for q in rng.dirichlet(np.ones(6), size=200):
        assert -np.sum(p * np.log2(q)) > truth
    # The loss of the package has the same floor, in nats.
    labels = np.repeat(np.arange(6), np.round(p * 10_000).astype(int))
    total, _ = losses.softmax_cross_entropy.f(np.tile(np.log(p), (len(labels), 1)), labels)
    assert total / len(labels) / math.log(2) == pytest.approx(truth, rel=1e-3)


@pytest.mark.equation("eq-applications-embedding")
def test_an_embedding_is_a_product_with_a_one_hot_vector(page):
    layer = page.Embedding(5, 3, 4)
    rng = np.random.default_rng(1)
    w, ids = rng.normal(size=(5, 3)), rng.integers(5, size=(6, 4))
    out, cache = layer.forward({"W": w}, ids.astype(float))
    np.testing.assert_array_equal(out, (np.eye(5)[ids] @ w).reshape(6, 12))
    dy, gradient = rng.normal(size=(6, 12)), {"W": np.empty((5, 3))}
    layer.gradient(cache, dy, gradient)
    expected = np.einsum("nkc,nkd->cd", np.eye(5)[ids], dy.reshape(6, 4, 3))
    np.testing.assert_allclose(gradient["W"], expected, rtol=1e-12)


@pytest.mark.equation("eq-applications-convolution")
@pytest.mark.parametrize("kernel", [(3, 2), (1, 4), (5, 6)])
def test_a_convolution_is_the_printed_sum(page, kernel):
    layer, x = page.Conv((5, 6, 2), kernel, 4), _image(2)
    rng = np.random.default_rng(3)
    p = {"W": rng.normal(size=layer.shapes()["W"]), "b": rng.normal(size=4)}
    w = p["W"].reshape(*kernel, 2, 4)
    got = layer.forward(p, x.reshape(3, -1))[0].reshape(3, *layer.out_shape)
    assert layer.out_shape[:2] == (5 - kernel[0] + 1, 6 - kernel[1] + 1)
    for i, j, f in np.ndindex(layer.out_shape):
        z = p["b"][f] + sum(
            w[a, b, c, f] * x[:, i + a, j + b, c] for a, b, c in np.ndindex(*kernel, 2)
        )
        np.testing.assert_allclose(got[:, i, j, f], z, rtol=1e-12, atol=1e-12)


def test_convolution_and_pooling_send_the_right_gradient_to_their_input(page):
    rng = np.random.default_rng(4)
    conv = page.Conv((5, 6, 2), (2, 3), 3)
    pool = page.MaxPool(conv.out_shape, (2, 2))
    p = {"W": rng.normal(size=conv.shapes()["W"]), "b": rng.normal(size=3)}
    x, dy = rng.normal(size=(2, 60)), rng.normal(size=(2, pool.width(0)))

    def value(flat):
        return float(np.sum(dy * pool.forward({}, conv.forward(p, flat.reshape(2, 60))[0])[0]))

    z, columns = conv.forward(p, x)
    dz = pool.backward({}, pool.forward({}, z)[1], dy)
    dx = conv.backward(p, columns, dz)
    assert relative_error(dx.ravel(), numerical_gradient(value, x.ravel())) < 1e-8


@pytest.mark.equation("eq-applications-equivariance")
def test_a_shifted_image_gives_a_shifted_output(page):
    layer, x = page.Conv((5, 6, 2), (3, 3), 4), _image(5)
    p = layer.init(np.random.default_rng(6))
    shifted = np.roll(x, 1, axis=2)
    one, two = (layer.forward(p, v.reshape(3, -1))[0].reshape(3, 3, 4, 4) for v in (x, shifted))
    np.testing.assert_array_equal(two[:, :, 1:], one[:, :, :-1])
    # A dense layer has no such property.
    dense = mlp([60, 48])
    theta = dense.init(np.random.default_rng(6))
    one, two = (dense.forward(theta, v.reshape(3, -1))[0].reshape(3, 3, 4, 4) for v in (x, shifted))
    assert not np.allclose(two[:, :, 1:], one[:, :, :-1])


@pytest.mark.equation("eq-applications-rating")
def test_a_rating_is_two_biases_and_a_product(page):
    net = Network((page.Embedding(7, 4, 2), page.Dot(3)), losses.mse)
    theta = net.init(np.random.default_rng(7))
    table = net.unpack(theta)[0]["W"]
    for user, item in itertools.product(range(4), range(3)):
        u, v = table[user], table[4 + item]
        got = net.predict(theta, np.array([[user, 4 + item]], float))[0, 0]
        assert got == pytest.approx(u[0] + v[0] + sum(u[1:] * v[1:]), rel=1e-12)


@pytest.mark.equation("eq-applications-eckart")
def test_the_best_product_leaves_the_dropped_singular_values():
    rng = np.random.default_rng(8)
    r = rng.normal(size=(6, 5))
    # A linear network 6-2-5 without activation is such a product; biases are given no target.
    net = mlp([6, 2, 5], hidden="identity", loss="mse")
    theta = net.init(rng)
    optimizer = Adam(schedules.cosine(0.05, 4000))
    state = optimizer.init(theta)
    for _ in range(4000):
        _, gradient = net.loss_and_grad(theta, np.eye(6), r)
        for params in net.unpack(gradient):
            if params:
                params["b"][:] = 0
        theta, state = optimizer.step(theta, gradient, state)
    left = np.sum((net.predict(theta, np.eye(6)) - r) ** 2)
    sigma = np.linalg.svd(r, compute_uv=False)
    assert left == pytest.approx(np.sum(sigma[2:] ** 2), rel=1e-3)


@pytest.mark.equation("eq-applications-likelihood")
def test_the_likelihood_ratio_is_that_of_the_two_ways_to_make_a_sequence(page):
    """On sequences of 10 bases and a motif of 8: the probability of both, place by place."""
    rng = np.random.default_rng(9)
    m = page.log_ratio.__globals__["motif"] = rng.dirichlet(np.ones(4), size=8)
    for s in rng.integers(4, size=(20, 10)):
        background = 0.25**10
        planted = np.mean(
            [
                math.prod(m[t - j, s[t]] if 0 <= t - j < 8 else 0.25 for t in range(10))
                for j in range(3)
            ]
        )
        printed = math.log(
            sum(math.prod(m[k, s[j + k]] / 0.25 for k in range(8)) for j in range(3)) / 3
        )
        assert printed == pytest.approx(math.log(planted / background), rel=1e-12)
        assert page.log_ratio(s[None])[0] == pytest.approx(printed, rel=1e-12)


@pytest.mark.equation("eq-applications-information")
def test_the_height_of_a_stack_is_the_entropy_that_is_missing(page):
    f = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]])
    from torch.distributions import Categorical

    entropy = [Categorical(probs=page.torch.tensor(row)).entropy().item() for row in f]
    np.testing.assert_allclose(page.information(f), 2 - np.array(entropy) / math.log(2), atol=1e-6)
    np.testing.assert_allclose(page.information(f)[:3], [2, 0, 1], atol=1e-9)


def test_a_layer_of_ones_own_may_come_first_and_change_the_width(page):
    conv = page.Conv((4, 4, 1), (2, 2), 2)
    net = Network((conv, *mlp([18, 2]).layers), losses.softmax_cross_entropy)
    x, y = _image(10, 5, (4, 4, 1)).reshape(5, 16), np.array([0, 1, 0, 1, 1])
    assert net.n_inputs == 16
    theta = net.init(np.random.default_rng(0))
    result = fit(net, theta, Adam(0.05), x, y, epochs=60, batch_size=5, seed=0)
    assert accuracy(net, result.theta, x, y) == 1.0
    with pytest.raises(ValueError, match="16"):
        net.forward(result.theta, x[:, :-1])
