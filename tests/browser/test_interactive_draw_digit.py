"""The figure in which a digit is drawn, against the package, whose network it shows."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from course_lib import data
from tests.book.book_files import BOOK, markdown
from tests.book.figure_places import SCRIPTS
from tests.browser.figures import Figure
from tools.pictures import digit_network

NET = digit_network.network()
DIGITS = data.load_digits()
_PASS = "return Figures.digits.pass(Figures.digits.layers(Figures.digitData), ...arguments)"


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """What the file of the figure holds, with the parameters as a vector."""
    text = (SCRIPTS / "draw_digit_data.js").read_text("utf-8")
    found: dict[str, Any] = {}
    for key, value in re.findall(r"(right|tests|sizes): (\d+|\[.*?\]),", text):
        found[key] = json.loads(value)
    for key in ("digits", "weights"):
        found[key] = json.loads(re.search(rf"{key}: (\[.*?),\n\]", text, re.DOTALL)[1] + "]")
    found["theta"] = np.array(found["weights"]) / digit_network.UNIT
    return found


@pytest.fixture
def figure(page: Any, html: Path) -> Figure:
    """The figure as a reader finds it."""
    return Figure(page, html, "draw_digit")


def bitmap(strokes: list[list[list[float]]]) -> np.ndarray:
    """Return the 64 numbers of a drawing: its ink in blocks, counted by means of all distances."""
    points = np.array([p for stroke in strokes for p in stroke])
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(divide="ignore"):
        zoom = np.min([*(np.array([22, 26]) / (high - low)), 6])
    moved = [(np.array(stroke) - (low + high) / 2) * zoom + 16 for stroke in strokes]
    length = sum(np.linalg.norm(np.diff(stroke, axis=0), axis=1).sum() for stroke in moved)
    radius = np.clip(140 / max(length, 1), 2.2, 3.2)
    dots = np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), axis=-1)
    ink = np.zeros((32, 32), dtype=bool)
    for stroke in moved:
        for a, b in pairwise(stroke if len(stroke) > 1 else [*stroke, *stroke]):
            t = np.clip(((dots - a) @ (b - a)) / (np.sum((b - a) ** 2) or 1), 0, 1)
            ink |= np.linalg.norm(dots - a - t[..., None] * (b - a), axis=-1) <= radius
    return ink.reshape(8, 4, 8, 4).sum(axis=(1, 3)).ravel()


def agrees(figure: Figure, theta: np.ndarray, cells: np.ndarray, target: int) -> int:
    """Compare the sentence with the package for an image of 0 to 16; return the answer."""
    x, y = cells[None] / 16, np.array([target])
    p = NET.predict_proba(theta, x)[0]
    first, second = np.argsort(-p)[:2]
    said = f"says {first} with {100 * p[first]:.1f} %, then {second} with {100 * p[second]:.1f} %"
    assert said in figure.text
    assert (
        f"If it were a {target}, the loss would be {NET.loss_value(theta, x, y):.3f};"
        in figure.text
    )
    return int(first)


def test_the_network_is_the_one_that_the_package_trains(stored: dict[str, Any]) -> None:
    """If not, run ``python -m tools.pictures.digit_network``.

    Rounding to ten thousandths costs half of one; machines that add in another order may differ by
    less than that, but on either side of a half.
    """
    trained = digit_network.train()
    assert np.abs(stored["theta"] - trained).max() <= 0.6 / digit_network.UNIT
    assert stored["sizes"] == digit_network.SIZES and stored["theta"].size == NET.n_params


def test_it_reads_as_many_test_digits_as_the_text_says(stored: dict[str, Any]) -> None:
    """With the parameters as they stand in the file; its own digits are labelled as in the data."""
    right = int(np.sum(NET.predict(stored["theta"], DIGITS.x_test) == DIGITS.y_test))
    assert (stored["right"], stored["tests"]) == (right, len(DIGITS.y_test))
    assert right / len(DIGITS.y_test) >= 0.975
    text = markdown(BOOK / "chapters" / "numpy_network.ipynb")
    assert f"reads {right} of the {len(DIGITS.y_test)} test digits" in text
    labels = {tuple(16 * x): y for x, y in zip(DIGITS.x_test, DIGITS.y_test, strict=True)}
    assert all(labels[tuple(cells)] == label for label, cells in stored["digits"])
    wrong = [
        label
        for label, cells in stored["digits"]
        if NET.predict(stored["theta"], np.array([cells]) / 16)[0] != label
    ]
    assert len(wrong) == len(DIGITS.y_test) - right


def test_forward_and_backward_are_those_of_the_package(
    figure: Figure, stored: dict[str, Any]
) -> None:
    """For test digits and for noise, to 1e-9; the gradient by the input is also that of nudging."""
    rng, theta = np.random.default_rng(0), stored["theta"]
    for x in [*DIGITS.x_test[:3], *rng.uniform(0, 1, (3, 64)), np.zeros(64)]:
        target = int(rng.integers(10))
        got = figure.page.js(_PASS, x.tolist(), target)
        logits, caches = NET.forward(theta, x[None])
        p = NET.predict_proba(theta, x[None])
        dx, _ = NET.backward(theta, caches, p - np.eye(10)[[target]])
        for mine, wanted in (
            (got["activations"][3], logits), (got["p"], p), (got["gradients"][0], dx),
            (got["loss"], NET.loss_value(theta, x[None], np.array([target]))),
        ):  # fmt: skip
            np.testing.assert_allclose(
                mine, np.ravel(wanted) if np.ndim(mine) else wanted, rtol=0, atol=1e-9
            )
        hidden = np.array(got["activations"][1])
        W, b = theta[: 64 * 24].reshape(64, 24), theta[64 * 24 : 65 * 24]
        np.testing.assert_allclose(hidden, np.maximum(x @ W + b, 0), rtol=0, atol=1e-9)
        nudged = [
            NET.loss_value(theta, (x + step * np.eye(64)[27])[None], np.array([target]))
            for step in (1e-5, -1e-5)
        ]
        assert abs((nudged[0] - nudged[1]) / 2e-5 - got["gradients"][0][27]) < 1e-4


# Digits as people draw them on a tablet; points in a square of any size.
DRAWN = {
    0: [[[50, 10], [25, 25], [22, 60], [35, 88], [55, 90], [76, 65], [74, 30], [58, 12], [50, 10]]],
    1: [[[35, 30], [55, 10], [55, 90]]],
    2: [[[26, 30], [35, 13], [58, 11], [71, 27], [62, 48], [26, 88], [76, 88]]],
    3: [[[26, 14], [60, 12], [68, 28], [46, 46], [70, 58], [70, 78], [50, 90], [25, 84]]],
    4: [[[62, 90], [62, 10], [25, 62], [80, 62]]],
    5: [[[72, 12], [32, 12], [30, 46], [56, 43], [71, 58], [69, 78], [52, 89], [27, 84]]],
    6: [[[62, 10], [40, 35], [30, 66], [38, 88], [60, 89], [70, 70], [56, 54], [34, 64]]],
    7: [[[25, 12], [75, 12], [45, 90]]],
    8: [[[50, 48], [32, 32], [40, 12], [60, 12], [68, 32], [50, 48], [28, 70],
         [40, 90], [60, 90], [72, 70], [50, 48]]],
    9: [[[72, 32], [58, 50], [34, 46], [28, 24], [48, 10], [68, 18], [72, 32], [68, 90]]],
}  # fmt: skip


def test_drawings_become_the_numbers_of_the_data_set_and_are_read(
    figure: Figure, stored: dict[str, Any]
) -> None:
    """The bitmap is counted as by hand, wherever and however large a digit is drawn; nine of ten
    plain digits are read rightly."""
    right = 0
    for digit, strokes in DRAWN.items():
        wanted = bitmap(strokes)
        for zoom, move in ((0.3, 1.0), (0.15, 16.0)):
            scaled = [[[x * zoom + move, y * zoom + move] for x, y in stroke] for stroke in strokes]
            got = np.array(figure.page.js("return Figures.digits.reduce(arguments[0])", scaled))
            # Dots whose middle lies on the border of the pen may fall on either side.
            assert np.abs(got - wanted).sum() <= 3
        right += NET.predict(stored["theta"], wanted[None] / 16)[0] == digit
        assert 150 < wanted.sum() < 420 and (wanted.reshape(8, 8).any(axis=1)).all()
    assert right >= 9
    dot = figure.page.js("return Figures.digits.reduce([[[3, 3]]])")
    assert dot == bitmap([[[3, 3]]]).tolist() and sum(dot) > 0


def cells(figure: Figure) -> np.ndarray:
    """Return the ink of the 64 cells, as a screen reader is told it."""
    script = "return [...arguments[0].querySelectorAll('[role=gridcell]')].map(e => e.ariaLabel)"
    return np.array(
        [int(re.search(r"ink (\d+) of 16", s)[1]) for s in figure.page.js(script, figure.box)]
    )


def test_keys_draw_too(figure: Figure, stored: dict[str, Any]) -> None:
    """Arrows move, space inks and erases, the sentence follows, and undo takes back."""
    first = np.array(stored["digits"][0][1])
    assert np.array_equal(cells(figure), first)
    assert agrees(figure, stored["theta"], first, 7) == 9
    figure.push("Clear")
    assert "An empty sheet" in figure.text and not cells(figure).any()
    sheet = figure.element(".sheet")
    sheet.send_keys(Keys.ARROW_UP, Keys.ARROW_RIGHT, " ")
    for _ in range(3):
        sheet.send_keys(Keys.ARROW_DOWN, Keys.SPACE)
    wanted = np.zeros((8, 8), dtype=int)
    wanted[2:6, 4] = 16
    assert np.array_equal(cells(figure), wanted.ravel())
    here = sheet.get_attribute("aria-activedescendant")
    assert figure.element(f"#{here}").get_attribute("aria-label") == "row 6, column 5: ink 16 of 16"
    agrees(figure, stored["theta"], wanted.ravel(), 7)
    figure.choose("target", "1")
    agrees(figure, stored["theta"], wanted.ravel(), 1)
    sheet.send_keys(Keys.SPACE, Keys.ARROW_DOWN, *[Keys.ARROW_DOWN] * 9, " ")
    wanted[[5, 7], 4] = 0, 16
    assert np.array_equal(cells(figure), wanted.ravel())
    figure.push("Undo", 2)
    wanted[[5, 7], 4] = 16, 0
    assert np.array_equal(cells(figure), wanted.ravel())
    figure.push("Undo", 9)
    assert np.array_equal(cells(figure), first)
    figure.push("Undo")
    assert np.array_equal(cells(figure), first)


def test_the_mouse_draws(figure: Figure, stored: dict[str, Any]) -> None:
    """On a test digit a drawing begins anew; each stroke can be taken back."""
    sheet, box = figure.element(".sheet"), figure.element(".sheet").rect

    def draw(*points: tuple[int, int]) -> None:
        # Selenium counts from the middle of the element; the points from its corner, in percent.
        at = [
            (int((x - 50) * box["width"] / 100), int((y - 50) * box["height"] / 100))
            for x, y in points
        ]
        chain = ActionChains(figure.page.driver, duration=0)
        chain.move_to_element_with_offset(sheet, *at[0]).click_and_hold()
        for x, y in at[1:]:
            chain.move_to_element_with_offset(sheet, x, y)
        chain.release().perform()

    draw((25, 15), (50, 15), (75, 15), (65, 40), (55, 65), (45, 90))
    seven = cells(figure)
    assert np.abs(seven - bitmap([[[25, 15], [75, 15], [45, 90]]])).sum() < 60
    assert "Your drawing" in figure.text
    assert agrees(figure, stored["theta"], seven, 7) == 7
    draw((40, 55), (60, 55))
    assert not np.array_equal(cells(figure), seven)
    figure.push("Undo")
    assert np.array_equal(cells(figure), seven)
    figure.push("A digit from the test set")
    assert "Test digit 2 of" in figure.text
    assert np.array_equal(cells(figure), stored["digits"][1][1])


def test_blue_is_where_more_ink_costs(figure: Figure, stored: dict[str, Any]) -> None:
    """The signs of the 64 cells of the signal are those of the package's gradient."""
    x = np.array(stored["digits"][0][1])[None] / 16
    _, caches = NET.forward(stored["theta"], x)
    p = NET.predict_proba(stored["theta"], x)
    dx, _ = NET.backward(stored["theta"], caches, p - np.eye(10)[[7]])
    script = (
        "return [...arguments[0].querySelectorAll('.pictures svg')[1].querySelectorAll("
        "'.blue-area, .orange-area')].map(e => [e.getAttribute('class'), e.getAttribute('rx')])"
    )
    # Before them come the 24, 16 and 10 numbers of the way forward; its input is ink, not signed.
    signal = figure.page.js(script, figure.box)[50 : 50 + 64]
    assert [kind for kind, _ in signal] == ["blue-area" if v >= 0 else "orange-area" for v in dx[0]]
    assert all((round_ != "0") == (kind == "orange-area") for kind, round_ in signal)
