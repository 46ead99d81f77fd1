"""What this book adds to Sphinx: one extension, each subject a file with a ``setup`` of its own."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Any

FILES = (
    "api",
    "bibliography",
    "chapters",
    "course_pages",
    "external_names",
    "figure_pages",
    "figures",
    "folds",
    "identity",
    "interactive",
    "mentions",
    "page_html",
    "previews",
    "run_here",
    "search",
)


def setup(app: Any) -> dict[str, bool]:
    """Register all files with Sphinx, and build in two thirds of the time.

    Sphinx holds all pages in memory until it ends, and Python's collector of cycles walks through
    them again and again without finding much. Memory without it: below 1 GB.
    """
    for name in FILES:
        import_module(f".{name}", __name__).setup(app)
    gc.disable()
    return {"parallel_read_safe": True, "parallel_write_safe": True}
