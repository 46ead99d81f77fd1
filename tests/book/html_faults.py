"""Finds what is wrong in built HTML pages: errors that were rendered, dead links, remote files."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from tests.book.book_files import parsed

# Text that only a failure writes, and what no reader needs (_ext/course_book/page_html.py). A
# doctest that shows an error on purpose is taken out before.
_UNWANTED = (
    "Traceback (most recent call last)",
    "distributed.worker - ERROR",
    "[?]",
    "# fmt:",
    "# noqa",
)
# In a docstring, on the pages with the source. No run prints it: there a line of code follows.
_ON_PURPOSE = re.compile(r"Traceback \(most recent call last\):\n\s*\.\.\.\n")
_WARNING = re.compile(r"\b\w*Warning: ")
_SOURCES = {"src": ("script", "img", "iframe", "source", "audio", "video"), "data": ("object",)}


def scan(folder: Path) -> list[str]:
    """Return the faults of all pages and style sheets below a folder, each with its file."""
    faults = []
    for page in sorted(folder.rglob("*.html")):
        if "_static" not in page.relative_to(folder).parts:
            faults += [f"{page.relative_to(folder)}: {fault}" for fault in page_faults(page)]
    for sheet in sorted(folder.rglob("*.css")):
        text = sheet.read_text("utf-8")
        remote = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", text)
        faults += [f"{sheet.relative_to(folder)}: remote file {url}" for url in remote]
    return faults


def page_faults(page: Path) -> list[str]:
    """Return the faults of one page."""
    soup = parsed(page)
    return [*_link_faults(soup, page), *_markup_faults(soup), *_text_faults(soup)]


@cache
def _anchors(page: Path) -> frozenset[str]:
    tags = parsed(page).find_all(True)
    return frozenset(str(tag[key]) for tag in tags for key in ("id", "name") if tag.has_attr(key))


def _text_faults(soup: BeautifulSoup) -> list[str]:
    text = soup.get_text()
    for pre in soup.find_all("pre"):
        if pre.get_text().startswith(">>> "):
            text = text.replace(pre.get_text(), "", 1)
    text = _ON_PURPOSE.sub("", text)
    faults = [f"shows {error!r}" for error in _UNWANTED if error in text]
    for output in soup.select(".cell_output"):
        faults += [f"output shows {w!r}" for w in _WARNING.findall(output.get_text())]
    return faults


def _markup_faults(soup: BeautifulSoup) -> list[str]:
    faults = [f"{c} in the page" for c in ("system-message", "problematic") if soup.select(f".{c}")]
    for reference in soup.select(".xref"):
        text = reference.get_text()
        if reference.find_parent("a") is None:
            faults.append(f"unresolved reference {text!r}")
    for image in soup.find_all("img"):
        if not str(image.get("alt", "")).strip():
            faults.append(f"no alt text: {image.get('src')}")
    for drawing in soup.select(".drawing > svg"):
        if drawing.get("role") != "img" or not str(drawing.get("aria-label", "")).strip():
            faults.append(f"no alt text: {drawing.get('id')}")
    return faults


def _link_faults(soup: BeautifulSoup, page: Path) -> list[str]:
    faults = []
    for tag in soup.find_all(True):
        for key in ("href", "src", "data"):
            url = tag.get(key)
            loads = tag.name in _SOURCES.get(key, ()) or tag.name == "link"
            if isinstance(url, str) and (loads or (key, tag.name) == ("href", "a")):
                faults += _url_faults(tag, url, page, loads=loads)
    return faults


def _url_faults(tag: Tag, url: str, page: Path, *, loads: bool) -> list[str]:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        fetched = loads and parts.scheme in ("", "http", "https")
        # <link rel="canonical"> only names an address.
        return [f"remote file {url}"] if fetched and tag.get("rel") != ["canonical"] else []
    target = page.parent / unquote(parts.path) if parts.path else page
    if not target.is_file():
        return [f"dead link {url}"]
    anchor = unquote(parts.fragment)
    if anchor and target.suffix == ".html" and anchor not in _anchors(target.resolve()):
        return [f"dead anchor {url}"]
    return []
