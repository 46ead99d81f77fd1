"""The files of the book, as the tests see them."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bs4 import BeautifulSoup

BOOK = Path(__file__).resolve().parents[2] / "book"
IMAGES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif")


def pages(suffix: str) -> list[Path]:
    """Return the pages of the book with this suffix, without what was built."""
    return sorted(
        path
        for path in BOOK.rglob(f"*{suffix}")
        if not any(part.startswith(("_", ".")) for part in path.relative_to(BOOK).parts)
    )


def contents() -> list[str]:
    """Return the pages that the table of contents names, in order, globs filled in."""
    return [page.name for page in extension("contents").pages(BOOK)]


def chapters() -> dict[str, int]:
    """Return the number of each chapter by the name of its file, in order."""
    found: dict[str, int] = extension("contents").chapters(BOOK)
    return found


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    """Return the cells of a notebook of one kind, with their sources as one string each."""
    found = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == kind]
    for cell in found:
        cell["source"] = "".join(cell["source"])
    return found


def markdown(path: Path) -> str:
    """Return the text of a page: all of a .md file, the Markdown cells of a notebook."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    return "\n\n".join(cell["source"] for cell in cells(path, "markdown"))


def extension(name: str) -> ModuleType:
    """Import a file of the book's own extension, which Sphinx finds on the path too."""
    if str(BOOK / "_ext") not in sys.path:
        sys.path.append(str(BOOK / "_ext"))
    return importlib.import_module(f"course_book.{name}")


def without(what: str) -> None:
    """Skip on the machine of a person; where everything has to be there, fail."""
    if "CI" in os.environ:
        pytest.fail(what)
    pytest.skip(what)


# Thousands of strokes in a drawing, and a tag for each word of a listing: nine tags in ten.
_STROKES = re.compile(r"(<svg\b[^>]*>).*?</svg>", re.DOTALL)
_COLOURS = re.compile(r"</?span\b[^>]*>")


@cache
def parsed(page: Path) -> BeautifulSoup:
    """Return a built page, of drawings only the frame and of source code only the text.

    Who changes what it returns, takes a copy.
    """
    html = _STROKES.sub(r"\1</svg>", page.read_text("utf-8"))
    return BeautifulSoup(
        _COLOURS.sub("", html) if "_modules" in page.parts else html, "html.parser"
    )


def built_book() -> Path:
    """Return the folder of the built book; who names one in BOOK_HTML may not go without."""
    folder = Path(os.environ.get("BOOK_HTML", BOOK / "_build" / "html")).resolve()
    if not (folder / "index.html").is_file():
        message = f"no built book in {folder}: run `make book` first"
        if "BOOK_HTML" in os.environ:
            pytest.fail(message)
        without(message)
    return folder
