"""Every fault of the source article happens here again, and goes away when it is corrected.

The entries are in book/reference/errata.toml. A test says in its mark which of them it
proves; an entry without a test fails, and so does a test without an entry.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

import tests.book.article_listing as article
from course_lib import SGD, Adam, Dense, Neuron, activations, fit, gradcheck, losses, mlp, weights
from course_lib.data import load_digits
from course_lib.neurons import step
from course_lib.parallel import train as train_in_parallel
from tests.book.book_files import BOOK, chapters, extension, markdown

ROOT = BOOK.parent
errata = extension("errata")
DATA = errata.load(BOOK)
FAULTS = {entry["number"]: entry for entry in DATA["fault"]}
TIGHT = 1e-7  # relative error of a right gradient against central differences in float64


def measured(name: str) -> float:
    """Return a number of the page."""
    return float(DATA["measured"][name]["value"].replace(",", ""))


# The data file, the page and these tests belong together.


def test_the_page_shows_all_of_the_data():
    page = (BOOK / "reference" / "errata.md").read_text("utf-8")
    for part in ("errata-variants", "errata", "errata-references"):
        assert page.count(f"```{{course}} {part}\n```") == 1
    text = errata.faults(BOOK)
    for number, fault in FAULTS.items():
        assert f"{{#erratum-{number}}}\n### {number}. {fault['title']}\n" in text
        assert fault["claim"] in text and fault["correction"] in text
    assert len(errata.variants(BOOK).splitlines()) == 2 + len(DATA["variant"])
    assert len(errata.references(BOOK).splitlines()) == 2 + len(DATA["reference"])


def test_every_fault_has_a_test_and_every_test_a_fault():
    proved = errata.tests_of(Path(__file__).read_text("utf-8"))
    assert sorted(proved) == sorted(FAULTS) == list(range(1, 23))


def test_every_measured_number_is_on_the_page_and_measured_by_the_test_it_names():
    source = Path(__file__).read_text("utf-8")
    for name, entry in DATA["measured"].items():
        body = source.split(f"def {entry['test']}(")[1].split("\ndef ")[0]
        assert f'measured("{name}")' in body, name
        assert any(f"{{{name}}}" in fault["happens"] for fault in FAULTS.values()), name


def test_every_entry_links_to_chapters_that_exist():
    for fault in FAULTS.values():
        assert fault["chapters"]
        assert set(fault["chapters"]) <= set(chapters()), fault["number"]


def test_every_number_that_a_fault_names_is_measured():
    for fault in FAULTS.values():
        # A word in braces is a number's name, unless it belongs to a command of LaTeX.
        named = re.findall(r"(?<![\\\w_}^])\{(\w+)\}", fault["happens"])
        assert set(named) <= set(DATA["measured"]), fault["number"]


# The NumPy listing.


@pytest.mark.erratum(1, 2, 3, 4)
@pytest.mark.parametrize(
    "variant", DATA["variant"], ids=lambda v: f"{v['what']}, {v['rate']:g}".replace(" ", "-")
)
def test_the_variants_of_the_listing_do_what_the_table_says(variant):
    specimen = article.Specimen(frozenset(variant["faults"]))
    runs = [specimen.train(variant["rate"], seed=seed) for seed in range(5)]
    broken = [epoch for _, epoch in runs if epoch is not None]
    if "not_finite_at_epoch" in variant:
        assert [min(broken), max(broken)] == variant["not_finite_at_epoch"]
        assert len(broken) == 5
        return
    assert not broken
    shares = [article.share_right(params) for params, _ in runs]
    # Rounding differs between processors and is amplified by 200 epochs.
    assert [min(shares), max(shares)] == pytest.approx(variant["accuracy"], abs=0.015)
    dead = [not article.hidden_and_outputs(params, article.IMAGES)[0].any() for params, _ in runs]
    assert all(dead) == variant.get("every_unit_dead", False)


def errors(faults: set[int], start: set[int] = frozenset()) -> list[float]:
    """Compare the gradient with differences of the loss: W1, b1, W2, b2."""
    specimen = article.Specimen(frozenset(faults))
    rng = np.random.default_rng(4)
    params = article.Specimen(frozenset(start)).start(rng, (64, 8, 10))
    for b in params[1::2]:
        b += 0.1 * rng.normal(size=b.shape)
    x, t = article.IMAGES[:6], article.TARGETS[:6]
    found = []
    for i, ours in enumerate(specimen.gradient(params, x, t)):

        def loss(values, i=i):
            parts = [*params[:i], values.reshape(params[i].shape), *params[i + 1 :]]
            return specimen.loss(parts, x, t)

        slope = gradcheck.numerical_gradient(loss, params[i].ravel())
        found.append(gradcheck.relative_error(ours.ravel(), slope))
    return found


@pytest.mark.erratum(1)
def test_without_the_derivative_of_relu_the_first_layer_is_wrong():
    W1, b1, W2, b2 = errors({1})
    assert min(W1, b1) > measured("trap_error")
    assert max(W2, b2) < TIGHT
    assert max(errors(set())) < TIGHT


@pytest.mark.erratum(1)
def test_the_wrong_gradient_looks_as_good_as_the_right_one():
    ahead = 0
    for seed in range(5):
        wrong, right = (
            article.share_right(article.Specimen(frozenset(faults)).train(0.1, seed=seed)[0])
            for faults in ({1}, set())
        )
        ahead += wrong > right
        assert wrong > 0.8
    # One start more or less: the two differ by a few images, and rounding by processor.
    assert ahead == pytest.approx(measured("trap_ahead"), abs=1)


@pytest.mark.erratum(2)
def test_one_sum_for_all_units_keeps_their_biases_equal_and_fails_the_check():
    W1, b1, W2, b2 = errors({2})
    assert min(b1, b2) > 0.1
    assert max(W1, W2) < TIGHT
    for faults, equal in (({2}, True), (set(), False)):
        params, _ = article.Specimen(frozenset(faults)).train(0.1, seed=0, epochs=20)
        assert (np.ptp(params[1]) == 0) == equal
        assert (np.ptp(params[3]) == 0) == equal


@pytest.mark.erratum(3)
def test_a_start_between_zero_and_one_kills_every_unit():
    specimen = article.Specimen(frozenset({3}))
    hidden, outputs = article.hidden_and_outputs(
        specimen.start(np.random.default_rng(0)), article.IMAGES
    )
    assert (hidden > 0).all()
    assert outputs.mean() == pytest.approx(measured("first_output"), rel=0.1)
    params, _ = specimen.train(0.1, seed=0, epochs=1)
    assert not article.hidden_and_outputs(params, article.IMAGES)[0].any()
    params, _ = article.Specimen().train(0.1, seed=0, epochs=1)
    assert article.hidden_and_outputs(params, article.IMAGES)[0].any(axis=0).mean() > 0.9


@pytest.mark.erratum(3)
def test_at_that_start_the_missing_derivative_passes_the_check():
    assert max(errors({1}, start={3})) < TIGHT


@pytest.mark.erratum(4)
@pytest.mark.parametrize(("faults", "ratio"), [({4}, 2.0), (set(), 1.0)])
def test_a_sum_makes_twice_the_data_twice_the_step(faults, ratio):
    specimen = article.Specimen(frozenset(faults))
    params = article.Specimen().start(np.random.default_rng(0))
    x, t = article.IMAGES[:50], article.TARGETS[:50]
    once = specimen.gradient(params, x, t)
    twice = specimen.gradient(params, np.vstack([x, x]), np.vstack([t, t]))
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_allclose(two, ratio * one, rtol=1e-10, atol=1e-13)


class _Stateful:
    """A layer with the listing's habits: the global generator, and inputs kept for later."""

    def __init__(self):
        self.W = np.random.normal(size=(64, 10))

    def forward(self, x):
        self.x = x
        return x @ self.W

    def gradient(self, dz):
        return self.x.T @ dz


