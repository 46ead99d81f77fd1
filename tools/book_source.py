"""The book before it is built: its folder, its pages, its notebooks, its settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"

# Pages and chapters are read where Sphinx reads them too.
sys.path.append(str(BOOK / "_ext"))
from course_book import address  # noqa: E402
from course_book.chapters import title  # noqa: E402
from course_book.contents import (  # noqa: E402
    Page,
    chapters,
    exercise_anchor,
    notebook_of,
    pages,
)

__all__ = [
    "BOOK",
    "ROOT",
    "Page",
    "address",
    "chapters",
    "exercise_anchor",
    "notebook_of",
    "notebooks",
    "pages",
    "settings",
    "title",
]


def notebooks() -> list[Path]:
    """Return the notebooks of the book, in the order of its table of contents."""
    paths = (BOOK / f"{page.name}.ipynb" for page in pages(BOOK))
    return [path for path in paths if path.is_file()]


def settings() -> dict[str, Any]:
    """Return the settings of the book."""
    found: dict[str, Any] = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    return found
