"""The files of the book, as the tests see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

BOOK = Path(__file__).resolve().parents[2] / "book"
IMAGES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif")


def pages(suffix: str) -> list[Path]:
    """Return the pages of the book with this suffix, without what was built."""
    return sorted(
        path
        for path in BOOK.rglob(f"*{suffix}")
        if not any(part.startswith(("_", ".")) for part in path.relative_to(BOOK).parts)
    )


def contents(toc: Any = None) -> list[str]:
    """Return the pages that the table of contents names, in order, globs filled in."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8")) if toc is None else toc
    found = []
    if isinstance(toc, dict):
        found += [toc[key] for key in ("root", "file") if key in toc]
        if "glob" in toc:
            matches = sorted(BOOK.glob(toc["glob"] + ".md"))
            found += [str(path.relative_to(BOOK).with_suffix("")) for path in matches]
    for child in toc.values() if isinstance(toc, dict) else toc:
        if isinstance(child, dict | list):
            found += contents(child)
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
