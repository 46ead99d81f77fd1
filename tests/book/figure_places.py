"""Where in the book the interactive figures stand."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.book.book_files import BOOK, markdown, pages

SCRIPTS = BOOK / "_static" / "interactive"
_PLACE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{interactive\} (?P<name>\S+)\n(?P<options>.*?)^(?P=fence)",
    re.MULTILINE | re.DOTALL,
)


class Place(NamedTuple):
    """A figure's name, its page as in the table of contents, and its options."""

    name: str
    page: str
    options: str


def places() -> list[Place]:
    """Return all places of the book, in the order of its files."""
    return [
        Place(match["name"], str(path.relative_to(BOOK).with_suffix("")), match["options"])
        for path in [*pages(".ipynb"), *pages(".md")]
        for match in _PLACE.finditer(markdown(path))
    ]
