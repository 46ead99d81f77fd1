"""The figures of a network that learns a border, against the package, whose training they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import EarlyStopping
from tests.book.figure_places import SCRIPTS
from tests.browser.figures import Figure
from tools.pictures import boundary_data

NET = boundary_data.network()
X, Y = boundary_data.points()
HALF = boundary_data.SAMPLES
PARTS = {"training": slice(None, HALF), "validation": slice(HALF, None)}


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    """The parameters in the file, one row per epoch."""
    text = (SCRIPTS / "boundary_data.js").read_text("utf-8")
    found = re.search(r"weights: (\[.*\]),\n\};", text, re.DOTALL)
    assert found
    return np.array(json.loads(found[1].replace(",\n]", "]"))) / boundary_data.UNIT


def judged(theta: np.ndarray, part: str) -> tuple[float, int]:
    """Return the loss and how many points are right, as the package says."""
    x, y = X[PARTS[part]], Y[PARTS[part]]
    right = int(np.sum(NET.predict(theta, x) == y))
    return NET.loss_value(theta, x, y), right


def agrees(figure: Figure, stored: np.ndarray) -> None:
    """Compare the sentence with the package, after the epoch that the slider shows."""
    epoch, patience = int(figure.value("epoch")), int(figure.value("patience"))
    for part in PARTS:
        loss, right = judged(stored[epoch], part)
        assert f"{part} loss {loss:.3f}, {right} of {HALF} right" in figure.text
    held = [judged(theta, "validation")[0] for theta in stored[1 : epoch + 1]]
    if held:
        best = int(np.argmin(held))
        assert f"(lowest {held[best]:.3f} in epoch {best + 1})" in figure.text
    stop = EarlyStopping(patience=patience)
    stops = [t for t in range(1, len(held) + 1) if stop({"val_loss": held[:t]})]
    told = f"Patience {patience} stops in epoch {stops[0]}." if stops else "stops"
    assert (told in figure.text) == bool(stops)


def test_the_numbers_are_those_of_the_training(stored: np.ndarray) -> None:
    """If not, run ``python -m tools.pictures.boundary_data``.

    Rounding to thousandths costs half of one; machines that add in another order may differ by
    far less than that, but on either side of a half.
    """
    assert np.abs(stored - boundary_data.train()).max() <= 0.6 / boundary_data.UNIT
    text = (SCRIPTS / "boundary_data.js").read_text("utf-8")
    assert text.split("weights:")[0] == boundary_data.script().split("weights:")[0]


def test_losses_epoch_by_epoch(page: Any, html: Path, stored: np.ndarray) -> None:
    """The forward pass in the browser is the package's; the pictures follow the slider."""
    figure = Figure(page, html, "boundary")
    agrees(figure, stored)
    for steps in (1, 16, 20):
        before = figure.drawing
        figure.press("epoch", *["right"] * steps)
        assert figure.drawing != before
        agrees(figure, stored)
    figure.press("patience", "left", "left")
    agrees(figure, stored)
    figure.press("patience", *["right"] * 20)
    agrees(figure, stored)
    before = figure.drawing
    figure.choose("part", "validation")
    assert figure.drawing != before
    wrong = HALF - judged(stored[37], "validation")[1]
    assert f"validation points; {wrong} are ringed" in figure.labels[0]
    assert figure.box.find_elements("css selector", "g[visibility=visible] circle.line")


def test_rings_are_round_the_points_that_are_wrong(
    page: Any, html: Path, stored: np.ndarray
) -> None:
    """As many rings as wrong points, of the part that is shown."""
    figure = Figure(page, html, "boundary")
    shown = "g[visibility=visible] circle.line[stroke-opacity='1']"
    for steps in (1, 2):
        figure.press("epoch", *["right"] * steps)
        wrong = HALF - judged(stored[int(figure.value("epoch"))], "training")[1]
        assert len(figure.box.find_elements("css selector", shown)) == wrong > 0
