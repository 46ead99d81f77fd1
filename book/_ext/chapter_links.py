"""Turns the line `Chapter: losses.` of a docstring into a link to that chapter of the book.

A chapter may be named by its title or by the words of its file name, without the number. A name
that no chapter has is a warning, and so fails the build; `Chapter: none` says that there is none.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from chapter_files import chapters, title
from sphinx.util import logging

_LINE = re.compile(r"\bChapters?: (?P<names>[^.]+)\.?\s*$")


@cache
def chapter_names(book: Path) -> dict[str, str]:
    """Map lower-case titles and file names to document names such as ``chapters/losses``."""
    names = {}
    for path in chapters(book):
        for name in (path.stem[3:].replace("_", " "), title(path)):
            names[name.lower()] = f"chapters/{path.stem}"
    return names


def link_line(line: str, names: dict[str, str]) -> tuple[str, list[str]]:
    """Return the line with its chapter names as links, and the names that no chapter has."""
    match = _LINE.search(line)
    if match is None or match["names"].startswith("none"):
        return line, []
    # A title may hold a comma, so the whole is tried first, and a semicolon separates for certain.
    whole = match["names"]
    separator = "\0" if whole.lower() in names else ";" if ";" in whole else ","
    wanted = [name.strip() for name in whole.split(separator)]
    unknown = [name for name in wanted if name.lower() not in names]
    links = ", ".join(
        f":doc:`{name} </{names[name.lower()]}>`" if name.lower() in names else name
        for name in wanted
    )
    label = "Chapters" if len(wanted) > 1 else "Chapter"
    return f"{line[: match.start()]}{label}: {links}.", unknown


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    names = chapter_names(Path(app.srcdir)) | app.config.chapter_aliases
    for i, line in enumerate(lines):
        lines[i], unknown = link_line(line, names)
        for chapter in unknown:
            logging.getLogger(__name__).warning("%s: no chapter is named %r", name, chapter)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx; priority 900 is after numpydoc has rewritten the docstring."""
    app.add_config_value("chapter_aliases", {}, "env")
    app.connect("autodoc-process-docstring", _process, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
