"""The drawings of the notebooks as a reader sees them: letters on a phone, no slab in the dark."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.book.book_files import chapters, extension

colours = extension("figure_colours")
PAGES = [f"chapters/{name}" for name in chapters()]
SMALLEST = 9  # pixels
# Letters lie in groups that are enlarged from 100 units; what the browser made of that is measured.
_LETTERS = """
const size = g => {
  const m = g.getScreenCTM();
  return 100 * Math.sqrt(Math.abs(m.a * m.d - m.b * m.c));
};
const groups = svg => [...svg.querySelectorAll('g[transform*="scale("]')];
return [...document.querySelectorAll(".drawing > svg")].map(svg =>
  Math.min(1000, ...groups(svg).filter(g => g.querySelector("use")).map(size)));
"""
# Which boxes scroll, and which of these cannot be scrolled by keyboard.
_SCROLL = """
const scrolls = box => box.scrollWidth > box.clientWidth + 1;
const boxes = [...document.querySelectorAll(".drawing")].filter(scrolls);
return [boxes.length, boxes.filter(box => box.tabIndex !== 0).length];
"""
_PLACES = """
return [...document.querySelectorAll(".drawing > svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  return [box.left, box.top + scrollY, box.right, box.bottom + scrollY];
});
"""
_THEME = """
const style = getComputedStyle(document.documentElement);
const probe = document.createElement("i");
document.body.append(probe);
const seen = ["text-base", "background"].map(name => {
  probe.style.color = `var(--pst-color-${name})`;
  return getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).map(Number);
});
probe.remove();
return seen;
"""


@pytest.mark.parametrize("name", PAGES)
def test_letters_of_drawings_can_be_read_on_a_phone(page: Any, html: Path, name: str) -> None:
    """Nine pixels or more on a page 390 wide; what does not fit scrolls, by keyboard too."""
    page.open((html / f"{name}.html").as_uri(), width=390)
    sizes = page.js(_LETTERS)
    assert sizes, "no drawing on this page"
    assert [size for size in sizes if size < SMALLEST] == []
    scrolling, unreachable = page.js(_SCROLL)
    assert unreachable == 0
    assert scrolling <= len(sizes) // 2  # most fit


@pytest.mark.parametrize("name", PAGES)
def test_drawings_lie_on_the_page_and_not_on_a_slab(page: Any, html: Path, name: str) -> None:
    """In the dark, each corner of each drawing has the colour of the page, or of what is drawn."""
    page.open((html / f"{name}.html").as_uri(), scheme="dark", width=1300)
    height = page.js("return document.documentElement.scrollHeight")
    page.resize(1300, height)
    shot = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    seen = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    for left, top, right, bottom in page.js(_PLACES):
        corners = [(x, y) for x in (left + 1, right - 2) for y in (top + 1, bottom - 2)]
        white = [corner for corner in corners if min(seen.getpixel(corner)) > 200]  # type: ignore[type-var]
        assert len(white) < 2, f"white corners of the drawing at {left:.0f}, {top:.0f}"


def test_the_dark_colours_are_those_of_the_theme(page: Any, html: Path) -> None:
    """Greys of drawings lie between its letters and its page."""
    page.open((html / "index.html").as_uri(), scheme="dark")
    letters, ground = page.js(_THEME)
    expected = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colours.LETTERS, colours.PAGE)]
    assert [letters, ground] == expected
