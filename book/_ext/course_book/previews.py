"""Lets equations, glossary terms and citations be seen where they are mentioned.

After the build, the targets of such links are collected from the pages into one file. The script
``_static/previews.js`` loads it when a reader first points at such a link, and shows the target.
"""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

DATA = "_static/previews/targets.js"
# What each kind of link looks like, and where its target stands.
_LINK = re.compile(r"#equation-|(?:^|/)glossary\.html#term-|(?:^|/)bibliography\.html#id\d|^#term-")

_HREF = re.compile(r'<a\b[^>]*\bclass="reference\b[^>]*\bhref="([^"]*)"')
# No equation, definition or source is longer, in characters of HTML.
_LONGEST = 12_000


def wanted(html: str, page: str) -> set[str]:
    """Return the targets of a page's links, such as ``chapters/losses.html#equation-eq-mse``.

    Examples
    --------
    >>> wanted('<a class="reference internal" href="a.html#equation-eq-mse">', "chapters/b.html")
    {'chapters/a.html#equation-eq-mse'}
    """
    found = set()
    for href in map(unescape, _HREF.findall(html)):
        if _LINK.search(href):
            path, _, anchor = unquote(href).partition("#")
            folder = Path("/", page).parent
            full = (folder / path).resolve().relative_to("/") if path else Path(page)
            found.add(f"{full.as_posix()}#{anchor}")
    return found


def excerpt(soup: BeautifulSoup, anchor: str) -> str | None:
    """Return the HTML of one target without its links and anchors, or None if it is not there.

    Examples
    --------
    >>> page = '<dl><dt id="term-a">a<a class="headerlink">#</a></dt><dd><p>An <a>x</a>.</p></dd>'
    >>> excerpt(BeautifulSoup(page, "html.parser"), "term-a")
    '<strong>a</strong><p>An <span>x</span>.</p>'
    """
    target = soup.find(id=anchor)
    if not isinstance(target, Tag):
        return None
    copy = BeautifulSoup(str(target), "html.parser")
    for extra in copy.select(".headerlink, .backrefs, .label, .eqno"):
        extra.decompose()
    html = _without_links(copy)
    if target.name != "dt":
        return html
    definition = target.find_next_sibling("dd")
    term = "".join(str(child) for child in copy.dt.children) if copy.dt else ""
    meaning = BeautifulSoup(str(definition or ""), "html.parser")
    inside = meaning.dd.decode_contents() if meaning.dd else ""
    return f"<strong>{term.strip()}</strong>{_without_links(BeautifulSoup(inside, 'html.parser'))}"


def _without_links(soup: BeautifulSoup) -> str:
    for link in soup.find_all("a"):
        link.name = "span"
        link.attrs = {}
    for tag in soup.find_all(id=True):
        del tag["id"]
    return re.sub(r"\s*→\s*(?:<span><span[^>]*>[^<]*</span></span>[,\s]*)+", "", str(soup)).strip()


def _around(html: str, anchor: str) -> BeautifulSoup:
    """Parse the piece of a page that starts at an anchor: whole pages would take seconds."""
    start = max(html.find(f'id="{anchor}"'), 0)
    start = max(html.rfind("<", 0, start), 0)
    return BeautifulSoup(html[start : start + _LONGEST], "html.parser")


def collect(folder: Path) -> dict[str, str]:
    """Return the HTML of each target that a page of the built book links to."""
    pages = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*.html"))}
    texts = {name: p.read_text("utf-8") for name, p in pages.items() if not name.startswith("_")}
    found = {}
    for target in sorted(set().union(*(wanted(html, name) for name, html in texts.items()))):
        page, _, anchor = target.partition("#")
        html = excerpt(_around(texts[page], anchor), anchor) if page in texts else None
        if html is not None:
            found[target] = html
    return found


def _finish(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        file = Path(app.outdir) / DATA
        file.parent.mkdir(exist_ok=True)
        found = json.dumps(collect(Path(app.outdir)), ensure_ascii=False, indent=0, sort_keys=True)
        file.write_text(f"window.previewTargets = {found};\n", encoding="utf-8")


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("build-finished", _finish)
