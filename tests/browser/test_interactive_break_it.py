"""The network that learns in the page, right and broken, against the package; and its lamps."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import gradcheck
from tests.book.book_files import BOOK
from tests.browser import specimens
from tests.browser.figures import Figure

LIMIT = 1e-7  # of a right gradient in float64, as in the chapter
# Two orders of the same sums, and two tanh that differ in their last digit.
ROUNDING = 1e-10
MOMENTUM, BATCH = 0.9, 12
EPOCHS = 40
RATES = ("0.01", "0.03", "0.1", "0.3", "1")


@pytest.fixture(scope="module")
def figure(page: Any, html: Path) -> Figure:
    """The figure of the gradient check, in a page that the tests of numbers share."""
    return Figure(page, html, "break_it")


def ask(figure: Figure, code: str, *arguments: Any) -> Any:
    """Run code with the arithmetic of the page at hand; arrays come back as lists."""
    return figure.page.js(f"const N = Figures.network, S = Figures.specimens; {code}", *arguments)


@pytest.fixture(scope="module")
def setting(figure: Figure) -> dict[str, Any]:
    """The points of the page, and parameters with biases that are not zero."""
    found = ask(figure, "return S.DATA")
    parts = {part: (np.array(found[part]["x"]), np.array(found[part]["y"])) for part in found}
    rng = np.random.default_rng(0)
    theta = specimens.network("none").init(rng)
    return {"theta": theta + 0.1 * rng.normal(size=theta.size), **parts}


@pytest.mark.parametrize("bug", specimens.NAMES)
def test_loss_and_gradient_are_those_of_the_package(
    figure: Figure, setting: dict[str, Any], bug: str
) -> None:
    """Of the right one without a bug, and of the one with the same part replaced."""
    theta, (x, y) = setting["theta"], setting["training"]
    code = "const r = N.lossAndGradient(...arguments); return [r.loss, [...r.gradient]]"
    loss, gradient = ask(figure, code, theta.tolist(), x[:20].tolist(), y[:20].tolist(), bug)
    ours, expected = specimens.network(bug).loss_and_grad(theta, x[:20], y[:20])
    assert loss == pytest.approx(ours, rel=ROUNDING)
    assert gradcheck.relative_error(np.array(gradient), expected) < ROUNDING
    if bug in ("slope", "bias", "softmax", "outputs", "sum"):
        _, right = specimens.network("none").loss_and_grad(theta, x[:20], y[:20])
        assert gradcheck.relative_error(np.array(gradient), right) > 0.1


@pytest.mark.parametrize("bug", specimens.NAMES)
def test_parameters_after_forty_steps_are_those_of_the_package(
    figure: Figure, setting: dict[str, Any], bug: str
) -> None:
    """From the same start with the same batches; of labels shuffled apart both orders are given."""
    (x, y), rng = setting["training"], np.random.default_rng(1)
    theta = np.zeros_like(setting["theta"]) if bug == "zero" else setting["theta"]
    batches = []
    for _ in range(40):
        rows = rng.permutation(len(x))[:BATCH]
        batches.append((rows, rng.permutation(rows) if bug == "apart" else rows))
    code = """
      const [theta, x, y, batches, options] = arguments, t = Float64Array.from(theta);
      N.train(t, N.newState(), x, y, batches, options);
      return [...t];
    """
    given = [[rows.tolist(), labels.tolist()] for rows, labels in batches]
    # A rate at which no program runs away: where it does, rounding grows too.
    options = {"rate": 0.003, "momentum": MOMENTUM, "bug": bug}
    found = ask(figure, code, theta.tolist(), x.tolist(), y.tolist(), given, options)
    expected = specimens.train(bug, theta, x, y, batches, rate=0.003, momentum=MOMENTUM)
    assert gradcheck.relative_error(np.array(found), expected) < ROUNDING
    assert gradcheck.relative_error(np.array(found), theta) > 1e-3


@pytest.mark.parametrize("bug", specimens.NAMES)
def test_each_lamp_says_what_the_check_of_the_package_says(figure: Figure, bug: str) -> None:
    """Array by array, at the start, while it learns, and at the end, with the page's own run."""
    x, y = (
        np.array(part)[:BATCH]
        for part in ask(figure, "return [S.DATA.training.x, S.DATA.training.y]")
    )
    for epoch in (0, 3, 10, EPOCHS):
        code = "const r = S.run(arguments[0], 0.1); return [[...r.at(e).theta], r.check(e)]"
        theta, lamps = ask(figure, f"const e = {epoch}; {code}", bug)
        errors = gradcheck.check(specimens.network(bug), np.array(theta, dtype=float), x, y)
        names = [lamp["name"] for lamp in lamps]
        assert names == ["W1", "b1", "W2", "b2", "W3", "b3"]
        assert list(errors) == ["0.W", "0.b", "2.W", "2.b", "4.W", "4.b"]
        for lamp, error in zip(lamps, errors.values(), strict=True):
            assert lamp["passes"] == (error < LIMIT), (epoch, lamp, error)
            if error > LIMIT:
                assert lamp["error"] == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("bug", specimens.NAMES)
