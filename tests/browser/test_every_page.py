"""Every page, in light and dark and at three widths, as a browser without a network shows it.

The dark page is the light one in other colours: of it only those are looked at.
"""

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
const [rules, done] = arguments;
const bad = v => ["serious", "critical"].includes(v.impact);
const show = v => `${v.id}: ${v.help}: ` + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200));
const only = rules.length ? {runOnly: rules} : {};
axe.run(document, {resultTypes: ["violations"], ...only})
  .then(found => done(found.violations.filter(bad).map(show)));
"""
# Axe looks at the contrast of each piece of text by itself. Of code and signatures it sees one
# piece of each colour, not thousands; formulas have the colour of their text, and drawings are one
# picture.
_LESS = """
const seen = new Set();
for (const piece of document.querySelectorAll(".highlight span, .sig span, .sig em, code span")) {
  const kind = `${piece.tagName} ${piece.className} in ${piece.parentElement.className}`;
  if (seen.has(kind)) piece.replaceWith(...piece.childNodes);
  else seen.add(kind);
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


def accessibility(page: Any, *rules: str) -> list[str]:
    """Return the serious and critical violations of all rules, or of some, in the open page.

    By axe-core. Afterwards much of its code, its formulas and its drawings are gone from it.
    """
    page.js(_LESS)
    page.js(AXE)
    found: list[str] = page.driver.execute_async_script(_AXE_RUN, rules)
    return found


def faults(page: Any, url: str, scheme: str) -> list[str]:
    """Open a page and return all that is wrong with it."""
    page.open(url, scheme=scheme, width=WIDTHS[-1])
    local = ("file:", "data:", "blob:")
    found = [f"asks for {url}" for url in page.requests() if not url.startswith(local)]
    found += [f"console: {text}" for text in page.complaints()]
    if page.js("return document.documentElement.dataset.theme") != scheme:
        found.append(f"is not {scheme}")
    if scheme == "dark":
        return found + accessibility(page, "color-contrast", "link-in-text-block")
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


@pytest.mark.parametrize(("scheme", "ink"), [("light", "#ddd"), ("dark", "#333")])
def test_what_cannot_be_read_is_seen(page: Any, html: Path, scheme: str, ink: str) -> None:
    """In both schemes: letters of nearly the colour of the page."""
    page.open((html / "reference/citing.html").as_uri(), scheme=scheme, width=WIDTHS[-1])
    page.js(f"document.querySelector('main p').style.color = '{ink}'")
    (found,) = accessibility(page, *(("color-contrast",) if scheme == "dark" else ()))
    assert found.startswith("color-contrast")
