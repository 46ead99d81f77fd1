"""Corrects what Sphinx writes where a screen reader would misread it."""

from __future__ import annotations

from typing import Any

# A list may hold only list items; Sphinx says that a bibliography is a list, and that its entries
# are something else (they are, but their role was withdrawn from the standard).
_CORRECTIONS = {'role="doc-biblioentry"': 'role="listitem"'}


def corrected(body: str) -> str:
    """Return the HTML of a page with what is wrong replaced.

    Examples
    --------
    >>> corrected('<div class="citation" role="doc-biblioentry">')
    '<div class="citation" role="listitem">'
    """
    for wrong, right in _CORRECTIONS.items():
        body = body.replace(wrong, right)
    return body


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = corrected(context["body"])


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
