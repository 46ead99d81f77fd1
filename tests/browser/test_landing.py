"""The first page: what is seen without scrolling, and a network that learns, stops and breaks."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import exercises, gradcheck
from tests.book.book_files import chapters
from tests.browser import specimens
from tests.browser.figures import Figure

EPOCHS = 40
PARTS = {
    "title": "h1", "words": ".opening", "facts": ".facts", "actions": ".actions", "run": ".run",
    "figure": ".stage", "drawing": ".stage svg",
}  # fmt: skip
_BOXES = """
const box = (selector) => document.querySelector(`article ${selector}`).getBoundingClientRect();
return Object.fromEntries(Object.entries(arguments[0]).map(([name, s]) => [name, box(s).toJSON()]));
"""


def boxes(page: Any, html: Path, width: int, height: int) -> dict[str, dict[str, float]]:
    """Open the page in a window of a size, and return where the parts of its first screen are."""
    page.open((html / "index.html").as_uri(), width=width)
    page.resize(width, height)
    return dict(page.js(_BOXES, PARTS))


def epoch(figure: Figure) -> int:
    """Return the epoch that is shown."""
    return int(figure.numbers[0])


def test_all_that_matters_is_above_the_fold_on_a_laptop(page: Any, html: Path) -> None:
    """At 1280 x 800: what, for whom, how long, how to begin and to run, the figure beside."""
    seen = boxes(page, html, 1280, 800)
    for name in ("title", "words", "facts", "actions", "run", "figure"):
        assert 0 <= seen[name]["top"] < seen[name]["bottom"] <= 800, name
    words = [seen[name] for name in ("title", "words", "facts", "actions", "run")]
    assert all(box["right"] <= seen["figure"]["left"] for box in words)
    assert all(a["bottom"] <= b["top"] for a, b in pairwise(words))


def test_on_a_phone_the_network_is_seen_whole_without_scrolling(page: Any, html: Path) -> None:
    """At 390 x 844, below the words, the facts and the buttons."""
    seen = boxes(page, html, 390, 844)
    order = [seen[name] for name in ("title", "words", "facts", "actions", "drawing")]
    assert all(a["bottom"] <= b["top"] for a, b in pairwise(order))
    assert seen["drawing"]["bottom"] <= 844


@pytest.mark.parametrize(("width", "beside"), [(999, False), (1000, True), (1600, True)])
def test_the_figure_is_beside_the_words_where_there_is_room(
    page: Any, html: Path, width: int, beside: bool
) -> None:
    """From 1000 pixels on."""
    seen = boxes(page, html, width, 800)
    assert (seen["figure"]["top"] < seen["words"]["top"]) == beside
    assert (seen["figure"]["left"] > seen["words"]["right"]) == beside


def test_the_facts_are_those_of_the_course(page: Any, html: Path) -> None:
    """As many chapters as the table of contents, as many exercises as there are checkers."""
    page.open((html / "index.html").as_uri())
    facts = page.js("return [...document.querySelectorAll('.facts li')].map(e => e.innerText)")
    numbers = [int(found) for fact in facts for found in re.findall(r"\d+", fact)]
    assert [numbers[0], numbers[2]] == [len(chapters()), len(exercises.names())]
    hours = re.findall(r"about (\d+) hours to read", page.js("return document.body.innerText"))
    assert [str(numbers[1])] == hours
    tested = page.js("return document.querySelector('.facts a').hash")
    assert page.js("return !!document.querySelector(arguments[0])", tested)


def test_one_push_copies_the_command(page: Any, html: Path) -> None:
    """Its button can be seen without pointing at it."""
    page.open((html / "index.html").as_uri())
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    button = page.driver.find_element("css selector", ".run .copybtn")
    assert float(button.value_of_css_property("opacity")) == 1
    button.click()
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done(`${e}`))"
    assert page.driver.execute_async_script(read).strip() == "make lab"


def test_it_names_no_address_that_is_nobodys(html: Path) -> None:
    """Nor any other outside of the book: there is none that is certain."""
    text = (html / "index.html").read_text("utf-8")
    article = text[text.index("<article") : text.index("</article>")]
    assert re.findall(r'href="https?://[^"]*"', article) == []


def test_it_learns_when_the_page_opens_and_stops_by_itself(page: Any, html: Path) -> None:
    """From the first guess to the last epoch, once; then Play would play it again."""
    figure = Figure(page, html, "landing")
    shown = {epoch(figure)}
    for _ in range(60):
        figure.wait(300)
        shown.add(epoch(figure))
        if EPOCHS in shown:
            break
    assert EPOCHS in shown and len(shown) > 2
    assert figure.numbers[2] >= 95
    figure.push("Play")
    figure.pause(after=900)
    assert 0 < epoch(figure) < EPOCHS


def test_it_can_be_paused_by_keys(page: Any, html: Path) -> None:
    """The same button goes on from there; what plays is not read aloud."""
    figure = Figure(page, html, "landing")
    live = "return arguments[0].querySelector('.numbers').ariaLive"
    assert page.js(live, figure.box) == "off"
    figure.push("Pause")
    stopped, before = epoch(figure), figure.drawing
    assert page.js(live, figure.box) == "polite"
    assert 0 < stopped < EPOCHS
    figure.wait(900)
    assert epoch(figure) == stopped and figure.drawing == before
    figure.push("Play")
    figure.pause(after=500)
    assert epoch(figure) != stopped


def test_with_less_motion_it_stands_at_its_end_until_asked(page: Any, html: Path) -> None:
    """Play is there for who wants it all the same; breaking shows the end at once."""
    figure = Figure(page, html, "landing", motion="reduce")
    before = figure.drawing
    figure.wait(900)
    assert figure.drawing == before and epoch(figure) == EPOCHS
    figure.push("Break it")
    assert epoch(figure) == EPOCHS and "FAILS" in figure.labels[0]
    broken = figure.drawing
    figure.wait(900)
    assert figure.drawing == broken != before
    figure.push("Play")
    figure.pause(after=900)
    assert 0 < epoch(figure) < EPOCHS


def test_less_motion_in_the_middle_stops_it(page: Any, html: Path) -> None:
    """Where it is."""
    figure = Figure(page, html, "landing")
    page.media(motion="reduce")
    before = figure.drawing
    figure.wait(900)
    assert figure.drawing == before


def test_breaking_it_shows_a_bug_that_the_lamp_sees_and_then_one_that_it_does_not(
    page: Any, html: Path
) -> None:
    """It learns on, from the beginning; its lamp is what the package's check says."""
    figure = Figure(page, html, "landing")
    for bug, name in (("slope", "derivative left out"), ("apart", "labels shuffled apart")):
        figure.push("Break it")
        figure.pause(after=700)
        assert f"Broken: {name}." in figure.text
        now = epoch(figure)
        assert now >= 1
        theta, x, y = page.js(
            "const S = Figures.specimens, {x, y} = S.DATA.training;"
            "return [[...S.run(arguments[0], 0.1).at(arguments[1]).theta], x, y]",
            bug, now,
        )  # fmt: skip
        net, theta, x, y = specimens.network(bug), np.array(theta), np.array(x), np.array(y)
        right = 100 * float(np.mean(net.predict(theta, x) == y))
        assert figure.numbers[2] == pytest.approx(right, abs=0.51)
        worst = max(gradcheck.check(net, theta, x[:12], y[:12]).values())
        assert ("FAILS" in figure.labels[0]) == (worst > 1e-7) == (bug == "slope")
        assert len(figure.box.find_elements("css selector", ".lamp.red-area")) == (bug == "slope")
        figure.push("Repair it")
    assert "Nothing is broken." in figure.text
