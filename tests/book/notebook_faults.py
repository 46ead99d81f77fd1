"""Finds what a reader of a notebook should not see: raw markup, open answers, links to nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tests.book.book_files import parsed

# What is not Markdown, in text that is shown: code and formulas are looked at apart.
_RAW = {
    "a role": re.compile(r"\{[a-z][\w:.-]*\}"),
    "a directive": re.compile(r"^\s*:{3,}", re.M),
    "a label": re.compile(r"^\([\w-]+\)=", re.M),
    "the label of a formula": re.compile(r"\(eq-[\w-]+\)"),
    "an option": re.compile(r"^:[\w-]+: ", re.M),
    "a name for a value": re.compile("glue:"),
}
_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
_MARKDOWN.use(dollarmath_plugin, allow_labels=False)
_ANCHOR = re.compile(r'<a id="([^"]+)"></a>')


def scan(folder: Path, book: Path) -> list[str]:
    """Return the faults of all notebooks in a folder; ``book`` is what /book/ stands for."""
    faults = []
    for path in sorted(folder.rglob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            found = text_faults(cell.source) if cell.cell_type == "markdown" else code_faults(cell)
            if cell.cell_type == "markdown":
                found += [fault for link in links(cell.source) for fault in _dead(link, path, book)]
            faults += [f"{path.relative_to(folder)}, {cell.id}: {fault}" for fault in found]
    return faults


def text_faults(source: str) -> list[str]:
    """Return what is wrong with the text of a cell."""
    faults = [fault for text in _shown(source) for fault in raw(text)]
    html = "".join(token.content for token in _tokens(source) if token.type.startswith("html"))
    if html.count("<details>") != len(re.findall("<details", html)):
        faults.append("a fold is open, or not plain")
    if html.count("<details>") != html.count("</details>"):
        faults.append("a fold does not end")
    fences = [token.info for token in _tokens(source) if token.type == "fence"]
    return faults + [f"shows a directive: {info}" for info in fences if info.startswith("{")]


def raw(text: str) -> list[str]:
    """Return the markup that a text shows to its readers."""
    found = ((what, pattern.search(text)) for what, pattern in _RAW.items())
    return [f"shows {what}: {match[0]!r}" for what, match in found if match]


def code_faults(cell: nbformat.NotebookNode) -> list[str]:
    """Return what is wrong with a code cell."""
    words = ("glue", "myst_nb")
    return [f"code has {word!r}" for word in words if word in cell.source] + [
        "hands a value to a text"
        for output in cell.outputs
        if "scrapbook" in output.get("metadata", ())
    ]


def links(source: str) -> list[str]:
    """Return the addresses that a text links to or shows pictures from."""
    keys = {"link_open": "href", "image": "src"}
    tokens = (token for token in _tokens(source) if token.type in keys)
    return [unquote(str(token.attrs[keys[token.type]])) for token in tokens]


def _dead(link: str, path: Path, book: Path) -> list[str]:
    parts = urlsplit(link)
    if parts.scheme:
        return []
    if parts.path.startswith("/book/"):
        there = book / parts.path.removeprefix("/book/")
    else:
        there = (path.parent / parts.path).resolve() if parts.path else path
    if not there.is_file():
        return [f"links to {link}, which is not there"]
    if parts.fragment and parts.fragment not in anchors(there):
        return [f"links to {link}, where there is no such place"]
    return []


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the places of a notebook or of a page that a link can lead to."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        return frozenset(_ANCHOR.findall(text))
    return frozenset(str(tag["id"]) for tag in parsed(path).find_all(id=True))


def _tokens(source: str) -> Iterator[Token]:
    for token in _MARKDOWN.parse(source):
        yield token
        yield from token.children or ()


def _shown(source: str) -> Iterator[str]:
    for token in _MARKDOWN.parse(source):
        if token.type == "inline":
            shown = (c for c in token.children or () if c.type in ("text", "softbreak"))
            yield "".join("\n" if c.type == "softbreak" else c.content for c in shown)
