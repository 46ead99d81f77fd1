"""The table of contents: the pages in their order, and the numbers of the chapters.

The number of a chapter is its place in ``_toc.yml`` and stands nowhere else. The other files of
this package, the tools and the tests ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Page:
    """A page: its name, such as chapters/losses, and the caption of the part that it begins."""

    name: str
    part: str | None = None

    @property
    def stem(self) -> str:
        """Return the name without the folder: a chapter and its solutions have the same."""
        return self.name.rpartition("/")[2]

    @property
    def slug(self) -> str:
        """Return a name that can be an anchor and the name of a file."""
        return self.name.replace("/", "-")


@cache
def pages(book: Path) -> tuple[Page, ...]:
    """Return all pages of the book, in the order of its table of contents."""
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    found = [Page(toc["root"])]
    for part in toc.get("parts", [toc]):
        first, *others = (name for entry in part["chapters"] for name in _names(book, entry))
        found += [Page(first, part.get("caption")), *map(Page, others)]
    return tuple(found)


def _names(book: Path, entry: dict[str, Any]) -> list[str]:
    """Return the pages that an entry stands for, those below it included."""
    if "glob" in entry:
        paths = sorted(book.glob(f"{entry['glob']}.md"))
        return [path.relative_to(book).with_suffix("").as_posix() for path in paths]
    below = [name for section in entry.get("sections", ()) for name in _names(book, section)]
    return [entry["file"], *below]


@cache
def chapters(book: Path) -> dict[str, int]:
    """Return the number of each chapter by the name of its file, in the order of the book."""
    stems = [page.stem for page in pages(book) if page.name.startswith("chapters/")]
    return {stem: number for number, stem in enumerate(stems, start=1)}


def notebook_of(book: Path, stem: str) -> Path:
    """Return the file of a chapter."""
    return book / "chapters" / f"{stem}.ipynb"


def exercise_anchor(exercise: str) -> str:
    """Return the anchor of an exercise on its page.

    Examples
    --------
    >>> exercise_anchor("gradient_checking.sine")
    'ex-gradient-checking-sine'
    """
    return f"ex-{exercise}".replace(".", "-").replace("_", "-")
