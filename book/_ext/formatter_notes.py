"""Leaves out of the pages what code says to the formatter and the linter: no news to a reader.

The notebooks keep it, because these programs read them.
"""

from __future__ import annotations

import re
from typing import Any

_NOTE = re.compile(r' *<span class="c1"># (?:fmt:|noqa)[^<]*</span>')


def without_notes(body: str) -> str:
    """Return the HTML of a page without the comments for these programs.

    Examples
    --------
    >>> without_notes('f(x)  <span class="c1"># fmt: skip</span>')
    'f(x)'
    """
    return _NOTE.sub("", body)


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = without_notes(context["body"])


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