@pytest.mark.erratum(5)
def test_hidden_state_changes_the_start_and_the_gradient():
    layer, other = _Stateful(), _Stateful()
    assert not np.array_equal(layer.W, other.W)
    x, dz = article.IMAGES[:20], np.ones((20, 10))
    layer.forward(x)
    before = layer.gradient(dz)
    layer.forward(article.IMAGES[20:40])
    assert not np.allclose(layer.gradient(dz), before)


@pytest.mark.erratum(5)
def test_without_state_the_same_call_gives_the_same():
    net = mlp([64, 10])
    theta = net.init(np.random.default_rng(0))
    np.testing.assert_array_equal(theta, net.init(np.random.default_rng(0)))
    x, y = article.IMAGES[:20], article.LABELS[:20]
    before = net.loss_and_grad(theta, x, y)[1]
    net.forward(theta, article.IMAGES[20:40])
    np.testing.assert_array_equal(net.loss_and_grad(theta, x, y)[1], before)


# The framework listing, without the framework.


def made(widths: list[int], rounds: int) -> list[tuple[int, int]]:
    """Return the shapes that the construction asks for in so many rounds."""
    return [(widths[i], widths[i + 1]) for i in range(rounds)]


def used(widths: list[int]) -> list[int]:
    """Return the numbers of the hidden matrices that the forward pass asks for."""
    return [0] + [i + 1 for i in range(len(widths) - 1)]


