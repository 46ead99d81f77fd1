"""The search of the book: its index, made from the written pages, and the page that asks it.

A result is a section of a page, an entry of the glossary or the bibliography, or an object of the
API. The index holds their text and is one script, since a page opened from a disk may not fetch;
only the search page loads it. ``_static/search/`` ranks and shows; Sphinx's own search, which knows
whole pages only and no order among equals, is switched off.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, NavigableString, Tag

from .contents import Page, pages
from .plain_math import plain

FOLDER = "search"
INDEX = f"_static/{FOLDER}/index.js"
SYNONYMS = "reference/synonyms.toml"
# Sphinx's own files that no page loads any more.
_NOT_USED = ("searchtools.js", "language_data.js", "sphinx_highlight.js")

# Beside the text: numbers, what is drawn, what each page says, drawing code that is folded.
_SKIPPED = frozenset(
    "headerlink section-number caption-number eqno label backrefs cited-in times stage above-input "
    "below-figure viewcode-link letters run-here-place sd-summary-title toctree-wrapper".split()
)
_NO_TEXT = frozenset(("script", "style", "svg", "noscript"))
_BLOCKS = frozenset(
    "address blockquote br caption dd details div dl dt figcaption figure h1 h2 h3 h4 h5 h6 li ol "
    "p pre section summary table tbody td th thead tr ul".split()
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_PRE = re.compile(r"(?<=<pre>).*?(?=</pre>)", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
# A heading of the bibliography: the beginning of the entry.
_SHORT = 70
# What every chapter has, and where a subject is mentioned more than explained.
_ASIDES = (
    "What you will be able to do",
    "Common mistakes",
    "Summary",
    "Check yourself",
    "Exercises",
    "Where this comes from",
)


@dataclass
class Place:
    """What a result leads to: its anchor and heading, what stands there, the pages it points to."""

    anchor: str
    heading: str = ""
    bold: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)

    def words(self) -> list[str]:
        """Return the heading, what is bold, the text and the code, as one string each."""
        text = " ".join("".join(self.text).split())
        text = re.sub(r" ([,.;:!?)\]])", r"\1", text).removesuffix(" |")
        code = "\n".join(part.strip("\n") for part in self.code)
        return [self.heading, "; ".join(dict.fromkeys(self.bold)), text, code]


def kind(page: str, heading: str = "") -> str:
    """Return what a place is to the ranking, from its page and its heading.

    Examples
    --------
    >>> [kind(page) for page in ("chapters/losses", "reference/api/losses", "reference/faq")]
    ['chapter', 'api', 'reference']
    >>> kind("chapters/losses", "Summary")
    'aside'
    """
    folder, _, stem = page.rpartition("/")
    if folder == "chapters":
        aside = heading in _ASIDES or heading.startswith("Exercise:")
        return "aside" if aside else "chapter"
    if folder == "solutions":
        return "solution"
    if page.startswith("reference/api"):
        return "api"
    return stem if stem in ("glossary", "bibliography") else "reference"


def places(html: str) -> list[Place]:
    """Return the places of a page, in order; the first is the page itself, up to its first section.

    Examples
    --------
    >>> page = '<article><section id="a"><h1>A</h1><p>One.</p><section id="b"><h2>B</h2></section>'
    >>> [(place.anchor, place.words()) for place in places(page + "</section></article>")]
    [('a', ['A', '', 'One.', '']), ('b', ['B', '', '', ''])]
    """
    start, end = html.find("<article"), html.find("</article>")
    # Coloured code is most of a page, and its colours would take most of the time.
    article = _PRE.sub(lambda found: _TAG.sub("", found[0]), html[start:end])
    found: list[Place] = []
    _read(BeautifulSoup(article, "html.parser"), Place(""), found)
    return found


def _read(tag: Tag, place: Place, found: list[Place]) -> None:
    """Add what stands in a tag to a place, and the places that begin in it to those found."""
    for child in list(tag.children):
        if child.parent is not tag:  # a definition, which was read with its term
            continue
        if isinstance(child, Tag):
            _read_tag(child, place, found)
        elif type(child) is NavigableString:  # and no comment
            place.text.append(str(child))


def _read_tag(tag: Tag, place: Place, found: list[Place]) -> None:
    classes = set(tag.get_attribute_list("class"))
    anchor = str(tag.get("id") or "")
    if tag.name in _NO_TEXT or classes & _SKIPPED or _not_done(tag, classes):
        return
    if "math" in classes:
        place.text.append(f" {plain(_text(tag))} ")
    elif tag.name == "section" and anchor:
        found.append(Place(anchor))
        _read(tag, found[-1], found)
    elif "citation" in classes:
        entry = Place(anchor)
        found.append(entry)
        _read(tag, entry, found)
        entry.heading = _beginning(entry.words()[2])
    elif tag.name == "dt" and ("sig" in classes or anchor.startswith("term-")):
        _read_entry(tag, anchor, found)
    elif tag.name in _HEADINGS and not place.heading:
        place.heading = _line(tag)
    elif tag.name == "pre":
        place.code.append(tag.get_text())
    else:
        if tag.name == "strong" and re.search(r"[a-z]", tag.get_text()):
            place.bold.append(_line(tag).rstrip(".:"))
        gap = " " if tag.name in _BLOCKS or "classifier" in classes else ""
        place.text.append(gap)
        _read(tag, place, found)
        place.text.append(" | " if tag.name in ("td", "th") else gap)


def _read_entry(tag: Tag, anchor: str, found: list[Place]) -> None:
    """Read a term of the glossary, or an object of the API, with what is said of it."""
    entry = Place(anchor, _line(tag))
    if "sig" in tag.get_attribute_list("class"):
        entry.heading = anchor
        entry.text.append(f"{_line(tag)}. ")
    found.append(entry)
    body = tag.find_next_sibling("dd")
    if body is not None:
        if anchor.startswith("term-"):
            entry.leads = [str(a["href"]) for a in body.select('a[href*="chapters/"]')]
        _read(body.extract(), entry, found)


def _not_done(tag: Tag, classes: set[str]) -> bool:
    """Return whether a tag is what the check of an exercise says of the starter."""
    cell = tag.parent if "cell_output" in classes else None
    return cell is not None and "tag_exercise" in cell.get_attribute_list("class")


def _line(tag: Tag) -> str:
    """Return the text of a heading or a term, as that of a place."""
    inside = Place("")
    _read(tag, inside, [])
    return inside.words()[2]


def _text(formula: Tag) -> str:
    """Return a formula without its number."""
    strings = formula.find_all(string=True, recursive=False)
    return "".join(map(str, strings))


def _beginning(text: str) -> str:
    return text if len(text) <= _SHORT else text[:_SHORT].rpartition(" ")[0].rstrip(",.:") + " …"


def synonyms(book: Path) -> dict[str, Any]:
    """Return what means the same to the search, and what else is shown for some words."""
    return tomllib.loads((book / SYNONYMS).read_text("utf-8"))


def index(folder: Path, contents: tuple[Page, ...]) -> dict[str, Any]:
    """Return the pages and the places of the built book, in the order of its contents.

    A page is [address, title, number of the chapter or ""]; a place is [number of the page in
    this list, kind, anchor, heading, bold words, text, code, numbers of the pages that explain it].
    """
    numbers = {page.stem: n for n, page in enumerate(contents) if page.name.startswith("chapters/")}
    found: dict[str, Any] = {"pages": [], "places": []}
    for number, page in enumerate(contents):
        html = (folder / f"{page.name}.html").read_text("utf-8")
        here = places(html)
        chapter = re.search(r'<h1><span class="section-number">(\d+)', html)
        found["pages"].append([f"{page.name}.html", here[0].heading, chapter[1] if chapter else ""])
        for place in here:
            leads = sorted({numbers[Path(href.partition("#")[0]).stem] for href in place.leads})
            words = place.words()
            if len(words[0]) == 1:  # a letter of the glossary
                continue
            found["places"].append([number, kind(page.name, words[0]), place.anchor, *words, leads])
    return found


def _finish(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.name != "html":
        return
    book, out = Path(app.srcdir), Path(app.outdir)
    found = index(out, pages(book))
    found |= synonyms(book)
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (out / INDEX).write_text(f"window.searchIndex = {data};\n", encoding="utf-8")
    for name in _NOT_USED:
        (out / "_static" / name).unlink(missing_ok=True)
    (out / "searchindex.js").unlink(missing_ok=True)  # of a build before


def _own(app: Any) -> None:
    """Switch Sphinx's own index off, and let the search page come from our folder of templates."""
    if app.builder.name == "html":
        app.builder.search = False


def _search_page(app: Any) -> list[tuple[str, dict[str, Any], str]]:
    return [("search", {"title": "Search"}, "search.html")] if app.builder.name == "html" else []


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    files = context.get("script_files", [])
    files[:] = [f for f in files if not str(getattr(f, "filename", f)).endswith(_NOT_USED)]


def _templates(app: Any, config: Any) -> None:
    config.templates_path.append(str(Path(__file__).parent / "templates"))


def setup(app: Any) -> None:
    """Register with Sphinx; the index after all else, for it reads the finished pages."""
    app.connect("config-inited", _templates)
    app.connect("builder-inited", _own)
    app.connect("html-collect-pages", _search_page)
    app.connect("html-page-context", _page)
    app.connect("build-finished", _finish, priority=950)
