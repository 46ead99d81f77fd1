"""The chapters: what stands in them, and how long each takes, which is said under its title.

The time to read comes from the length. The time to run was measured: it is in
``reference/running_times.json``, which ``tools/notebooks/running_times.py`` writes.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .contents import chapters, notebook_of

MEASURED = "reference/running_times.json"
WORDS, LINES, FORMULAS = 200, 20, 4  # read in a minute: a code line takes longer than a sentence
_FORMULA = re.compile(r"\$\$.*?\$\$|```\{math\}.*?```", re.DOTALL)


def notebook(book: Path, stem: str) -> dict[str, Any]:
    """Return a chapter as it is stored."""
    found: dict[str, Any] = json.loads(notebook_of(book, stem).read_text(encoding="utf-8"))
    return found


def markdown(book: Path, stem: str) -> str:
    """Return the text of a chapter, an empty line between its cells; it begins with the title."""
    cells = notebook(book, stem)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def title(book: Path, stem: str) -> str:
    """Return the title of a chapter."""
    return markdown(book, stem).split("\n", 1)[0].removeprefix("# ").strip()


def reading_minutes(notebook: dict[str, Any]) -> int:
    """Return the minutes that reading takes, rounded up to five.

    Examples
    --------
    >>> text = {"cell_type": "markdown", "source": "word " * 900 + "$$ x $$"}
    >>> code = {"cell_type": "code", "source": ["x = 1\\n"] * 10}
    >>> reading_minutes({"cells": [text, code]})  # 4.5 + 0.25 + 0.5
    10
    """
    minutes = 0.0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if "remove-cell" in cell.get("metadata", {}).get("tags", []):
            continue
        if cell["cell_type"] == "code":
            minutes += sum(bool(line.strip()) for line in source.splitlines()) / LINES
        else:
            minutes += len(_FORMULA.findall(source)) / FORMULAS
            minutes += len(_FORMULA.sub("", source).split()) / WORDS
    return 5 * math.ceil(minutes / 5)


def reading_hours(book: Path) -> int:
    """Return the hours that reading all chapters takes."""
    return round(sum(reading_minutes(notebook(book, stem)) for stem in chapters(book)) / 60)


def duration(seconds: float) -> str:
    """Return a bound in words: seconds below a minute and a half, else minutes.

    Examples
    --------
    >>> duration(15), duration(100)
    ('15 seconds', '2 minutes')
    """
    return f"{seconds:g} seconds" if seconds < 90 else f"{math.ceil(seconds / 60)} minutes"


def _measured(app: Any) -> dict[str, Any]:
    path = Path(app.srcdir) / MEASURED
    app.env.note_dependency(str(path))
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _under_title(app: Any, doctree: Any) -> None:
    book = Path(app.srcdir)
    folder, _, stem = app.env.docname.partition("/")
    if folder != "chapters" or stem not in chapters(book):
        return
    text = f"Reading: about {reading_minutes(notebook(book, stem))} minutes."
    seconds = _measured(app)["seconds"].get(stem)
    if seconds is not None:
        text += f" Running: under {duration(seconds)}."
    title = next(iter(doctree.findall(nodes.title)))
    line = nodes.paragraph("", text, classes=["times"])
    title.parent.insert(title.parent.index(title) + 1, line)


class CourseTimes(SphinxDirective):
    """The times of all chapters together, and where they were measured."""

    def run(self) -> list[nodes.Node]:
        """Return one paragraph."""
        book = Path(self.env.srcdir)
        stems = chapters(book)
        found = _measured(self.env.app)
        for stem in stems:
            self.env.note_dependency(str(notebook_of(book, stem)))
        text = (
            f"{len(stems)} chapters: about {reading_hours(book)} hours to read, not counting the "
            "work on the exercises. "
            f"Running all of their code takes under {duration(sum(found['seconds'].values()))} "
            f"(measured in {found['month']} on {found['machine']})."
        )
        return [nodes.paragraph("", text)]


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("doctree-read", _under_title)
    app.add_directive("course-times", CourseTimes)
