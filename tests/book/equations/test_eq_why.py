"""The equations and the dates of the chapter Background and history, as printed there."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import mlp
from course_lib.data import load_digits
from course_lib.neurons import Neuron, step
from tests.book.book_files import BOOK, cells

CHAPTER = BOOK / "chapters" / "why.ipynb"


def _constant(name: str) -> Any:
    """Return the value of a constant that a cell of the chapter defines."""
    for cell in cells(CHAPTER, "code"):
        for node in ast.parse(cell["source"]).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.literal_eval(node.value)
    raise LookupError(name)


@pytest.mark.equation("eq-why-mistakes")
def test_the_share_of_mistakes_is_one_minus_the_accuracy():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    ink, y = rng.normal(size=40), rng.integers(0, 2, 40)
    for t in (-0.5, 0.0, 0.7):
        unit = Neuron([1.0], bias=-t, activation=step)
        r = np.array([unit([value]) for value in ink])
        printed = sum(r[i] != y[i] for i in range(40)) / 40
        assert printed == pytest.approx(1 - metrics.accuracy_score(y, r), abs=1e-12)


def test_the_hand_written_rule_is_good_at_one_pair_and_at_few_others():
    """The counts that the chapter prints, from the data and without its code."""
    x, y, *_ = load_digits()
    left = np.array([sum(image[8 * row + column] for row in range(2, 6) for column in range(4))
                     for image in x])  # fmt: skip
    shares = {}
    for a, b in itertools.combinations(range(10), 2):
        keep = (y == a) | (y == b)
        best = 0.0
        for t in np.arange(0, 12, 0.25):
            right = np.mean((left[keep] > t) == (y[keep] == b))
            best = max(best, right, 1 - right)
        shares[a, b] = best
    assert shares[3, 8] > 0.96
    assert sum(share < 0.9 for share in shares.values()) == 34


@pytest.mark.equation("eq-why-learning")
def test_the_loss_is_the_mean_of_the_row_losses_as_in_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    net = mlp([7, 4, 3])
    theta, x, y = rng.normal(size=net.n_params), rng.normal(size=(5, 7)), np.array([0, 2, 1, 1, 0])
    outputs, _ = net.forward(theta, x)
    rows = [
        torch.nn.functional.cross_entropy(
            torch.tensor(outputs[i : i + 1]), torch.tensor(y[i : i + 1])
        )
        for i in range(5)
    ]
    assert net.loss_value(theta, x, y) == pytest.approx(float(sum(rows)) / 5, rel=1e-13)


@pytest.mark.equation("eq-why-xor")
def test_no_neuron_gets_below_ln_2_on_xor_and_zero_reaches_it():
    net = mlp([2, 1], loss="binary_cross_entropy")
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([0, 1, 1, 0])
    zero, slope = net.loss_and_grad(np.zeros(3), x, y)
    assert zero == pytest.approx(np.log(2), rel=1e-15)
    np.testing.assert_allclose(slope, 0, atol=1e-16)
    rng = np.random.default_rng(2)
    for scale in (1e-3, 0.1, 1.0, 10.0):
        for theta in rng.normal(scale=scale, size=(200, 3)):
            printed = 0.0  # the four cross-entropies written out
            for (x1, x2), label in zip(x, y, strict=True):
                z = theta[0] * x1 + theta[1] * x2 + theta[2]
                printed += np.logaddexp(0, -z if label else z) / 4
            assert net.loss_value(theta, x, y) == pytest.approx(printed, rel=1e-12)
            assert printed >= np.log(2) - 1e-15


@pytest.mark.equation("eq-why-work")
@pytest.mark.parametrize("sizes", [(64, 32, 10), (300, 400, 500, 200)])
def test_training_costs_about_six_operations_per_parameter_and_row(sizes):
    """PyTorch counts its products; the first layer passes no error on, biases are cheap."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    rows, layers = 50, []
    for n, m in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    model, x = torch.nn.Sequential(*layers), torch.ones(rows, sizes[0], requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    printed = 6 * mlp(list(sizes)).n_params * rows
    assert counter.get_total_flops() == pytest.approx(printed, rel=0.03)


@pytest.mark.equation("eq-why-halves")
@pytest.mark.parametrize("cut", [1, 4, 9])
def test_the_gradients_of_the_parts_add_up_to_that_of_the_whole(cut):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    net = mlp([7, 4, 3], hidden="tanh")
    theta, x, y = rng.normal(size=net.n_params), rng.normal(size=(10, 7)), rng.integers(0, 3, 10)
    parts = [
        net.loss_and_grad(theta, x[rows], y[rows], denominator=10)[1]
        for rows in (slice(0, cut), slice(cut, 10))
    ]
    w0, b0, w1, b1 = (
        torch.tensor(a, requires_grad=True)
        for a in (theta[:28].reshape(7, 4), theta[28:32], theta[32:44].reshape(4, 3), theta[44:])
    )
    outputs = torch.tanh(torch.tensor(x) @ w0 + b0) @ w1 + b1
    torch.nn.functional.cross_entropy(outputs, torch.tensor(y)).backward()
    whole = np.concatenate([p.grad.numpy().ravel() for p in (w0, b0, w1, b1)])
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-11, atol=1e-14)


def test_every_date_of_the_timeline_is_the_year_of_its_source():
    years = {}
    for entry in (BOOK / "references.bib").read_text("utf-8").split("\n@"):
        key = re.search(r"\{\s*(\w+),", entry)
        year = re.search(r"year\s*=\s*\{(\d{4})\}", entry)
        if key and year:
            years[key[1]] = int(year[1])
    events = _constant("EVENTS")
    assert len(events) > 20
    assert [year for year, *_ in events] == sorted(year for year, *_ in events)
    assert {key: year for year, _, _, key in events} == {key: years[key] for *_, key in events}


def test_every_event_of_the_figure_is_in_the_text_with_its_source():
    text = "\n".join(cell["source"] for cell in cells(CHAPTER, "markdown"))
    cited = set(re.findall(r"\w+", " ".join(re.findall(r"\{cite:?\w?\}`([^`]+)`", text))))
    assert {key for *_, key in _constant("EVENTS")} <= cited


def test_the_tests_read_the_chapter_itself():
    assert Path(CHAPTER).is_file()
    with pytest.raises(LookupError):
        _constant("NO_SUCH_CONSTANT")
