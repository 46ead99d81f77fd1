"""The code cells of the learner's notebooks, made of those of the book."""

from __future__ import annotations

import ast
import os
from contextlib import redirect_stdout
from io import StringIO
from typing import Any
from unittest.mock import patch

import nbformat

from course_lib import exercises
from course_lib.exercises import progress
from tools.notebooks.without_glue import defined, imported, used, without_glue


def glued(source: list[nbformat.NotebookNode]) -> dict[str, str]:
    """Return the values that the cells of a page handed to its text."""
    found = {}
    for cell in source:
        for output in cell.get("outputs", ()):
            if is_glued(output):
                value = output.data["application/papermill.record/text/plain"]
                quoted_text = value[:1] in "'\""
                name = output.metadata["scrapbook"]["name"]
                found[name] = str(ast.literal_eval(value)) if quoted_text else value
    return found


def is_glued(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is a value that was handed to the text."""
    return "scrapbook" in output.get("metadata", {})


def is_needed(source: str, prepares: bool, later: list[nbformat.NotebookNode]) -> bool:
    """Return whether a cell that shows nothing does something for the cells after it."""
    if not source.strip():
        return False
    names = defined(source)
    if not prepares or not names:
        return True
    reads = (used(without_glue(cell.source)) for cell in later if cell.cell_type == "code")
    return bool(names & set().union(*reads)) or "import" in source


def keep_progress(cells: list[nbformat.NotebookNode], chapter: str) -> None:
    """Let the first cell remember what is solved, and a last one say how much is."""
    first = next(cell for cell in cells if cell.cell_type == "code" and cell.id != "install")
    if "exercises" not in imported(first.source):
        first.source += "\nfrom course_lib import exercises"
    first.source += f'\n\nexercises.keep_progress("{chapter}")'
    with (
        patch.dict(os.environ, {progress.VARIABLE: "off"}),
        patch.object(progress, "last", list),  # nor what was checked in this process
        redirect_stdout(StringIO()) as said,
    ):
        exercises.show_progress(chapter)
    shown = nbformat.v4.new_output("stream", name="stdout", text=said.getvalue())
    code = f'exercises.show_progress("{chapter}")'
    cells.append(code_cell(code, "progress", hidden=False, outputs=[shown]))


def code_cell(
    source: str, name: str, *, hidden: bool, outputs: list[Any] | None = None
) -> nbformat.NotebookNode:
    """Return a code cell, folded where it is of no interest to a reader."""
    # JupyterLab and VS Code fold the code by the first, Colab by the second.
    metadata = {"jupyter": {"source_hidden": True}, "cellView": "form"} if hidden else {}
    return nbformat.v4.new_code_cell(source, id=name[:64], metadata=metadata, outputs=outputs or [])
