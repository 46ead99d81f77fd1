"""Lets what a link leads to be seen where it is mentioned: equations, terms, sources, and more.

After the build, the targets of the links in the text are collected from the pages into one file.
The script ``_static/previews.js`` loads it when a reader first points at such a link, and shows
the target: an equation, a term of the glossary and a source whole, of a function its signature and
first paragraph, a figure small and with its caption, of a section its title and how it begins.
"""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

DATA = "_static/previews/targets.js"
_ARTICLE = re.compile(r"<article\b.*?</article>", re.DOTALL)
_HREF = re.compile(r'<a\b[^>]*\bclass="reference\b[^>]*\bhref="([^"]*)"')
# Solutions would be given away; of the source of the package, and of the place where something is
# cited, there is nothing to be shown in short.
_NOT_SHOWN = re.compile(r"^(?:\w+:|//)|\bsolutions/|\b_modules/|#id\d+$")
_WHOLE = re.compile(r"#equation-|/glossary\.html#term-|/bibliography\.html#id\d+$")
# No equation, definition or source is longer, in characters of HTML.
_LONGEST = 12_000
# A heading, perhaps the times of a chapter, and up to two paragraphs that follow at once: in an
# exercise the first says only how hard it is.
_OPENING = re.compile(
    r'.*?<(h[1-6])>(?P<title>.*?)</\1>\s*(?:<p class="times">.*?</p>\s*)?'
    r"<p(?: id=[^>]*)?>(?P<first>.*?)</p>(?:\s*<p>(?P<second>.*?)</p>)?",
    re.DOTALL,
)
# A picture in a file, or a drawing that is a part of the page (figures.py).
_PICTURE = re.compile(r'<img\b[^>]*>|(?<=<div class="drawing">)<svg\b[^>]*>')
_SHORT = 60  # characters of a paragraph that does not say much


def wanted(html: str, page: str) -> set[str]:
    """Return what the links in a page's text lead to, as ``chapters/losses.html#equation-eq-mse``.

    Examples
    --------
    >>> link = '<a class="reference internal" href="a.html#equation-eq-mse">'
    >>> wanted(f"{link}<article>{link}</article>", "chapters/b.html")
    {'chapters/a.html#equation-eq-mse'}
    >>> wanted(link, "chapters/b.html")
    set()
    """
    found = set()
    text = _ARTICLE.search(html)
    for href in map(unescape, _HREF.findall(text[0]) if text else ()):
        path, _, anchor = unquote(href).partition("#")
        if path.endswith(".html") or not path:
            folder = Path("/", page).parent
            full = (folder / path).resolve().relative_to("/") if path else Path(page)
            target = f"{full.as_posix()}#{anchor}"
            if _WHOLE.search(target) or not _NOT_SHOWN.search(f"{href}\n{target}"):
                found.add(target)
    return found


def excerpt(html: str, anchor: str) -> str | None:
    """Return what to show of a target, without links and anchors; None if there is nothing.

    Parameters
    ----------
    html : str
        The page with the target.
    anchor : str
        Its name there; empty for the page itself.

    Examples
    --------
    >>> page = '<dl><dt id="term-a">a<a class="headerlink">#</a></dt><dd><p>An <a>x</a>.</p></dd>'
    >>> excerpt(page, "term-a")
    '<strong>a</strong><p>An <span>x</span>.</p>'
    >>> excerpt('<section id="s"><h2>Title</h2><p>It begins.</p></section>', "s")
    '<strong>Title</strong><p>It begins.</p>'
    """
    start = html.find(f'id="{anchor}"') if anchor else html.find("<h1>", html.find("<article"))
    if start < 0:
        return None
    start = html.rfind("<", 0, start + 1)
    name = re.match(r"<(\w+)", html[start:])
    kind = name[1] if name else ""
    piece = html[start : start + _LONGEST]
    if anchor.startswith(("equation-", "id")) and kind == "div":
        return _without_links(_parsed(piece, "</div>"))
    if kind == "dt":
        return _term(piece) if anchor.startswith("term-") else _signature(piece)
    if kind == "figure":
        return _figure(html[start : html.find("</figure>", start)])
    if anchor.startswith("module-"):
        first = _parsed(piece, "</p>").p
        return f"<code>{anchor.removeprefix('module-')}</code>{_paragraph(first)}"
    return _opening(piece)


