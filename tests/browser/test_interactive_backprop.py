"""The figure of one neuron's graph, against the package's engine of reverse mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from course_lib.autodiff import Value
from tests.browser.figures import Figure

THOUSANDTH = 0.5e-3 + 1e-9  # three decimals are shown
FORWARD = ["u", "z", "a", "L"]
BACKWARD = ["L", "ay", "z", "ub", "wx"]


def graph(figure: Figure) -> dict[str, Value]:
    """Build the neuron from the sliders, and walk back from its loss."""
    v = {name: Value(figure.value(name)) for name in "xwby"}
    v["u"] = v["w"] * v["x"]
    v["z"] = v["u"] + v["b"]
    v["a"] = v["z"].sigmoid()
    error = v["a"] + Value(-1.0) * v["y"]
    v["L"] = error * error
    v["L"].backward()
    return v


def shown(figure: Figure, kind: str) -> dict[str, float]:
    """Return the numbers in the picture: values, derivatives or rates, by name."""
    script = (
        "return [...arguments[0].querySelectorAll(`[data-${arguments[1]}]`)]"
        ".map(e => [e.dataset[arguments[1]], e.textContent])"
    )
    found = figure.page.js(script, figure.box, kind)
    return {name: float(text.replace("−", "-").strip("·()")) for name, text in found}


def agrees(figure: Figure, steps: int) -> None:
    """After so many steps the picture shows what is known by then, and nothing else."""
    v = graph(figure)
    values = shown(figure, "value")
    assert set(values) == {*"xwby", *FORWARD[:steps]}
    assert values == pytest.approx({name: v[name].data for name in values}, abs=THOUSANDTH)
    derivatives = shown(figure, "derivative")
    assert set(derivatives) == set("".join(BACKWARD[: max(0, steps - 4)]))
    assert derivatives == pytest.approx({n: v[n].grad for n in derivatives}, abs=THOUSANDTH)
    assert figure.text.startswith(f"Step {steps} of 9.")


def test_each_step_forward_and_backward(page: Any, html: Path) -> None:
    """Next to the end, Previous half of the way back, and from the start again."""
    figure = Figure(page, html, "backprop")
    agrees(figure, 0)
    for step in range(1, 10):
        before = figure.drawing
        figure.push("Next")
        assert figure.drawing != before
        agrees(figure, step)
    figure.push("Next")
    agrees(figure, 9)
    figure.push("Previous", times=4)
    agrees(figure, 5)
    figure.push("Start again")
    agrees(figure, 0)


def test_other_numbers(page: Any, html: Path) -> None:
    """Each slider moved by keys, with all steps taken; a rate is the ratio of two derivatives."""
    figure = Figure(page, html, "backprop")
    figure.push("Next", times=9)
    for key, *keys in (("w", "right"), ("x", "left"), ("b", *["right"] * 3), ("y", "left")):
        before = figure.text
        figure.press(key, *keys)
        assert figure.text != before or key == "y"
        agrees(figure, 9)
    v = graph(figure)
    rates = {name: v[name[0]].grad / v[name[1]].grad for name in shown(figure, "rate")}
    assert len(rates) == 7
    assert shown(figure, "rate") == pytest.approx(rates, abs=THOUSANDTH)


def test_an_input_of_zero_hides_the_weight(page: Any, html: Path) -> None:
    """As the text below the figure asks: dL/dw is zero, and the loss is not."""
    figure = Figure(page, html, "backprop")
    figure.push("Next", times=9)
    figure.press("x", *["left"] * 8)
    assert figure.value("x") == 0
    assert shown(figure, "derivative")["w"] == 0 and shown(figure, "value")["L"] > 0.1
