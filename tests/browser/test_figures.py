"""The drawings of the notebooks as a reader sees them: letters on a phone, no slab in the dark."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.book.book_files import chapters, extension

colours = extension("figure_colours")
PAGES = [f"chapters/{name}" for name in chapters()]
SMALLEST = 9  # pixels
WIDTH = 760
CONTRAST = (
    2  # between the lightest and the darkest pixel; of a thin stroke or a dot, little is left
)
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
# A picture of the whole page would take ten times as long.
_ONLY_DRAWINGS = """
document.body.replaceChildren(...document.querySelectorAll(".drawing"));
document.body.style.display = "block";
return document.documentElement.scrollHeight;
"""
_PLACES = """
return [...document.querySelectorAll(".drawing > svg")].map(svg => {
  const place = element => {
    const box = element.getBoundingClientRect();
    return [box.left, box.top + scrollY, box.right, box.bottom + scrollY];
  };
  return [place(svg), [...svg.querySelectorAll('g[transform*="scale("]')].map(place)];
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
    page.open((html / f"{name}.html").as_uri(), width=390, formulas=False)
    sizes = page.js(_LETTERS)
    assert sizes, "no drawing on this page"
    assert [size for size in sizes if size < SMALLEST] == []
    scrolling, unreachable = page.js(_SCROLL)
    assert unreachable == 0
    assert scrolling <= len(sizes) // 2  # most fit


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_drawings_lie_on_the_page_and_their_letters_stand_out(
    page: Any, html: Path, name: str, scheme: str
) -> None:
    """Measured in a picture of all drawings: no white corners in the dark, no dark letters."""
    page.open((html / f"{name}.html").as_uri(), scheme=scheme, width=WIDTH, formulas=False)
    page.resize(WIDTH, page.js(_ONLY_DRAWINGS))
    shot = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")) / 255
    light = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
    light = light @ [0.2126, 0.7152, 0.0722]
    faults = []
    for drawing, letters in page.js(_PLACES):
        left, top, right, bottom = map(int, drawing)
        corners = light[[top + 1, top + 1, bottom - 2, bottom - 2], [left + 1, right - 2] * 2]
        if scheme == "dark" and np.sum(corners > 0.5) > 1:
            faults.append(f"a slab at {top}")
        for left, top, right, bottom in letters:
            part = light[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
            if part.size and (part.max() + 0.05) / (part.min() + 0.05) < CONTRAST:
                faults.append(f"letters at {left:.0f}, {top:.0f} of {name}")
    assert faults == []


def test_the_dark_colours_are_those_of_the_theme(page: Any, html: Path) -> None:
    """Greys of drawings lie between its letters and its page."""
    page.open((html / "index.html").as_uri(), scheme="dark")
    letters, ground = page.js(_THEME)
    expected = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colours.LETTERS, colours.PAGE)]
    assert [letters, ground] == expected
