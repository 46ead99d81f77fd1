"""Prints the built book as one PDF: all chapters, solutions and reference pages, with links inside.

To be run (`make pdf`) after `make book`. Chromium sets the formulas and breaks the pages. The API
reference is left out: it is a thing to look up, and the book on the web and `help()` have it.
"""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

from bs4 import BeautifulSoup
from pypdf import PdfReader, PdfWriter

from tools.book_source import BOOK, Page, settings
from tools.chromium import chromium
from tools.editions import built_pages
from tools.editions.built_pages import article, redirect, with_prefix

TARGET = BOOK / "_build" / "course.pdf"

_STYLE = """
@page { size: A4; margin: 13mm 19mm 15mm;
  @bottom-center { content: counter(page); font: 8pt sans-serif; color: #555; } }
@page :first { @bottom-center { content: ""; } }
html { font-size: 9.3pt; scroll-padding: 0; }
html, body { background: #fff; height: auto; line-height: 1.36; overflow: visible; }
article.bd-article { break-before: page; padding: 0; }
article.runs-on { break-before: auto; margin-top: 2rem; }
.cover { text-align: center; padding-top: 30%; }
.cover h1 { font-size: 2.2rem; border: 0; }
.part { break-before: page; color: #555; font-size: 1.1rem; margin: 0; }
.part + article.bd-article { break-before: auto; }
nav.whole-contents { break-before: page; columns: 2; column-gap: 10mm; }
nav.whole-contents h1, nav.whole-contents p { column-span: all; margin-top: 1rem; }
nav.whole-contents ul { padding: 0; } nav.whole-contents li { list-style: none; margin: 0; }
nav.whole-contents li.of-part { break-after: avoid; font-weight: 600; margin-top: 0.6rem; }
nav.whole-contents li:not(.of-part) { display: flex; gap: 0.4rem; }
nav.whole-contents li a { flex: 1; } .page-number { font-variant-numeric: tabular-nums;
  min-width: 1.8rem; text-align: right; }
h1, h2, h3, h4 { break-after: avoid; break-inside: avoid; line-height: 1.2; }
h1 { font-size: 1.9rem; margin: 0 0 0.8rem; } h2 { font-size: 1.4rem; margin: 1.3rem 0 0.5rem; }
h3 { font-size: 1.15rem; margin: 1rem 0 0.4rem; }
p, ul, ol, dl { margin-bottom: 0.5rem; max-width: none !important; }
.cell { margin: 0.4rem 0 !important; } .cell_output { margin: 0.2rem 0 0 !important; }
pre { white-space: pre-wrap !important; overflow-wrap: anywhere; font-size: 7.4pt;
  line-height: 1.2; margin: 0.2rem 0; padding: 0.3rem 0.5rem; }
div[class*="highlight"] { break-inside: auto !important; display: block !important; }
table { break-inside: auto !important; }
pre { orphans: 4; widows: 4; }
img, figure, tr, div.math, .admonition-title { break-inside: avoid; }
img, .drawing svg { max-width: 105mm !important; max-height: 66mm; height: auto; width: auto;
  min-width: 0 !important; }
.drawing { break-inside: avoid; overflow: visible; }
figure, .cell_output figure { margin: 0.5rem auto; } figcaption p { margin: 0.2rem 0 0; }
figcaption, .caption-text { font-size: 8.6pt; }
table { width: 100%; font-size: 8.4pt; }
td, th { overflow-wrap: anywhere; padding: 0.1rem 0.4rem !important; }
th { overflow-wrap: normal; }
.pst-scrollable-table-container, .cell_output, .highlight { overflow: visible !important; }
details summary { break-after: avoid; list-style: none; }
.sd-summary-state-marker { display: none !important; }
.sd-card, .admonition { box-shadow: none !important; margin: 0.5rem 0 !important;
  padding-bottom: 0.2rem; }
.sd-card-header, .sd-card-body, .admonition-title { padding: 0.15rem 0.6rem !important; }
.admonition-title { margin-bottom: 0.2rem; padding-left: 2rem !important; }
.stage { border: 0 !important; min-height: 0 !important; padding: 0 !important; }
.stage .snapshot { display: block; margin: auto; }
.stage .moves { color: #555; font-size: 8pt; margin: 0; text-align: center !important; }
.sd-col { break-inside: avoid; }
.sd-tab-set { display: block; } .sd-tab-set > .sd-tab-content { display: block !important; }
.tab-name { font-weight: 600; margin: 0.6rem 0 0; }
a { color: #0b5394; text-decoration: none; } mjx-container { overflow: visible !important; }
mjx-container[display] { margin: 0.5em 0 !important; }
"""

