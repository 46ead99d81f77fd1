"""Corrects the pages that Sphinx and the theme write: their HTML, and the script of their icons."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_CORRECTIONS = {
    # A list may hold only list items; Sphinx says that a bibliography is a list, and that its
    # entries are something else (they are, but their role was withdrawn from the standard).
    'role="doc-biblioentry"': 'role="listitem"',
    # The words in it say more.
    '<summary aria-label="Toggle hidden content">': "<summary>",
}
# What code says to the formatter and the linter: no news to a reader. The notebooks keep it.
_NOTE = re.compile(r' *<span class="c1"># (?:fmt:|noqa)[^<]*</span>')
# A bracket that opens before the formula, the formula, and what closes after it.
_FORMULA = re.compile(
    r'([(\[“]?)(<span class="math notranslate nohighlight">\\\(.*?\\\)</span>)([.,;:!?)\]”’]*)',
    re.DOTALL,
)
# "arrow-left":[448,512,[8592],"f060","M9.4 ..."], as Font Awesome's script lists its icons: width,
# height, other names, character, outline.
_ICON = re.compile(
    r'"?(?P<name>[\w-]+)"?:\[\d+,\d+,\[(?P<other>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)


def accessible(body: str) -> str:
    """Return the HTML of a page with what a screen reader would misread replaced.

    Examples
    --------
    >>> accessible('<div class="citation" role="doc-biblioentry">')
    '<div class="citation" role="listitem">'
    """
    for wrong, right in _CORRECTIONS.items():
        body = body.replace(wrong, right)
    return body


def without_notes(body: str) -> str:
    """Return the HTML of a page without the comments for formatter and linter.

    Examples
    --------
    >>> without_notes('f(x)  <span class="c1"># fmt: skip</span>')
    'f(x)'
    """
    return _NOTE.sub("", body)


def kept_together(body: str) -> str:
    r"""Return the HTML of a page with each formula in a span with the signs that touch it.

    To a browser a formula is a box, like a picture: it may break the line between the formula and
    what follows, so that a line begins with a comma.

    Examples
    --------
    >>> x = r'<span class="math notranslate nohighlight">\(x\)</span>'
    >>> kept_together(f"({x}), and {x} too") == f'<span class="together">({x}),</span> and {x} too'
    True
    """

    def span(found: re.Match[str]) -> str:
        touched = found[1] or found[3]
        return f'<span class="together">{found[0]}</span>' if touched else found[0]

    return _FORMULA.sub(span, body)


def fewer_icons(script: str, used: set[str]) -> str:
    """Return the theme's script of two thousand icons without those that nothing uses.

    Examples
    --------
    >>> script = 'x={bars:[1,2,["navicon"],"f0c9","M0"],"sun":[1,2,[],"f185","M1"]};'
    >>> fewer_icons(script, {"navicon"})
    'x={bars:[1,2,["navicon"],"f0c9","M0"],};'
    """

    def keep(icon: re.Match[str]) -> str:
        names = {icon["name"], *re.findall(r'"([\w-]+)"', icon["other"])}
        return icon[0] if names & used else ""

    return _ICON.sub(keep, script)


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = kept_together(without_notes(accessible(context["body"])))


def _finish(app: Any, exception: Exception | None) -> None:
    """Cut the script of the icons from 1.5 MB to 0.1 MB."""
    script = Path(app.outdir) / "_static" / "scripts" / "fontawesome.js"
    if exception is None and app.builder.format == "html" and script.is_file():
        pages = (path.read_text("utf-8") for path in Path(app.outdir).rglob("*.html"))
        used = {name for page in pages for name in re.findall(r"\bfa-([a-z0-9-]+)", page)}
        script.write_text(fewer_icons(script.read_text("utf-8"), used), encoding="utf-8")


def setup(app: Any) -> None:
    """Register with Sphinx; the icons after all else, for the theme copies its files at the end."""
    app.connect("html-page-context", _page)
    app.connect("build-finished", _finish, priority=900)
