"""Every page, in light and dark and at three widths, as a browser without a network shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_core_python
import pytest

from tests.book.book_files import contents

PAGES = [*contents(), "search", "genindex", "_modules/index", "_modules/course_lib/network"]
WIDTHS = (390, 768, 1600)
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")

_AXE_RUN = """
const done = arguments[0];
const bad = v => ["serious", "critical"].includes(v.impact);
const show = v => `${v.id}: ${v.help}: ` + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200));
axe.run(document, {resultTypes: ["violations"]})
  .then(found => done(found.violations.filter(bad).map(show)));
"""
# Axe looks at the contrast of each piece of text by itself. Of code it sees one piece of each
# colour, not thousands; formulas have the colour of their text, and drawings are one picture.
_LESS = """
const seen = new Set();
for (const piece of document.querySelectorAll(".highlight span")) {
  if (seen.has(piece.className)) piece.replaceWith(...piece.childNodes);
  else seen.add(piece.className);
}
document.querySelectorAll(".drawing svg, mjx-math").forEach((e) => e.replaceChildren());
"""
# If the page is wider than the window: how wide, and what sticks out without scrolling by itself.
_TOO_WIDE = """
const [page, wide] = [document.documentElement, document.documentElement.clientWidth + 1];
if (page.scrollWidth <= wide) return [];
const clipped = e => e !== document.body
  && (getComputedStyle(e).overflowX !== "visible" || clipped(e.parentElement));
const out = e => e.getBoundingClientRect().right > wide && !clipped(e.parentElement);
return [`the page, ${page.scrollWidth} px`,
  ...[...document.querySelectorAll("main *")].filter(out).slice(-2).map(e => e.outerHTML)];
"""


def accessibility(page: Any) -> list[str]:
    """Return the serious and critical violations that axe-core finds in the open page.

    Afterwards much of its code, its formulas and its drawings are gone from it.
    """
    page.js(_LESS)
    page.js(AXE)
    found: list[str] = page.driver.execute_async_script(_AXE_RUN)
    return found


def faults(page: Any, url: str, scheme: str) -> list[str]:
    """Open a page and return all that is wrong with it."""
    page.open(url, scheme=scheme, width=WIDTHS[-1])
    local = ("file:", "data:", "blob:")
    found = [f"asks for {url}" for url in page.requests() if not url.startswith(local)]
    found += [f"console: {text}" for text in page.complaints()]
    if page.js("return document.documentElement.dataset.theme") != scheme:
        found.append(f"is not {scheme}")
    found += page.js("return [...document.querySelectorAll('mjx-merror')].map(e => e.outerHTML)")
    for width in WIDTHS:
        page.resize(width)
        found += [f"at {width} px sticks out: {e[:200]}" for e in page.js(_TOO_WIDE)]
    return found + accessibility(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_offline(page: Any, html: Path, name: str, scheme: str) -> None:
    """No request leaves the machine, nothing complains, nothing sticks out, axe finds nothing."""
    found = faults(page, (html / f"{name}.html").as_uri(), scheme)
    assert not found, "\n".join(["", *found])
