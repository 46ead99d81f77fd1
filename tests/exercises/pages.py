"""The exercises and their solutions as they stand in the notebooks of the book."""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tools.book_source import chapters

BOOK = Path(__file__).resolve().parents[2] / "book"
CHAPTERS = list(chapters(BOOK))

_HEAD = re.compile(r"\((?P<label>[\w-]+)\)=\n#{2,3} (?P<title>.+)\n")
_EFFORT = re.compile(r"^\*(?P<level>\w+), (?P<minutes>\d+) minutes?\*$", re.MULTILINE)


@dataclass(frozen=True)
class OnPage:
    """One exercise or one solution of a page."""

    name: str
    label: str
    title: str
    effort: tuple[str, int] | None
    source: str
    printed: str
    tags: tuple[str, ...]
    after: str


def cells(folder: str, stem: str) -> list[dict[str, Any]]:
    """Return the cells of a notebook, sources as strings; none if it is not there (yet)."""
    path = BOOK / folder / f"{stem}.ipynb"
    found = json.loads(path.read_text("utf-8"))["cells"] if path.is_file() else []
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def on_page(folder: str, stem: str, key: str) -> list[OnPage]:
    """Return what has ``key`` ("exercise" or "solution") in the metadata of its code cell."""
    page, found, head, effort = cells(folder, stem), [], None, None
    for i, cell in enumerate(page):
        if cell["cell_type"] == "markdown":
            for match in _HEAD.finditer(cell["source"]):
                head, effort = match, _EFFORT.search(cell["source"], match.end())
        elif key in cell["metadata"]:
            assert head is not None, f"{stem}: no (label)= and heading before {cell['source'][:50]}"
            text = "".join(part for o in cell["outputs"] for part in o.get("text", ""))
            after = page[i + 1]["source"] if i + 1 < len(page) else ""
            found.append(
                OnPage(
                    name=cell["metadata"][key],
                    label=head["label"],
                    title=head["title"],
                    effort=(effort["level"], int(effort["minutes"])) if effort else None,
                    source=cell["source"],
                    printed=text,
                    tags=tuple(cell["metadata"].get("tags", ())),
                    after=after,
                )
            )
    return found


def run(source: str, folder: str, stem: str) -> None:
    """Run one cell after nothing but those imports of its page that it needs."""
    code = (cell for cell in cells(folder, stem) if cell["cell_type"] == "code")
    first = next(cell for cell in code if "remove-cell" not in cell["metadata"].get("tags", ()))
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    needed = []
    for node in ast.parse(first["source"]).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a for a in node.names if (a.asname or a.name.partition(".")[0]) in used]
            if names:
                node.names = names
                needed.append(node)
    namespace = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what importing a large library says is not the question
        exec(compile(ast.Module(needed, []), f"imports of {stem}", "exec"), namespace)
    exec(compile(source, f"cell of {stem}", "exec"), namespace)


def solution(name: str) -> Any:
    """Return the answer that the solution of an exercise gives to the check."""
    stem, answers = name.partition(".")[0], []
    (source,) = (x.source for x in on_page("solutions", stem, "solution") if x.name == name)
    with patch("course_lib.exercises.check", lambda _, answer: answers.append(answer)):
        run(source, "solutions", stem)
    return answers[-1]
