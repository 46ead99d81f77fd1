"""Prints the built book as one PDF: all chapters, solutions and reference pages, with links inside.

To be run (`make pdf`) after `make book`. Chromium sets the formulas and breaks the pages.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from bs4 import BeautifulSoup

from tools.book_source import BOOK, Page, settings
from tools.editions import built_pages
from tools.editions.built_pages import article, redirect, with_prefix
from tools.editions.chromium import chromium

TARGET = BOOK / "_build" / "course.pdf"
# Formulas by the thousand take minutes; Chromium counts only the time in which it waits.
WAIT_MS, SECONDS = 60_000, 1800

_STYLE = """
@page { size: A4; margin: 20mm 18mm 20mm;
  @bottom-center { content: counter(page); font: 9pt sans-serif; color: #555; } }
@page :first { @bottom-center { content: ""; } }
html { font-size: 10.5pt; scroll-padding: 0; }
html, body { background: #fff; height: auto; overflow: visible; }
article.bd-article { break-before: page; padding: 0; }
.cover { text-align: center; padding-top: 30%; }
.cover h1 { font-size: 2.2rem; border: 0; }
.part { break-before: page; padding-top: 35%; text-align: center; font-size: 1.8rem; }
.part + article.bd-article { break-before: page; }
nav.whole-contents { break-before: page; }
nav.whole-contents li { list-style: none; }
h1, h2, h3, h4 { break-after: avoid; break-inside: avoid; }
pre { white-space: pre-wrap !important; overflow-wrap: anywhere; font-size: 8.6pt; }
pre { orphans: 4; widows: 4; }
img, figure, tr, div.math, .admonition-title { break-inside: avoid; }
img, .drawing svg { max-width: 100%; max-height: 210mm; min-width: 0 !important; }
.drawing { break-inside: avoid; overflow: visible; }
table { width: 100%; font-size: 9pt; } td { overflow-wrap: anywhere; }
th { overflow-wrap: normal; }
.pst-scrollable-table-container, .cell_output, .highlight { overflow: visible !important; }
details summary { list-style: none; } details summary svg { display: none; }
details.hide > summary { display: none !important; }
.sd-card, .admonition { box-shadow: none !important; }
.sd-tab-set { display: block; } .sd-tab-set > .sd-tab-content { display: block !important; }
.tab-name { font-weight: 600; margin: 0.6rem 0 0; }
a { color: #0b5394; text-decoration: none; } mjx-container { overflow: visible !important; }
"""


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
            entries.append(f"<li><strong>{escape(page.part)}</strong></li>")
        body.append(str(text))
        entries.append(f'<li><a href="#{page.slug}">{escape(name)}</a></li>')
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>{escape(title)}</title>{"".join(kept)}'
        f"<style>{_STYLE}</style></head><body>"
        f'<section class="cover"><h1>{escape(title)}</h1><p>{escape(author)}</p></section>'
        f'<nav class="whole-contents"><h1>Contents</h1><ul>{"".join(entries)}</ul></nav>'
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


def write(html: Path, pages: list[Page], target: Path) -> None:
    """Print these pages of the built book."""
    config = settings()
    whole = target.with_suffix(".print.html")
    whole.parent.mkdir(parents=True, exist_ok=True)
    text = assemble(html, pages, config["title"], config["author"])
    whole.write_text(text, encoding="utf-8")
    chromium(
        f"--print-to-pdf={target}",
        "--no-pdf-header-footer",
        "--generate-pdf-document-outline",
        f"--virtual-time-budget={WAIT_MS}",
        whole.resolve().as_uri(),
        seconds=SECONDS,
    )
    whole.unlink()


def main() -> None:
    """Print the whole book, or the pages that are named."""
    html, pages, target = built_pages.asked(__doc__, TARGET)
    write(html, pages, target)
    print(target)


if __name__ == "__main__":
    main()
