"""The figure of the activations, against those of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains

from course_lib import activations
from tests.browser.figures import Figure

HALF = 0.5e-4 + 1e-12  # four decimals are shown


def agrees(figure: Figure, name: str, z: float) -> None:
    """Compare the value and the derivative in the sentence with the package's."""
    function = activations.ALL[name]
    point = np.array([z])
    a = function(point)
    _, value, slope, again = figure.numbers
    assert figure.text.startswith(f"{name} at z = {z:.1f}:")
    assert abs(value - a[0]) < HALF
    assert abs(slope - function.df(point, a)[0]) < HALF
    assert again == slope


@pytest.mark.parametrize("name", activations.ALL)
def test_value_and_derivative(page: Any, html: Path, name: str) -> None:
    """At the start, a little to the left by keys, and at both ends of the slider."""
    figure = Figure(page, html, "activations")
    figure.choose("name", name)
    agrees(figure, name, 1.0)
    before = figure.drawing
    figure.press("z", *["left"] * 14)
    assert figure.drawing != before
    agrees(figure, name, -0.4)
    for end in (-6.0, 6.0):
        figure.to_end("z", end)
        agrees(figure, name, end)


def test_dragging_does_what_the_slider_does(page: Any, html: Path) -> None:
    """The point goes where the pointer is, and the slider with it."""
    figure = Figure(page, html, "activations")
    picture = figure.element("svg")
    drag = ActionChains(page.driver).move_to_element(picture).click_and_hold()
    drag.move_by_offset(80, 0).release().perform()
    z = figure.value("z")
    assert z > 1.2
    agrees(figure, "tanh", z)
