"""Each interactive figure as a page of its own, which notebooks show in a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from test_every_page import _TOO_WIDE, AXE
from test_interactive import _USE_ALL

from tests.browser.figures import PAGES

NAMES = sorted(PAGES)
WIDTH = 700
_AXE_ALL = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]})
  .then(found => done(found.violations.map(v => `${v.id}: ${v.help}: ${v.nodes[0].html}`)));
"""


def address(html: Path, name: str) -> str:
    """Return where the page of a figure is."""
    return (html / "figures" / f"{name}.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_alone_is_whole(page: Any, html: Path, name: str, scheme: str) -> None:
    """In the colours of the system, on 700 pixels and on a phone; axe finds nothing at all."""
    page.open(address(html, name), scheme=scheme, width=WIDTH)
    assert page.complaints() == []
    assert page.js("return document.documentElement.dataset.theme") == scheme
    said = page.js("return document.querySelector('.ready .numbers').textContent")
    assert any(letter.isdigit() for letter in said)
    page.js(AXE)
    assert page.driver.execute_async_script(_AXE_ALL) == []
    for width in (WIDTH, 390):
        page.resize(width)
        assert page.js(_TOO_WIDE) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_alone_keeps_its_height(page: Any, html: Path, name: str) -> None:
    """However it is used: a frame that follows would jump."""
    page.open(address(html, name), width=WIDTH)
    box = page.driver.find_element("css selector", "[data-figure]")
    assert page.js(_USE_ALL, box, float(box.rect["height"])) == []


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_the_figure_and_nothing_of_the_theme(page: Any, html: Path, name: str) -> None:
    """Mathematics only where the caption has some."""
    page.open(address(html, name), width=WIDTH)
    folders = {Path(unquote(urlsplit(url).path)).parent for url in page.requests()}
    math = page.js("return document.querySelectorAll('figcaption mjx-container').length")
    others = {folder for folder in folders if "mathjax" in folder.parts}
    assert bool(others) == bool(math)
    static = html / "_static" / "interactive"
    assert folders - others == {html / "figures", static}


@pytest.mark.parametrize("name", NAMES)
def test_its_caption_is_that_of_the_book(html: Path, name: str) -> None:
    """With its number, and a link to it."""
    alone = BeautifulSoup((html / "figures" / f"{name}.html").read_text("utf-8"), "html.parser")
    link = alone.figcaption.a.extract()
    target, _, anchor = link["href"].partition("#")
    assert (html / "figures" / target).resolve() == html / f"{PAGES[name]}.html"
    book = BeautifulSoup((html / f"{PAGES[name]}.html").read_text("utf-8"), "html.parser")
    there = book.find(id=anchor).figcaption
    there.find("a", class_="headerlink").extract()
    assert alone.figcaption.get_text().split() == there.get_text().split()


def test_it_follows_when_the_system_turns_dark(page: Any, html: Path) -> None:
    """Without being loaded again."""
    page.open(address(html, "neuron"))
    page.media(scheme="dark")
    assert page.js("return document.documentElement.dataset.theme") == "dark"


_HOST = """<!DOCTYPE html><meta charset="utf-8"><body style="margin: 0"><script>
window.told = [];
addEventListener("message", (event) => told.push(event.data));
</script><iframe src="{}" style="border: 0; width: {}px; height: 300px"></iframe>"""


def test_it_tells_the_page_around_how_tall_it_is(page: Any, html: Path, tmp_path: Path) -> None:
    """And again when that changes; a frame as tall as it was told needs no scroll bar."""
    host = tmp_path / "host.html"
    host.write_text(_HOST.format(address(html, "boundary"), WIDTH), "utf-8")
    page.open(host.as_uri(), width=1000)
    wide = page.js("return told.at(-1)")
    assert wide["figure"] == "boundary" and wide["height"] > 400
    page.js(
        "const frame = document.querySelector('iframe');"
        "frame.style.height = told.at(-1).height + 'px'; frame.style.width = '390px'"
    )
    page.driver.execute_async_script("setTimeout(arguments[0], 500)")
    narrow = page.js("return told.at(-1)")
    assert narrow["height"] > wide["height"] + 100
    page.js("document.querySelector('iframe').style.height = arguments[0] + 'px'", narrow["height"])
    page.driver.switch_to.frame(0)
    try:
        fits = "const page = document.documentElement; return page.scrollHeight - innerHeight"
        assert page.js(fits) == 0
    finally:
        page.driver.switch_to.default_content()