WIDTHS = [[32], [64, 32], [128, 64, 32]]


@pytest.mark.erratum(7)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_one_round_for_each_width_is_one_too_many(widths):
    with pytest.raises(IndexError):
        made(widths, len(widths))
    assert len(list(pairwise([64, *widths, 10]))) == len(widths) + 1


@pytest.mark.erratum(8)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_the_forward_pass_needs_one_matrix_more_than_a_repaired_loop_makes(widths):
    shapes = made(widths, len(widths) - 1)
    assert len(used(widths)) == len(shapes) + 1
    assert len(set(used(widths))) == len(used(widths))  # and it uses none of them twice
    with pytest.raises(IndexError):
        shapes[max(used(widths))]


@pytest.mark.erratum(6)
@pytest.mark.parametrize("widths", WIDTHS[1:], ids=str)
def test_the_first_matrix_fits_inputs_as_wide_as_the_first_hidden_layer_only(widths):
    (rows, _), *_ = made(widths, len(widths) - 1)
    assert rows == widths[0]
    with pytest.raises(ValueError, match="matmul"):
        np.ones((1, 50)) @ np.ones(made(widths, 1)[0])
    net = mlp([50, *widths, 10])
    theta = net.init(np.random.default_rng(0))
    assert net.forward(theta, np.ones((1, 50)))[0].shape == (1, 10)


@pytest.mark.erratum(9)
def test_what_was_not_run_is_said_to_be_read_and_where():
    # TensorFlow is no dependency, so all that can be tested is that the page does not claim more.
    assert "tensorflow" not in (ROOT / "pyproject.toml").read_text("utf-8").lower()
    entry = FAULTS[9]
    assert "not run" in entry["not_run"]
    for name in ("AdamOptimizer", "enable_eager_execution"):
        assert "https://www.tensorflow.org/api_docs/python/tf/compat/v1/" in entry["not_run"]
        assert name in entry["not_run"]
    assert [n for n, fault in FAULTS.items() if "not_run" in fault] == [9]


@pytest.mark.erratum(10)
def test_unit_variance_weights_let_the_signal_grow():
    def factor(draw) -> float:
        rng, width = np.random.default_rng(0), 128
        a, sizes = rng.normal(size=(400, width)), []
        for _ in range(10):
            z = a @ draw(rng, width, width)
            sizes.append(np.sqrt(np.mean(z**2)))
            a = np.maximum(z, 0)
        return float((sizes[-1] / sizes[0]) ** (1 / 9))

    wide = factor(lambda rng, m, n: weights.normal(rng, m, n, std=1.0))
    # Ten layers of random weights: a few percent of luck.
    assert wide == pytest.approx(measured("growth"), rel=0.06)
    assert measured("growth") == pytest.approx(np.sqrt(128 / 2))
    assert factor(weights.he_normal) == pytest.approx(measured("he_growth"), rel=0.06)


@pytest.mark.erratum(11)
def test_one_batch_learns_slowly_and_squared_error_more_so():
    split = load_digits()
    x, y, held = split.x_train[:1149], split.y_train[:1149], slice(1149, None)

    def score(loss, targets, size) -> float:
        net = mlp([64, 64, 32, 10], loss=loss)
        theta = net.init(np.random.default_rng(0))
        theta = fit(net, theta, Adam(1e-3), x, targets, epochs=30, batch_size=size, seed=0).theta
        outputs = net.forward(theta, split.x_train[held])[0]
        return float(np.mean(outputs.argmax(axis=1) == split.y_train[held]))

    # 289 images, so one is 0.003; rounding by processor moves a few of them.
    ce = "softmax_cross_entropy"
    assert score("mse", np.eye(10)[y], len(y)) == pytest.approx(measured("mse_one_batch"), abs=0.02)
    assert score(ce, y, len(y)) == pytest.approx(measured("ce_one_batch"), abs=0.02)
    assert score("mse", np.eye(10)[y], 32) == pytest.approx(measured("mse_batches"), abs=0.02)
    assert score(ce, y, 32) == pytest.approx(measured("ce_batches"), abs=0.02)