def test_no_right_gradient_is_ever_called_wrong_nor_the_reverse(figure: Figure, bug: str) -> None:
    """At low and high rates; where weights grew too large for the check, the lamp is grey."""
    code = """
      const [bug, rate, every] = arguments, run = S.run(bug, rate), seen = [];
      for (let e = 0; e <= S.EPOCHS; e += every) seen.push(S.verdict(run.check(e)).passes);
      return seen;
    """
    wrong = bug in ("slope", "bias", "softmax", "outputs")
    for rate in RATES:
        seen = ask(figure, code, bug, float(rate), 4)
        assert set(seen) <= {None, not wrong}
        assert seen[0] is not None


def test_the_specimens_are_those_of_the_museum(figure: Figure) -> None:
    """Numbers and names; the lamp and the check that is said to find one are in its table."""
    cells = json.loads((BOOK / "chapters" / "bug_museum.ipynb").read_text("utf-8"))["cells"]
    printed = "".join(
        "".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])
    )
    (head,) = re.findall(r"^ +gradient .*hash *$", printed, re.M)
    code = """
      const passes = bug => S.verdict(S.run(bug, 0.1).check(0)).passes;
      return Object.entries(S.SPECIMENS).map(([bug, s]) => ({bug, ...s, passes: passes(bug)}));
    """
    found = ask(figure, code)
    assert [specimen["bug"] for specimen in found] == list(specimens.NAMES)
    for specimen in found[1:]:
        label = f"{specimen['number']:2} {specimen['name']}"
        (row,) = re.findall(rf"^{re.escape(label)} .*$", printed, re.M)
        failed = {
            check for check, mark in zip(head.split(), row[25:].split(), strict=True) if mark == "X"
        }
        assert ("gradient" in failed) == (not specimen["passes"]), specimen["name"]
        assert specimen["finds"] in failed
        assert specimen["lesson"].startswith("Green") == specimen["passes"]


# What the words beside the figure and in the answers claim, at the end: the least and the most of
# the test points that are right. Chance is one half.
LEARNS = {
    ("none", "0.1"): (0.95, 1),
    ("slope", "0.1"): (0.8, 0.92),  # "learns all the same, only worse"
    ("bias", "0.1"): (0.95, 1),  # "as well as the right program"
    ("outputs", "0.1"): (0.95, 1),
    ("sum", "0.1"): (0, 0.8),
    ("zero", "0.1"): (0.5, 0.5),
    ("apart", "0.1"): (0, 0.7),
    ("sum", "0.01"): (0.95, 1),  # "trains about as well" at a tenth of the rate
    ("kept", "0.1"): (0, 0.9),
    ("kept", "0.01"): (0, 0.9),  # no lower rate cures it
}


@pytest.mark.parametrize(("bug", "rate"), LEARNS)
def test_it_learns_as_well_as_the_words_say(figure: Figure, bug: str, rate: str) -> None:
    """With the points that it was not trained on."""
    share = ask(
        figure, "return S.run(arguments[0], arguments[1]).at(S.EPOCHS).test", bug, float(rate)
    )
    low, high = LEARNS[bug, rate]
    assert low <= share <= high