def _parsed(piece: str, end: str) -> BeautifulSoup:
    """Parse what stands before an end tag, and the tag: to parse whole pages would take seconds."""
    return BeautifulSoup(piece[: piece.find(end) + len(end)], "html.parser")


def _term(piece: str) -> str:
    soup = _parsed(piece, "</dd>")
    term, meaning = soup.dt, soup.dd
    if term is None or meaning is None:
        return ""
    inside = _without_links(BeautifulSoup(meaning.decode_contents(), "html.parser"))
    name = _without_links(BeautifulSoup(term.decode_contents(), "html.parser"))
    return f"<strong>{name}</strong>{inside}"


def _signature(piece: str) -> str:
    """Return the signature as plain code, and the first paragraph of what is said about it."""
    soup = _parsed(piece, "</p>")
    signature, about = soup.dt, soup.dd
    if signature is None:
        return ""
    for extra in signature.select("a"):
        extra.decompose()
    text = BeautifulSoup("<code></code>", "html.parser")
    if text.code:
        text.code.string = " ".join(signature.get_text().split())
    first = about.find("p", recursive=False) if about else None
    return f"{text}{_paragraph(first)}"


def _figure(figure: str) -> str | None:
    """Return the caption of a figure, and before it its pictures.

    Those in files are addressed from the folder of the book. A drawing is a part of its page, and
    can be shown there; here stands which one.
    """
    head, there, caption = figure.partition("<figcaption>")
    if not there:
        return None
    shown = ""
    for tag in BeautifulSoup("".join(_PICTURE.findall(head)), "html.parser").find_all(True):
        if tag.name == "svg":
            # An HTML parser writes the names of attributes in small letters.
            size = escape(str(tag["viewbox"]))
            shown += f'<svg data-drawing="{tag["id"]}" viewBox="{size}" aria-hidden="true"></svg>'
            continue
        kept = {key: tag[key] for key in ("alt", "class") if tag.has_attr(key)}
        # Not "src": where the page is in another folder, that would be asked for in vain.
        tag.attrs = {"data-src": str(tag["src"]).replace("../", ""), **kept}
        shown += str(tag)
    text = caption.partition("</figcaption>")[0].strip()
    return f"{shown}{_without_links(BeautifulSoup(text, 'html.parser'))}"


def _opening(piece: str) -> str | None:
    match = _OPENING.match(piece)
    if match is None:
        return None
    parts = [match["first"]]
    if match["second"] and len(re.sub(r"<[^>]*>", "", match["first"])) < _SHORT:
        parts.append(match["second"])
    body = "".join(f"<p>{part}</p>" for part in parts)
    title = f"<strong>{match['title']}</strong>"
    return _without_links(BeautifulSoup(f"{title}{body}", "html.parser"))


def _paragraph(tag: Any) -> str:
    if not isinstance(tag, Tag):
        return ""
    del tag["id"]
    return _without_links(BeautifulSoup(str(tag), "html.parser"))


def _without_links(soup: BeautifulSoup) -> str:
    for extra in soup.select(".headerlink, .backrefs, .label, .eqno, .cited-in"):
        extra.decompose()
    for link in soup.find_all("a"):
        link.name = "span"
        link.attrs = {}
    for tag in soup.find_all(id=True):
        del tag["id"]
    for tag in soup.select("code, code span"):  # hundreds of them, which look the same without
        tag.attrs = {}
        if tag.name == "span":
            tag.unwrap()
    return re.sub(r"\s*→\s*(?:<span><span[^>]*>[^<]*</span></span>[,\s]*)+", "", str(soup)).strip()


def collect(folder: Path) -> dict[str, str]:
    """Return what to show of each target that a page of the built book links to."""
    pages = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*.html"))}
    texts = {name: p.read_text("utf-8") for name, p in pages.items() if not name.startswith("_")}
    found = {}
    for target in sorted(set().union(*(wanted(html, name) for name, html in texts.items()))):
        page, _, anchor = target.partition("#")
        html = excerpt(texts[page], anchor) if page in texts else None
        if html:
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