_API = """<p>The reference of all functions and classes is not printed: the book on the web has it,
and so does <code>help()</code>.</p>"""


def assemble(html: Path, pages: list[Page], title: str, author: str) -> str:
    """Return one HTML page with everything, whose links lead inside of it."""
    names = {page.name: page.slug for page in pages}

    def link(name: str, anchor: str) -> str | None:
        if name not in names:
            return None
        return f"#{names[name]}--{anchor}" if anchor else f"#{names[name]}"

    kept = _head(html, pages)
    body, entries = [], []
    for page in pages:
        text = article(html, page)
        name = built_pages.title(text, page)
        redirect(text, page, link, lambda path: (html / path).resolve().as_uri())
        with_prefix(text, page.slug)
        text["id"] = page.slug
        if page.part:
            body.append(f'<p class="part">{escape(page.part)}</p>')
            entries.append(f'<li class="of-part">{escape(page.part)}</li>')
        elif page.name.startswith("solutions/"):
            text["class"] = [*text["class"], "runs-on"]  # they are short
        body.append(str(text))
        entries.append(
            f'<li><a href="#{page.slug}">{escape(name)}</a>'
            f'<span class="page-number" data-page="{page.slug}"></span></li>'
        )
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>{escape(title)}</title>{"".join(kept)}'
        f"<style>{_STYLE}</style></head><body>"
        f'<section class="cover"><h1>{escape(title)}</h1><p>{escape(author)}</p></section>'
        f'<nav class="whole-contents"><h1>Contents</h1><ul>{"".join(entries)}</ul>{_API}</nav>'
        f"{''.join(body)}</body></html>"
    )


def _head(html: Path, pages: list[Page]) -> list[str]:
    """Return the style sheets of the book, and MathJax, which only pages with formulas load."""
    for page in [*pages, Page("reference/notation")]:
        path = html / f"{page.name}.html"
        if "window.MathJax" not in path.read_text("utf-8"):
            continue
        kept = []
        for tag in BeautifulSoup(path.read_text("utf-8"), "html.parser").select("head *, script"):
            key = "href" if tag.name == "link" else "src"
            source = str(tag.get(key, ""))
            style = tag.name == "link" and tag.get("rel") == ["stylesheet"]
            mathjax = tag.name == "script" and (
                "/mathjax/" in source or "window.MathJax" in tag.text
            )
            if style or mathjax:
                if source:
                    tag[key] = (path.parent / source.split("?")[0]).resolve().as_uri()
                kept.append(str(tag))
        return kept
    raise ValueError("no page with formulas in the built book: build all of it first")


_NUMBER = """
for (const place of document.querySelectorAll("[data-page]")) {
  place.textContent = arguments[0][place.dataset.page];
}
"""


def places(pdf: bytes) -> dict[str, int]:
    """Return on which page, from 1, each anchor of a printed page stands that a link leads to."""
    reader = PdfReader(io.BytesIO(pdf))
    found = {}
    for name, place in reader.named_destinations.items():
        number = reader.get_destination_page_number(place)
        if number is not None:
            found[name.removeprefix("/")] = number + 1
    return found


def without_tags(pdf: bytes) -> bytes:
    """Return a printed page with its outline and links, but without the tags of its structure.

    Each letter of a formula has some: half of the file, and of no help to a listener. The editions
    to be read aloud are the web's and the EPUB, with formulas as MathML.
    """
    reader = PdfReader(io.BytesIO(pdf))
    root = reader.trailer["/Root"]
    for key in ("/StructTreeRoot", "/MarkInfo"):
        root.pop(key, None)
    items = [root["/Outlines"]]
    while items:
        item = items.pop().get_object()
        item.pop("/SE", None)
        items += [item[key] for key in ("/First", "/Next") if key in item]
    file = io.BytesIO()
    PdfWriter(clone_from=reader).write(file)  # what nothing refers to any more is left behind
    return file.getvalue()


def write(html: Path, pages: list[Page], target: Path) -> None:
    """Print these pages of the built book: once to see where each begins, then with that said."""
    config = settings()
    whole = target.with_suffix(".print.html")
    whole.parent.mkdir(parents=True, exist_ok=True)
    text = assemble(html, pages, config["title"], config["author"])
    whole.write_text(text, encoding="utf-8")
    with chromium() as tab:
        tab.open(whole)
        numbers = places(tab.pdf())
        tab.js(_NUMBER, {page.slug: numbers[page.slug] for page in pages})
        target.write_bytes(without_tags(tab.pdf()))
    whole.unlink()


def main() -> None:
    """Print the whole book, or the pages that are named."""
    html, pages, target = built_pages.asked(__doc__, TARGET)
    write(html, pages, target)
    print(target)


if __name__ == "__main__":
    main()
