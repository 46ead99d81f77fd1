"""Keeps a formula and the comma, full stop or bracket beside it on one line of the text.

A browser may break a line between a formula and what follows it, so that a line begins with a
comma: to the browser a formula is a box, like a picture.
"""

from __future__ import annotations

import re
from typing import Any

# A bracket that opens before the formula, the formula, and what closes after it.
_FORMULA = re.compile(
    r'([(\[“]?)(<span class="math notranslate nohighlight">\\\(.*?\\\)</span>)([.,;:!?)\]”’]*)',
    re.DOTALL,
)


def kept_together(body: str) -> str:
    r"""Return the HTML of a page with each formula in a span with the signs that touch it.

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


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = kept_together(context["body"])


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
