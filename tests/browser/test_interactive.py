"""What holds for every interactive figure: it speaks, it stays in place, everyone can use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_every_page import AXE

from tests.book.figure_places import SCRIPTS
from tests.browser.figures import PAGES, Figure

NAMES = list(PAGES)
TEXTS = {name: (SCRIPTS / f"{name}.js").read_text("utf-8") for name in NAMES}
# That of the first page plays by itself, and has tests of its own for that (test_landing.py).
ALONE = [name for name in NAMES if "alone: true" in TEXTS[name]]
PLAYERS = [name for name in NAMES if "stage.player(" in TEXTS[name] and name not in ALONE]
LONGER_THAN_A_STEP = 1500  # milliseconds; the slowest figure takes a step each 1200
_AXE_HERE = """
const done = arguments[1];
axe.run(arguments[0], {resultTypes: ["violations"]})
  .then(found => done(found.violations.map(v => `${v.id}: ${v.help}: ${v.nodes[0].html}`)));
"""
_UNNAMED = """
return [...arguments[0].querySelectorAll("input, select")]
  .filter(e => !e.labels.length || !e.labels[0].textContent.trim()).map(e => e.outerHTML);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_in_a_figure(page: Any, html: Path, name: str, scheme: str) -> None:
    """Of any severity, at the width of a phone, where nothing may stick out either."""
    figure = Figure(page, html, name, scheme=scheme, width=390, formulas=True)
    page.js(AXE)
    assert page.driver.execute_async_script(_AXE_HERE, figure.box) == []
    assert page.js("return arguments[0].scrollWidth <= arguments[0].clientWidth", figure.box)
    assert page.complaints() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_speaks(page: Any, html: Path, name: str) -> None:
    """Each control has a name, each picture says what it shows, the numbers are read aloud."""
    figure = Figure(page, html, name)
    if name in ALONE:
        figure.pause()
    assert page.js(_UNNAMED, figure.box) == []
    assert figure.labels and all(len(label) > 20 for label in figure.labels)
    assert figure.numbers
    assert figure.element(".numbers").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("width", [390, 1300])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_moves_when_a_figure_is_used(page: Any, html: Path, name: str, width: int) -> None:
    """Sliders to both ends, each choice of a list, each button: the height stays."""
    figure = Figure(page, html, name, width=width)
    before = figure.height
    assert page.js(_USE_ALL, figure.box, before) == []


@pytest.mark.parametrize("width", [390, 1300])
@pytest.mark.parametrize("name", NAMES)
def test_the_page_keeps_room_for_a_figure(page: Any, html: Path, name: str, width: int) -> None:
    """Until its script has run; so what stands below does not jump while the page loads."""
    figure = Figure(page, html, name, width=width)
    full = figure.height
    page.js("arguments[0].replaceChildren(); arguments[0].classList.remove('ready')", figure.box)
    assert abs(figure.height - full) < 40, f"{full} at {width} px, see interactive.css"


# Selenium would take seconds for as many key presses; the keys have tests of their own.
_USE_ALL = """
const [box, before] = arguments, moved = [];
const look = (what) => {
  const height = box.getBoundingClientRect().height;
  if (Math.abs(height - before) > 0.5) moved.push(`${what}: ${before} -> ${height}`);
};
for (const e of box.querySelectorAll("input, select")) {
  const ends = [e.min, e.max, e.defaultValue];
  for (const value of e.options ? [...e.options].map(o => o.value) : ends) {
    e.value = value;
    e.dispatchEvent(new Event("input", {bubbles: true}));
    look(`${e.id} = ${value}`);
  }
}
for (const button of box.querySelectorAll("button")) {
  for (let i = 0; i < (/Play|Pause/.test(button.textContent) ? 2 : 12); i++) {
    button.click();
    look(button.textContent);
  }
}
return moved;
"""


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ALONE])
def test_less_motion_means_none(page: Any, html: Path, name: str) -> None:
    """Nothing plays by itself; who asked for less motion finds no button that would."""
    figure = Figure(page, html, name)
    before = figure.drawing
    figure.wait(LONGER_THAN_A_STEP)
    assert figure.drawing == before
    page.media(motion="reduce")
    shown = [b.text for b in figure.box.find_elements("css selector", "button") if b.is_displayed()]
    assert "Play" not in shown and "Pause" not in shown


@pytest.mark.parametrize("name", PLAYERS)
def test_less_motion_stops_what_plays(page: Any, html: Path, name: str) -> None:
    """Also if the reader asks for it in the middle."""
    figure = Figure(page, html, name)
    figure.push("Start again")
    figure.push("Play")
    page.media(motion="reduce")
    before = figure.drawing
    figure.wait(LONGER_THAN_A_STEP)
    assert figure.drawing == before
