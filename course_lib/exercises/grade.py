"""Grade a learner's notebook: run it in a fresh kernel and ask that kernel for its verdicts.

The verdicts are those that :func:`~course_lib.exercises.exercise.check` came to in that run. What
the notebook prints, and what stands in it from an earlier run, counts for nothing. A cell that
fails, or takes too long, is left behind and the next one is run. The code of the notebook does run
on this machine: notebooks of people whom you do not know belong into a container.

Chapter: none; the page on teaching shows its use.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib.exercises.exercise import LEVELS, find, names
from course_lib.exercises.progress import VARIABLE
from course_lib.exercises.verdict import NOT_YET

_CHECKED = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")

_ASK = """import json, course_lib.exercises.exercise as _exercise
print({token!r}, json.dumps([[v.name, v.passed, v.mistake, v.hint] for v in _exercise.last()]))"""

# Whether the last answer passed, the mistake, the hint.
_Judged = tuple[bool, str | None, str]


@dataclass(frozen=True)
class Mark:
    """What came out for one exercise."""

    name: str
    title: str
    level: str
    minutes: int
    score: int  # 1 if the last answer that the notebook had checked is right, else 0
    mistake: str | None  # its name; "not-yet" if there was no answer; None if it is right
    hint: str


@dataclass(frozen=True)
class Grade:
    """What came out for one notebook."""

    file: str  # as given
    marks: tuple[Mark, ...]  # of all exercises of the chapters concerned, also those left out
    errors: tuple[str, ...] = ()  # "cell 7: ZeroDivisionError: division by zero"
    stopped: str | None = None  # why the run ended before the last cell

    @property
    def total(self) -> int:
        """How many exercises are right."""
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
    run = _run_cells(notebook, path.parent, cell_seconds=cell_seconds, seconds=seconds)
    marks = []
    for name in wanted:
        passed, mistake, hint = run.verdicts.get(name, (False, NOT_YET, "no answer was checked"))
        task = find(name)
        marks.append(Mark(name, task.title, task.level, task.minutes, int(passed), mistake, hint))
    return Grade(str(file), tuple(marks), tuple(run.errors), run.stopped)


def _read(path: Path) -> Any:
    try:
        for needed in ("nbformat", "nbclient", "ipykernel"):
            importlib.import_module(needed)
    except ImportError as error:
        raise ImportError(
            f"grading runs notebooks, and {error.name} is not installed; "
            "pip install 'course-lib[notebooks,lab]' brings it."
        ) from error
    import nbformat

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


@dataclass
class _Run:
    """What happened in a run; its errors and its stop are those of the grade."""

    verdicts: dict[str, _Judged] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    stopped: str | None = None


def _run_cells(notebook: Any, folder: Path, *, cell_seconds: float, seconds: float) -> _Run:
    from nbclient.util import run_sync

    run = _Run()
    run_sync(_run)(run, notebook, folder, cell_seconds, time.monotonic() + seconds)
    if run.stopped == "":
        run.stopped = f"the {seconds:g} s for a notebook were over"
    return run


async def _run(run: _Run, notebook: Any, folder: Path, cell_seconds: float, end: float) -> None:
    from nbclient.exceptions import DeadKernelError
    from nbformat.v4 import new_code_cell

    cells = list(notebook.cells)
    notebook.cells.append(new_code_cell())  # the place of the questions that are put to the kernel
    client = _client(notebook, folder, cell_seconds)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # the cells' come back
    env = os.environ | {VARIABLE: "off"}  # what is graded was not solved by who grades
    async with client.async_setup_kernel(cleanup_kc=True, env=env, **quiet):
        for i, cell in enumerate(cells):
            if time.monotonic() > end:
                run.stopped = ""
                return
            try:
                await client.async_execute_cell(cell, i)
                if cell.cell_type == "code" and "check" in cell.source:
                    run.verdicts |= await _ask(client.async_execute_cell)
            except DeadKernelError:
                run.stopped = f"the kernel died in cell {i + 1}"
                return
            except TimeoutError:
                run.stopped = f"cell {i + 1} took over {cell_seconds:g} s and could not be stopped"
                return
            run.errors += [f"cell {i + 1}: {error}" for error in _errors(cell)]


def _client(notebook: Any, folder: Path, cell_seconds: float) -> Any:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    specs = KernelSpecManager()
    specs.kernel_dirs = []  # not a kernel that is installed on the machine under the same name
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=max(1, round(cell_seconds)),
        interrupt_on_timeout=True,
        error_on_timeout={"ename": "TimeoutError", "evalue": "took too long", "traceback": []},
        allow_errors=True,
        record_timing=False,
        resources={"metadata": {"path": str(folder.resolve())}},
    )
    client.log.disabled = True  # what went wrong stands in the result
    return client


async def _ask(execute: Callable[[Any, int], Awaitable[Any]]) -> dict[str, _Judged]:
    """Return the verdicts so far; the token tells them from what else is printed meanwhile."""
    from nbformat.v4 import new_code_cell

    token = secrets.token_hex(8)
    cell = new_code_cell(_ASK.format(token=token))
    await execute(cell, -1)
    printed = "".join(output.get("text", "") for output in cell.outputs)
    _, there, said = printed.partition(f"{token} ")
    if not there:
        raise TimeoutError
    found = json.JSONDecoder().raw_decode(said)[0]
    return {name: (passed, mistake, hint) for name, passed, mistake, hint in found}


def _errors(cell: Any) -> list[str]:
    failed = [output for output in cell.get("outputs", ()) if output.output_type == "error"]
    return [f"{output.ename}: {output.evalue}".splitlines()[0] for output in failed]
