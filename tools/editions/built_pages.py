"""Takes the text out of the built HTML pages, for the editions that are one file: PDF and EPUB.

Both are made of the same pages as the book on the web, so they say the same. What only works there
is left out or opened: buttons, tabs and folded boxes; for a figure that moves stands a picture.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from tools.book_source import BOOK, ROOT, Page, pages

HTML = BOOK / "_build" / "html"

_LEFT_OUT = (
    "a.headerlink, script, button, .run-here-place, .stage > :not(noscript), link, i.fa-solid, "
    # Folded code draws figures; starters of exercises are checked before anybody wrote a line.
    "details.hide, .tag_exercise > .cell_output"
)
_IDS = ("id", "for", "aria-labelledby", "aria-describedby", "name")


def contents(book: Path) -> list[Page]:
    """Return the pages in the order of the table of contents, without the API reference."""
    return [page for page in pages(book) if not page.name.startswith("reference/api")]


def title(text: Tag, page: Page) -> str:
    """Return the heading of a page, or its name where it has none."""
    heading = text.find("h1")
    return heading.get_text() if heading else page.name


def asked(what: str, target: Path) -> tuple[Path, list[Page], Path]:
    """Read the command line of an edition: the built book, the pages wanted, where to write.

    Parameters
    ----------
    what : str
        What the program says of itself.
    target : Path
        Where it writes if nothing else is asked for.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("names", nargs="*", help="pages such as chapters/activations")
    parser.add_argument("--html", type=Path, default=HTML, help="the built book")
    parser.add_argument("--out", type=Path, default=target)
    options = parser.parse_args()
    known = {page.name: page for page in contents(BOOK)}
    for name in options.names:
        if name not in known:
            parser.error(f"no page is called {name!r}; book/_toc.yml has the names")
    if not (options.html / "index.html").is_file():
        parser.error(f"no built book in {options.html}: run `make book` first")
    wanted = [page for page in known.values() if not options.names or page.name in options.names]
    return options.html, wanted, options.out


def article(html: Path, page: Page) -> Tag:
    """Return the text of a page, without what only works on the web."""
    soup = BeautifulSoup((html / f"{page.name}.html").read_text("utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    if found is None:
        raise ValueError(f"{page.name}.html: no article in it; is it a page of this book?")
    for tag in found.select(_LEFT_OUT):
        tag.decompose()
    for tag in found.find_all("noscript"):
        opening = tag.find("p", class_="moves")
        if isinstance(opening, Tag):
            opening.string = "On the web this figure can be moved."
        tag.unwrap()
    for tag in found.select("div.cell"):
        if not tag.get_text(strip=True) and not tag.find(["img", "svg"]):
            tag.decompose()
    for tag in found.find_all("details"):
        inside = tag.select_one(".sd-card-body")
        link = inside and inside.find("a")
        if inside and link and inside.get_text(strip=True) == link.get_text(strip=True):
            tag.replace_with(*inside.find_all("p"))  # a link needs no box
        else:
            tag["open"] = "open"
    for tabs in found.select(".sd-tab-set"):
        for tag in tabs.find_all("input"):
            tag.decompose()
        for tag in tabs.find_all("label"):
            tag.name, tag.attrs = "p", {"class": "tab-name"}
    for tag in found.find_all("input"):
        tag.decompose()
    return found


def redirect(
    text: Tag, page: Page, link: Callable[[str, str], str | None], file: Callable[[Path], str]
) -> None:
    """Let links and pictures lead to where they are in the new edition.

    Parameters
    ----------
    text : Tag
        The text of ``page``, changed in place.
    page : Page
        Where the addresses start from.
    link : Callable
        Takes the name of a page and an anchor; returns the new address, or None if there is none.
        Such a link becomes plain text.
    file : Callable
        Takes the path of a picture from the folder of the built book; returns its new address.
    """
    for tag in text.find_all("a", href=True):
        parts = urlsplit(str(tag["href"]))
        if parts.scheme or parts.netloc:
            continue
        name = _from(page, parts.path).removesuffix(".html") if parts.path else page.name
        new = link(name, unquote(parts.fragment))
        if new is None:
            tag.unwrap()
        else:
            tag.attrs = {"href": new}
    for tag in text.find_all(src=True):
        if not urlsplit(str(tag["src"])).scheme:
            tag["src"] = file(Path(_from(page, urlsplit(str(tag["src"])).path)))


def with_prefix(text: Tag, prefix: str) -> None:
    """Make the anchors of a page different from those of the others; in drawings they are so."""
    drawn = {id(tag) for svg in text.select(".drawing svg") for tag in (svg, *svg.find_all(True))}
    for tag in text.find_all(True):
        for key in _IDS if id(tag) not in drawn else ():
            if tag.has_attr(key):
                tag[key] = " ".join(f"{prefix}--{one}" for one in str(tag[key]).split())


def _from(page: Page, path: str) -> str:
    return os.path.normpath(Path(page.name).parent / unquote(path))


def formulas(text: Tag) -> Iterator[tuple[Tag, str, bool]]:
    r"""Yield each formula: its tag, its TeX, and whether it has a line of its own."""
    for tag in text.select(".math"):
        whole = tag.get_text()
        display = tag.name == "div"
        start, end = (r"\[", r"\]") if display else (r"\(", r"\)")
        _, _, rest = whole.partition(start)
        yield tag, rest.rpartition(end)[0], display


def release() -> tuple[str, str]:
    """Return the newest version and its day, as CHANGELOG.md has them."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)", text, re.MULTILINE)
    if found is None:
        raise ValueError("CHANGELOG.md: no heading such as '## 0.1.0 (2026-11-23)'")
    return found[1], found[2]
