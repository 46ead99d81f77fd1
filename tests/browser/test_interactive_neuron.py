"""The figure of one neuron, against the neuron of the package."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from course_lib import Neuron
from course_lib.neurons import step
from tests.browser.figures import Figure

GATES = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "nand": [1, 1, 1, 0], "xor": [0, 1, 1, 0]}


def expected(figure: Figure, gate: str) -> tuple[int, list[float]]:
    """Return how many corners the package's neuron gets right, and z at the four."""
    weights = [figure.value("w1"), figure.value("w2")]
    neuron = Neuron(weights, bias=figure.value("b"), activation=step)
    corners = list(product((0, 1), repeat=2))
    right = sum(neuron(x) == wanted for x, wanted in zip(corners, GATES[gate], strict=True))
    return right, [neuron.pre_activation(x) for x in corners]


def agrees(figure: Figure, gate: str) -> None:
    """Compare the sentence with the package: the count, then z and the place of each corner."""
    right, z = expected(figure, gate)
    assert figure.text.startswith(f"{right} of 4 corners right for {gate.upper()}.")
    for value, corner in zip(z, product((0, 1), repeat=2), strict=True):
        assert f"{value:.2f} at {corner}" in figure.text


def test_the_knobs_and_the_gates(page: Any, html: Path) -> None:
    """Each knob one key press at a time; at every stop the package says the same."""
    figure = Figure(page, html, "neuron")
    agrees(figure, "and")
    for key, direction in (("w1", "right"), ("w2", "right"), ("b", "left"), ("b", "left")):
        before = figure.drawing
        figure.press(key, direction)
        assert figure.drawing != before
        agrees(figure, "and")
    for gate in GATES:
        figure.choose("gate", gate)
        agrees(figure, gate)


def test_and_is_one_step_away_in_two_ways(page: Any, html: Path) -> None:
    """As the text below the figure says."""
    done = []
    for key in ("w1", "w2", "b"):
        for direction in ("left", "right"):
            figure = Figure(page, html, "neuron")
            figure.press(key, direction)
            if "4 of 4" in figure.text:
                done.append((key, direction))
    assert done == [("w1", "left"), ("b", "left")]
