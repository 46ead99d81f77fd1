"""The figure of gradient descent, against the optimizer of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains

from course_lib import SGD
from course_lib.gradcheck import numerical_gradient
from tests.browser.figures import Figure


def bowl(theta: np.ndarray) -> float:
    """Curvatures 1 and 10."""
    return float(0.5 * theta[0] ** 2 + 5 * theta[1] ** 2)


def valley(theta: np.ndarray) -> float:
    """A valley along a parabola, lowest at (1, 1)."""
    return float(0.5 * (theta[0] - 1) ** 2 + 2 * (theta[1] - theta[0] ** 2) ** 2)


SURFACES = {"bowl": (bowl, [0.0, 0.0]), "valley": (valley, [1.0, 1.0])}


def largest_curvature(name: str, h: float = 1e-3) -> float:
    """Return the largest eigenvalue of the Hessian at the minimum, from losses alone."""
    loss, minimum = SURFACES[name]
    steps = h * np.eye(2)
    rows = [
        (numerical_gradient(loss, minimum + s) - numerical_gradient(loss, minimum - s)) / (2 * h)
        for s in steps
    ]
    return float(np.linalg.eigvalsh(np.array(rows))[-1])


def agrees(figure: Figure, name: str) -> None:
    """Walk as the sliders say, with gradients from finite differences, and compare."""
    loss, _ = SURFACES[name]
    rate, momentum, steps = (figure.value(key) for key in ("rate", "momentum", "steps"))
    optimizer = SGD(rate, momentum=momentum)
    theta = np.array([figure.value("x"), figure.value("y")])
    state = optimizer.init(theta)
    for _ in range(int(steps)):
        theta, state = optimizer.step(theta, numerical_gradient(loss, theta), state)
    taken, x, y, value, shown_rate, limit = figure.numbers
    assert (taken, shown_rate) == (steps, rate)
    assert [x, y] == pytest.approx(theta, abs=6e-4, rel=1e-3)
    assert value == pytest.approx(loss(theta), abs=6e-5, rel=1e-3)
    expected = 2 * (1 + momentum) / largest_curvature(name)
    assert limit == pytest.approx(expected, abs=6e-4)
    side = "at" if abs(rate - expected) < 1e-9 else "below" if rate < expected else "above"
    assert f"is {side} the limit" in figure.text


def test_the_path_is_that_of_the_optimizer(page: Any, html: Path) -> None:
    """At the start, and after each control was moved by keys, on both surfaces."""
    figure = Figure(page, html, "descent")
    for name in SURFACES:
        figure.choose("surface", name)
        agrees(figure, name)
        for key, *keys in (
            ("rate", "right"),
            ("momentum", "right", "right"),
            ("x", "right"),
            ("y", "left"),
            ("steps", *["right"] * 5),
        ):
            before = figure.drawing
            figure.press(key, *keys)
            assert figure.drawing != before
            agrees(figure, name)


def test_beyond_the_limit_the_bowl_throws_out(page: Any, html: Path) -> None:
    """At 2 / 10 the path jumps there and back for ever; one step of the slider more is too much."""
    figure = Figure(page, html, "descent")
    figure.to_end("steps", 100)
    figure.press("rate", *["right"] * 15)
    assert "is at the limit" in figure.text and "thrown out" not in figure.text
    figure.press("rate", "right")
    assert "is above the limit" in figure.text and "thrown out" in figure.text


def test_the_buttons_walk(page: Any, html: Path) -> None:
    """One step, from the beginning again, and one more."""
    figure = Figure(page, html, "descent")
    figure.push("Step")
    assert figure.value("steps") == 13
    agrees(figure, "bowl")
    figure.push("Start again")
    assert figure.value("steps") == 0
    figure.push("Step")
    agrees(figure, "bowl")


def test_a_click_in_the_map_is_a_start(page: Any, html: Path) -> None:
    """A little left of and above the middle of the axes, whose middle is (0, 0)."""
    figure = Figure(page, html, "descent")
    ActionChains(page.driver).move_to_element_with_offset(
        figure.element("svg"), -40, -50
    ).click().perform()
    assert -1.5 < figure.value("x") < -0.5 and 0.2 < figure.value("y") < 1.2
    agrees(figure, "bowl")