def agrees(figure: Figure, bug: str, rate: str) -> None:
    """Compare the sentence with the package, for the parameters that the page has now."""
    epoch = int(figure.value("epoch"))
    theta, data = ask(
        figure, "return [[...S.run(arguments[0], arguments[1]).at(arguments[2]).theta], S.DATA]",
        bug, float(rate), epoch,
    )  # fmt: skip
    net, theta = specimens.network("none"), np.array(theta)
    shares, loss = {}, math.nan
    for part in ("training", "test"):
        x, y = np.array(data[part]["x"]), np.array(data[part]["y"])
        shares[part] = 100 * float(np.mean(net.predict(theta, x) == y))
        if part == "training":
            loss = net.loss_value(theta, x, y) * (BATCH if bug == "sum" else 1)
    said = figure.numbers
    assert said[:2] == [epoch, EPOCHS]
    assert said[2] == pytest.approx(loss, abs=6e-4, rel=1e-3)
    assert said[3] == pytest.approx(shares["training"], abs=0.51)
    assert said[4] == pytest.approx(shares["test"], abs=0.51)
    assert ("passes" in figure.text) == (bug in ("none", "sum", "zero", "kept", "apart"))


def choose(figure: Figure, bug: str) -> None:
    """Push one of the buttons with the Enter key."""
    figure.element(f"[data-value={bug}]").send_keys("\ue007")
    pressed = figure.box.find_elements("css selector", "[aria-pressed=true]")
    assert [button.get_attribute("data-value") for button in pressed] == [bug]


def test_every_control_is_worked_by_keys(page: Any, html: Path) -> None:
    """A bug, a rate, an epoch, a step; numbers, drawing and lamps follow."""
    figure = Figure(page, html, "break_it")
    agrees(figure, "none", "0.1")
    figure.press("epoch", *["right"] * 7)
    agrees(figure, "none", "0.1")
    for bug in specimens.NAMES[1:]:
        before = figure.drawing
        choose(figure, bug)
        assert figure.drawing != before
        agrees(figure, bug, "0.1")
        lesson = page.js("return Figures.specimens.SPECIMENS[arguments[0]].lesson", bug)
        assert figure.element(".lesson").text == lesson
        reds = figure.box.find_elements("css selector", ".lamp.red-area")
        assert bool(reds) == ("FAILS" in figure.text)
        assert figure.labels[2].count("FAILS") == len(reds)
    figure.choose("rate", "0.03")
    agrees(figure, "apart", "0.03")
    figure.push("Step", 2)
    assert figure.value("epoch") == 9
    agrees(figure, "apart", "0.03")
    figure.push("Start again")
    agrees(figure, "apart", "0.03")


def test_the_derivative_left_out_shows_where_it_is(page: Any, html: Path) -> None:
    """The lamps below the last layer are red, those of the last layer are green."""
    figure = Figure(page, html, "break_it")
    choose(figure, "slope")
    lamps = figure.box.find_elements("css selector", ".lamp")
    colours = ["red" if "red-area" in lamp.get_attribute("class") else "green" for lamp in lamps]
    assert colours == ["red"] * 4 + ["green"] * 2


def test_what_plays_is_read_aloud_only_where_it_stops(page: Any, html: Path) -> None:
    """And not while it goes on."""
    figure = Figure(page, html, "break_it")
    spoken = "return arguments[0].querySelector('.numbers').ariaLive"
    live = page.js(
        "[...arguments[0].querySelectorAll('button')].find(b => b.textContent === 'Play').click();"
        + spoken,
        figure.box,
    )
    assert live == "off"
    figure.pause(after=900)
    assert page.js(spoken, figure.box) == "polite"
    stopped = figure.value("epoch")
    assert 2 <= stopped < EPOCHS
    figure.wait(500)
    assert figure.value("epoch") == stopped


def test_a_bug_that_is_chosen_while_it_plays_starts_from_the_beginning(
    page: Any, html: Path
) -> None:
    """Where nothing plays, the epoch stays, to compare the two programs there."""
    figure = Figure(page, html, "break_it")
    figure.press("epoch", *["right"] * 30)
    choose(figure, "apart")
    assert figure.value("epoch") == 30
    script = """
    const find = (test) => [...arguments[0].querySelectorAll("button")].find(test);
    find(b => b.textContent === "Play").click();
    find(b => b.dataset.value === "kept").click();
    return Number(document.getElementById("break_it-epoch").value);
    """
    assert page.js(script, figure.box) == 0


def test_the_run_is_the_same_in_every_page(page: Any, html: Path) -> None:
    """Loaded again, and in the other chapter."""
    said = []
    for name in ("gradient_checking", "gradient_checking", "bug_museum"):
        figure = Figure(page, html, "break_it", on=f"chapters/{name}")
        figure.to_end("epoch", EPOCHS)
        said.append(figure.text)
    assert len(set(said)) == 1