# The text.


@pytest.mark.erratum(12)
def test_a_neuron_with_a_bias_is_one_without_that_sees_a_one_more():
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, b, x = rng.normal(size=3), rng.normal(), rng.normal(size=3)
        complex_one = Neuron(w, bias=b, activation=np.tanh)
        simple_one = Neuron([*w, b], activation=np.tanh)
        assert complex_one(x) == pytest.approx(simple_one([*x, 1.0]), rel=1e-12)
    # The bias is what makes a difference: without it the answer at the origin is fixed.
    assert {Neuron(rng.normal(size=2), activation=step)([0, 0]) for _ in range(20)} == {1}
    assert Neuron([1, 1], bias=-0.5, activation=step)([0, 0]) == 0


@pytest.mark.erratum(13)
def test_an_activation_keeps_the_shape_and_a_weighted_sum_does_not():
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(5, 3)), rng.normal(size=3)
    for act in activations.ALL.values():
        assert act(z).shape == z.shape
        alone = [[act(np.array([[v]]))[0, 0] for v in row] for row in z]
        np.testing.assert_allclose(act(z), alone, rtol=1e-12)  # one number in, one number out
    as_printed = activations.sigmoid(z @ w)
    assert as_printed.shape == (5,)
    np.testing.assert_allclose(
        as_printed, [Neuron(w, activation=activations.sigmoid)(row) for row in z], rtol=1e-12
    )


@pytest.mark.erratum(14)
def test_backpropagation_finds_the_gradient_and_optimizers_use_it():
    rng = np.random.default_rng(0)
    net = mlp([7, 6, 3], hidden="tanh")
    theta, x, y = net.init(rng), rng.normal(size=(5, 7)), rng.integers(0, 3, 5)
    before = theta.copy()
    gradient = net.loss_and_grad(theta, x, y)[1]
    np.testing.assert_array_equal(theta, before)
    numerical = gradcheck.numerical_gradient(lambda t: net.loss_value(t, x, y), theta)
    assert gradcheck.relative_error(gradient, numerical) < TIGHT
    moved = [o.step(theta, gradient, o.init(theta))[0] for o in (SGD(0.1), Adam(0.1))]
    np.testing.assert_allclose(moved[0], theta - 0.1 * gradient, rtol=1e-12)
    assert not np.allclose(moved[0], moved[1])


@pytest.mark.erratum(15)
def test_no_single_neuron_is_xor_and_layers_are():
    corners = [(a, b) for a in (0, 1) for b in (0, 1)]
    wanted = [a ^ b for a, b in corners]
    grid = np.linspace(-2, 2, 17)
    for w1 in grid:
        for w2 in grid:
            for b in grid:
                one = Neuron([w1, w2], bias=b, activation=step)
                assert [one(c) for c in corners] != wanted
    either = Neuron([1, 1], bias=-0.5, activation=step)
    both = Neuron([1, 1], bias=-1.5, activation=step)
    out = Neuron([1, -1], bias=-0.5, activation=step)
    assert [out([either(c), both(c)]) for c in corners] == wanted


@pytest.mark.erratum(15)
def test_a_forward_pass_goes_layer_by_layer():
    rng = np.random.default_rng(0)
    net = mlp([7, 6, 3], hidden="tanh")
    theta, x = rng.normal(size=net.n_params), rng.normal(size=(5, 7))
    a = x
    for arrays, f in zip(net.unpack(theta)[::2], (np.tanh, lambda z: z), strict=True):
        a = f(a @ arrays["W"] + arrays["b"])
    np.testing.assert_allclose(net.forward(theta, x)[0], a, rtol=1e-12)


@pytest.mark.erratum(16)
def test_the_chain_rule_needs_the_slope_at_the_pre_activation():
    x, w, target = np.array([0.5, -1.0, 2.0]), np.array([0.3, 0.8, -0.4]), 1.0

    def loss(w):
        return (1 / (1 + np.exp(-w @ x)) - target) ** 2

    y = 1 / (1 + np.exp(-w @ x))
    three_factors = 2 * (y - target) * y * (1 - y) * x
    two_factors = 2 * (y - target) * x
    numerical = gradcheck.numerical_gradient(loss, w)
    assert gradcheck.relative_error(three_factors, numerical) < TIGHT
    assert gradcheck.relative_error(two_factors, numerical) > 0.1


