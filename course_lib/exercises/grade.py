"""Grade a learner's notebook: run it in a fresh kernel and ask that kernel for its verdicts.

The verdicts are those that :func:`~course_lib.exercises.exercise.check` came to in that run. What
the notebook prints, and what stands in it from an earlier run, counts for nothing. A cell that
fails, or takes too long, is left behind and the next one is run. The code of the notebook does run
on this machine: notebooks of people whom you do not know belong into a container.

Chapter: none; the page on teaching shows its use.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.exercises.exercise import LEVELS, find, names
from course_lib.exercises.grade_run import run_cells
from course_lib.exercises.verdict import NOT_YET

_CHECKED = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")


@dataclass(frozen=True)
class Mark:
    """What came out for one exercise.

    Parameters
    ----------
    name, title, level, minutes : str, str, str, int
        The exercise, as in the book.
    score : int
        1 if the last answer that the notebook had checked is right, else 0.
    mistake : str or None
        The name of the mistake; ``"not-yet"`` if there was no answer; None if it is right.
    hint : str
        What the learner was told.
    """

    name: str
    title: str
    level: str
    minutes: int
    score: int
    mistake: str | None
    hint: str


@dataclass(frozen=True)
class Grade:
    """What came out for one notebook.

    Parameters
    ----------
    file : str
        Its path, as given.
    marks : tuple of Mark
        One for each exercise of the chapters whose exercises it has, also those it left out.
    errors : tuple of str
        The cells that failed: ``"cell 7: ZeroDivisionError: division by zero"``.
    stopped : str or None
        Why the run ended before the last cell; what was checked until then counts.
    """

    file: str
    marks: tuple[Mark, ...]
    errors: tuple[str, ...] = ()
    stopped: str | None = None

    @property
    def total(self) -> int:
        """How many exercises are right.

        Examples
        --------
        >>> mark = Mark("activations.elu", "ELU with its alpha", "easy", 10, 1, None, "")
        >>> Grade("mine.ipynb", (mark,)).total
        1
        """
        return sum(mark.score for mark in self.marks)


def grade(file: str | Path, *, cell_seconds: float = 120, seconds: float = 900) -> Grade:
    """Run a notebook and return its marks.

    Parameters
    ----------
    file : str or Path
        A chapter of the book with answers in it, or any notebook with cells that check answers.
        The file is not changed; its folder is the working directory of the run.
    cell_seconds : float
        How long a cell may take before it is interrupted; whole seconds.
    seconds : float
        How long all may take; no cell is started later.

    Raises
    ------
    ValueError
        If the file is no notebook, or has no exercise of the course in it.
    ImportError
        If nbclient or ipykernel is not installed.
    """
    path = Path(file)
    notebook = _read(path)
    wanted = _exercises(notebook)
    if not wanted:
        raise ValueError(
            f"{path}: no cell checks an exercise, as exercises.check('activations.elu', my_elu) "
            "does. Give a chapter of the book with the answers in it."
        )
    run = run_cells(notebook, path.parent, cell_seconds=cell_seconds, seconds=seconds)
    marks = []
    for name in wanted:
        passed, mistake, hint = run.verdicts.get(name, (False, NOT_YET, "no answer was checked"))
        task = find(name)
        marks.append(Mark(name, task.title, task.level, task.minutes, int(passed), mistake, hint))
    return Grade(str(file), tuple(marks), tuple(run.errors), run.stopped)


def _read(path: Path) -> Any:
    try:
        nbformat = importlib.import_module("nbformat")
        importlib.import_module("nbclient")
        importlib.import_module("ipykernel")
    except ImportError as error:
        raise ImportError(
            f"grading runs notebooks, and {error.name} is not installed; "
            "pip install 'course-lib[notebooks,lab]' brings it."
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # whatever a file that is no notebook makes the reader raise
        raise ValueError(f"{path}: not a notebook ({type(error).__name__}).") from error
    for cell in notebook.cells:
        cell.outputs = []
    return notebook


def _exercises(notebook: Any) -> list[str]:
    """Return all exercises of the chapters of which the notebook has at least one."""
    known = names()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = {name for cell in code for name in _CHECKED.findall(cell.source)}
    found |= {cell.metadata.get(key) for cell in code for key in ("exercise", "solution")}
    chapters = {name.partition(".")[0] for name in found & set(known)}
    wanted = [name for name in known if name.partition(".")[0] in chapters]
    return sorted(wanted, key=lambda name: (name.partition(".")[0], LEVELS.index(find(name).level)))
