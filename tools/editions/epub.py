"""Writes the built book as an EPUB: one file for e-book readers, with formulas as MathML.

To be run (`make epub`) after `make book`. Chromium turns the TeX of all formulas into MathML, with
the MathJax that comes with the book; the file itself contains no scripts.
"""

from __future__ import annotations

import json
import mimetypes
import re
import tempfile
import zipfile
from html import escape
from pathlib import Path

from bs4 import BeautifulSoup, Comment, Tag

from tools.book_source import BOOK, Page, settings
from tools.chromium import chromium
from tools.editions import built_pages
from tools.editions.built_pages import article, formulas, redirect

TARGET = BOOK / "_build" / "course.epub"

# Nothing is fetched; the page is opened from the disk, and its text is read back.
_CONVERT = """<!DOCTYPE html><meta charset="utf-8"><script id="tex" type="application/json">{tex}
</script><script>window.MathJax = {{startup: {{typeset: false, ready() {{
  MathJax.startup.defaultReady();
  const done = JSON.parse(document.getElementById("tex").textContent)
    .map(([tex, display]) => MathJax.tex2mml(tex, {{display}}));
  window.made = done;
}}}}}};</script><script src="{mathjax}"></script>"""

_STYLE = """body { font-family: serif; line-height: 1.4; margin: 0 3%; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8em; padding: 0.4em;
  border-left: 3px solid #888; background: rgba(128, 128, 128, 0.1); }
code { font-size: 0.9em; overflow-wrap: anywhere; }
img, .drawing svg { max-width: 100%; height: auto; background: #fff; }
figure { margin: 1em 0; } figcaption, caption { font-style: italic; }
table { border-collapse: collapse; font-size: 0.85em; } td, th { border: 1px solid #999;
  padding: 0.2em 0.4em; text-align: left; vertical-align: top; }
div.math { margin: 0.8em 0; overflow-x: auto; } .eqno { float: right; }
.admonition, .sd-card { border: 1px solid #999; padding: 0.2em 0.8em; margin: 0.8em 0; }
.admonition-title, .sd-summary-title, .tab-name { font-weight: bold; }
.part { font-size: 1.6em; text-align: center; margin: 2em 0; }
"""

_PAGE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"
 xml:lang="en" lang="en">
<head><title>{title}</title><link rel="stylesheet" type="text/css" href="style.css"/></head>
<body>{body}</body></html>
"""

_PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">{identifier}</dc:identifier><dc:title>{title}</dc:title>
<dc:language>en</dc:language><dc:creator>{author}</dc:creator>
<dc:rights>CC BY 4.0</dc:rights><meta property="dcterms:modified">{modified}</meta>
</metadata><manifest>
{manifest}
</manifest><spine>
{spine}
</spine></package>
"""

_CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>
<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>
"""
_KEPT = {"href", "src", "alt", "id", "class", "colspan", "rowspan", "title", "start", "open"}
# SVG and MathML are left as they are; everything else keeps only what XHTML knows.
_FOREIGN = ("svg", "math")
# Names of SVG with a large letter, which HTML does without.
_LARGE = {name.lower(): name for name in ("clipPath", "viewBox", "preserveAspectRatio")}
_VARIABLE = re.compile(r"var\(--[\w-]+,([^)]+)\)")


def mathml(html: Path, tex: list[tuple[str, bool]]) -> list[str]:
    """Return the MathML of formulas, each given as TeX and whether it has a line of its own."""
    script = (html / "_static" / "mathjax" / "tex-chtml.js").resolve().as_uri()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "convert.html"
        text = json.dumps(tex).replace("<", "\\u003c")
        page.write_text(_CONVERT.format(tex=text, mathjax=script), encoding="utf-8")
        with chromium() as tab:
            tab.open(page)
            found: list[str] = tab.js("return window.made")
    return found


def svg_as_xml(svg: Tag) -> None:
    """Write a drawing as readers know it that are older than the web: black on white, SVG 1.1."""
    for style in svg.find_all("style"):
        style.decompose()
    for tag in (svg, *svg.find_all(True)):
        tag.name = _LARGE.get(tag.name, tag.name)
        tag.attrs = {_LARGE.get(key, key): value for key, value in tag.attrs.items()}
        if "href" in tag.attrs:
            tag["xlink:href"] = tag.attrs.pop("href")
        if "style" in tag.attrs:
            plain = _VARIABLE.sub(r"\1", str(tag["style"]))
            tag["style"] = re.sub(r"min-width:[^;]*;?", "", plain)
    svg["xmlns"] = "http://www.w3.org/2000/svg"
    svg["xmlns:xlink"] = "http://www.w3.org/1999/xlink"


def xhtml(text: Tag) -> str:
    """Return a text as XML, without what EPUB does not know."""
    for svg in text.find_all("svg"):
        svg_as_xml(svg)
    for comment in text.find_all(string=lambda part: isinstance(part, Comment)):
        comment.extract()
    for tag in [text, *text.find_all(True)]:
        if tag.name in _FOREIGN or tag.find_parent(_FOREIGN):
            continue
        tag.attrs = {key: value for key, value in tag.attrs.items() if key in _KEPT}
        if tag.get("id") == "":
            del tag["id"]
    return text.decode(formatter="minimal")


def write(html: Path, pages: list[Page], target: Path, *, version: str, modified: str) -> None:
    """Write these pages of the built book.

    Parameters
    ----------
    html : Path
        The built book.
    pages : list of Page
        In the order of reading.
    target : Path
        The file.
    version, modified : str
        Part of the identifier; the day as 2026-11-23, so that the same book gives the same file.
    """
    config = settings()
    texts = {page: article(html, page) for page in pages}
    found = [place for text in texts.values() for place in formulas(text)]
    made = mathml(html, [(tex, display) for _, tex, display in found])
    for (tag, _, _), formula in zip(found, made, strict=True):
        number = tag.select_one(".eqno")
        tag.clear()
        for part in (number, BeautifulSoup(formula, "html.parser").find("math")):
            if part is not None:
                tag.append(part)
    names = {page.name: f"{page.slug}.xhtml" for page in pages}
    pictures: dict[Path, str] = {}

    def link(name: str, anchor: str) -> str | None:
        return names[name] + (f"#{anchor}" if anchor else "") if name in names else None

    def picture(path: Path) -> str:
        return pictures.setdefault(path, f"pictures/{len(pictures):03}{path.suffix}")

    files, entries = {}, []
    for page, text in texts.items():
        title = built_pages.title(text, page)
        redirect(text, page, link, picture)
        part = f'<p class="part">{escape(page.part)}</p>' if page.part else ""
        body = part + xhtml(text)
        files[names[page.name]] = _PAGE.format(title=escape(title), body=body)
        entries.append(f'<li><a href="{names[page.name]}">{escape(title)}</a></li>')
    nav = f'<nav epub:type="toc"><h1>Contents</h1><ol>{"".join(entries)}</ol></nav>'
    files["contents.xhtml"] = _PAGE.format(title="Contents", body=nav)
    files["style.css"] = _STYLE
    files["package.opf"] = _package(files, pictures, names, config, version, modified)
    _zip(target, files, {name: html / path for path, name in pictures.items()})


def _package(
    files: dict[str, str],
    pictures: dict[Path, str],
    names: dict[str, str],
    config: dict[str, str],
    version: str,
    modified: str,
) -> str:
    items, order = [], []
    for name in [*files, *pictures.values()]:
        kind = "application/xhtml+xml" if name.endswith(".xhtml") else mimetypes.guess_type(name)[0]
        marks = [mark for mark in ("math", "svg") if f"<{mark}" in files.get(name, "")]
        marks = ["mathml" if mark == "math" else mark for mark in marks]
        marks += ["nav"] * (name == "contents.xhtml")
        extra = f' properties="{" ".join(marks)}"' if marks else ""
        item = name.replace("/", "-").replace(".", "-")
        items.append(f'<item id="i-{item}" href="{name}" media-type="{kind}"{extra}/>')
        if name in names.values():
            order.append(f'<itemref idref="i-{item}"/>')
    order.insert(1, '<itemref idref="i-contents-xhtml"/>')
    return _PACKAGE.format(
        identifier=f"course_lib-{version}",
        title=escape(config["title"]),
        author=escape(config["author"]),
        modified=f"{modified}T00:00:00Z",
        manifest="\n".join(items),
        spine="\n".join(order),
    )


def _zip(target: Path, files: dict[str, str], pictures: dict[str, Path]) -> None:
    """Write the archive: the kind first and uncompressed, as EPUB asks for; no times of today."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:

        def add(name: str, data: bytes, how: int = zipfile.ZIP_DEFLATED) -> None:
            archive.writestr(zipfile.ZipInfo(name), data, how)

        add("mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        add("META-INF/container.xml", _CONTAINER.encode())
        for name, text in files.items():
            add(f"book/{name}", text.encode())
        for name, path in pictures.items():
            add(f"book/{name}", path.read_bytes())


def main() -> None:
    """Write the whole book, or the pages that are named."""
    html, pages, target = built_pages.asked(__doc__, TARGET)
    version, modified = built_pages.release()
    write(html, pages, target, version=version, modified=modified)
    print(target)


if __name__ == "__main__":
    main()