@pytest.mark.erratum(17)
def test_a_network_has_layers_and_a_neuron_has_none():
    assert not hasattr(Neuron([1.0, 2.0]), "layers")
    dense = [layer for layer in mlp([7, 6, 3]).layers if isinstance(layer, Dense)]
    assert [(layer.fan_in, layer.fan_out) for layer in dense] == [(7, 6), (6, 3)]


@pytest.mark.erratum(18)
def test_no_loss_is_linear_and_the_targets_tell_them_apart():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 4, 3))
    targets = {
        "values": rng.normal(size=(4, 3)),
        "binary": rng.integers(0, 2, (4, 3)),
        "labels": rng.integers(0, 3, 4),
        "margin": rng.integers(0, 3, 4),
    }
    for loss in losses.ALL.values():
        y = targets[loss.kind]
        middle = loss((u + v) / 2, y)[0]
        ends = (loss(u, y)[0] + loss(v, y)[0]) / 2
        assert middle < ends - 1e-3  # a linear function would be equal, also with a constant
    assert {loss.kind for loss in losses.ALL.values()} == set(targets)


@pytest.mark.erratum(19)
def test_the_three_losses_differ_by_their_divisors():
    params = article.Specimen().start(np.random.default_rng(0))
    error = article.hidden_and_outputs(params, article.IMAGES)[1] - article.TARGETS
    whole = np.sum(error**2)
    sums = {"sum": whole, "rows": whole / len(error), "all": np.mean(error**2)}
    assert sums["sum"] / sums["all"] == pytest.approx(measured("loss_ratio_all"), rel=1e-9)
    assert sums["sum"] / sums["rows"] == pytest.approx(1797, rel=1e-9)
    assert sums["rows"] / sums["all"] == pytest.approx(10, rel=1e-9)


def entries() -> dict[str, dict[str, str]]:
    """Return the fields of references.bib by key."""
    found = {}
    text = (BOOK / "references.bib").read_text("utf-8")
    for _, key, body in re.findall(r"^@(\w+)\{([^,]+),\n(.*?)^\}", text, re.S | re.M):
        fields = re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", body)
        found[key] = dict(fields)
    return found


@pytest.mark.erratum(20)
@pytest.mark.parametrize(
    ("key", "year"),
    [
        ("rumelhart1986", "1986"), ("lecun1989", "1989"), ("hochreiter1997", "1997"),
        ("hinton2006", "2006"), ("krizhevsky2012", "2012"),
    ],
)  # fmt: skip
def test_the_history_has_sources_with_these_years(key, year):
    assert entries()[key]["year"] == year
    assert year in FAULTS[20]["happens"]
    assert f"`{key}`" in markdown(BOOK / "chapters" / "why.ipynb")


@pytest.mark.erratum(21)
def test_the_course_has_the_part_that_the_title_promised():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))
    (part,) = (part for part in toc["parts"] if part["caption"] == "Parallel training")
    assert len(part["chapters"]) == 11
    assert "eleven chapters" in FAULTS[21]["correction"]


@pytest.mark.erratum(21)
def test_training_on_three_ranks_is_the_serial_training():
    split, net = load_digits(), mlp([64, 10])
    x, y = split.x_train[:100], split.y_train[:100]
    settings = {"epochs": 2, "batch_size": 32, "seed": 0}
    alone = fit(net, net.init(np.random.default_rng(0)), SGD(0.1), x, y, **settings)
    three = train_in_parallel(
        net, (x, y), optimizer=SGD(0.1), workers=3, comm="inprocess", **settings
    )
    np.testing.assert_allclose(three.theta, alone.theta, rtol=1e-10, atol=1e-13)


@pytest.mark.erratum(22)
@pytest.mark.parametrize("reference", DATA["reference"], ids=lambda r: r["key"])
def test_the_bibliography_has_the_corrected_reference(reference):
    entry = entries()[reference["key"]]
    for field, value in reference["fields"].items():
        assert entry[field] == value


@pytest.mark.erratum(22)
def test_no_work_stands_twice_in_the_bibliography():
    works = [
        re.sub(r"[{}]", "", entry["title"] + entry.get("author", "")).lower()
        for entry in entries().values()
    ]
    assert len(works) > 100
    assert len(works) == len(set(works))
