"""Grade learners' notebooks: run each in a fresh kernel and read the verdicts that come out.

The verdicts are those that :func:`~course_lib.exercises.exercise.check` came to in that run. What
the notebook prints, and what stands in it from an earlier run, counts for nothing. A cell that
fails, or takes too long, is left behind and the next one is run.

The code of the notebook does run on this machine, with the rights of whoever grades: SECURITY.md
says what it is kept from and what not.

Chapter: none; the page on teaching shows its use.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib.exercises.exercise import LEVELS, VERDICTS, find, names
from course_lib.exercises.progress import VARIABLE
from course_lib.exercises.verdict import NOT_YET

_CHECKED = re.compile(r"""\bcheck\(\s*["']([\w.]+)["']""")

_MISTAKE = re.compile(r"[\w-]{1,80}")

_START = 120  # seconds; a machine may be busy

_LONGEST = 10_000  # characters of a hint, or of what an error says

# By its path: it needs psutil, which comes with what runs notebooks.
_WARDEN = Path(__file__).with_name("warden.py")

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
    return _graded(file, _read(Path(file)), cell_seconds, seconds)


def grade_all(
    files: Sequence[str | Path], *, cell_seconds: float = 120, seconds: float = 900
) -> list[Grade]:
    """Grade several notebooks, as :func:`grade` does; return their grades in the same order.

    All of them are read before the first one is run, so none can change what another one is graded
    by. One that cannot be read or run has no marks, and `stopped` says why; the others have theirs.

    Raises
    ------
    ImportError
        If nbclient or ipykernel is not installed.
    """
    read = [_read_or_why(Path(file)) for file in files]
    return [
        Grade(str(file), (), stopped=found)
        if isinstance(found, str)
        else _graded(file, found, cell_seconds, seconds)
        for file, found in zip(files, read, strict=True)
    ]


def _read_or_why(path: Path) -> Any:
    try:
        return _read(path)
    except (ValueError, OSError) as error:
        return str(error).removeprefix(f"{path}: ").removesuffix(".")


def _graded(file: str | Path, notebook: Any, cell_seconds: float, seconds: float) -> Grade:
    wanted = _exercises(notebook)
    run = _run_cells(notebook, Path(file).parent, cell_seconds=cell_seconds, seconds=seconds)
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
        for cell in notebook.cells:
            cell.outputs = []
        wanted = _exercises(notebook)
    except Exception as error:  # whatever a file that is no notebook makes the reader raise
        raise ValueError(f"{path}: not a notebook ({type(error).__name__}).") from error
    if not wanted:
        raise ValueError(
            f"{path}: no cell checks an exercise, as exercises.check('activations.elu', my_elu) "
            "does. Give a chapter of the book with the answers in it."
        )
    return notebook


def _exercises(notebook: Any) -> list[str]:
    """Return all exercises of the chapters of which the notebook has at least one."""
    known = names()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = {name for cell in code for name in _CHECKED.findall(cell.source)}
    found |= {str(cell.metadata.get(key)) for cell in code for key in ("exercise", "solution")}
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

    run, end = _Run(), time.monotonic() + seconds
    # The kernel's own: what it remembers, and the user's startup files of IPython stay out of it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        verdicts = Path(own, "verdicts")
        verdicts.mkdir()
        # What is graded was not solved by who grades.
        env = {VERDICTS: str(verdicts), "IPYTHONDIR": str(Path(own, "ipython")), VARIABLE: "off"}
        try:
            client = _client(notebook, folder, Path(own), cell_seconds)
            run_sync(_run)(run, client, cell_seconds, end, os.environ | env)
        except Exception as error:  # of a kernel that does not start, or says what none says
            run.stopped = f"the kernel failed ({type(error).__name__}: {_line(str(error))})"
        run.verdicts = _verdicts(verdicts)
    if run.stopped == "":
        run.stopped = f"the {seconds:g} s for a notebook were over"
    return run


async def _run(
    run: _Run, client: Any, cell_seconds: float, end: float, env: dict[str, str]
) -> None:
    from nbclient.exceptions import DeadKernelError

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    async with client.async_setup_kernel(cleanup_kc=True, env=env, **quiet):
        # An interrupt is to end the grading; nbclient would end this kernel and go on.
        with suppress(NotImplementedError):  # Windows has none
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        for i, cell in enumerate(client.nb.cells):
            if time.monotonic() > end:
                run.stopped = ""
                return
            try:
                await client.async_execute_cell(cell, i)
            except DeadKernelError:
                run.stopped = f"the kernel died in cell {i + 1}"
                return
            except TimeoutError:
                run.stopped = f"cell {i + 1} took over {cell_seconds:g} s and could not be stopped"
                return
            run.errors += [f"cell {i + 1}: {error}" for error in _errors(cell)]


def _client(notebook: Any, folder: Path, own: Path, cell_seconds: float) -> Any:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class Quiet(NotebookClient):
        """Keeps the first error of a cell, and nothing else of what the notebook shows."""

        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] == "status" or (msg["msg_type"] == "error" and not cell.outputs):
                return super().process_message(msg, cell, cell_index)
            return None

    specs = KernelSpecManager()
    specs.kernel_dirs = []  # not a kernel that is installed on the machine under the same name
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    if os.name == "posix":  # sockets that are files: no port is taken, and nobody else can connect
        manager.transport, manager.ip = "ipc", str(own / "kernel")
    # Nothing of the folder is to be imported by the warden, and prints are to go nowhere.
    watched = [sys.executable, "-P", str(_WARDEN)]
    spec = manager.kernel_spec
    assert spec is not None
    spec.argv = [*watched, *spec.argv, "--IPKernelApp.outstream_class=None"]
    client = Quiet(
        notebook,
        km=manager,
        timeout=max(1, round(cell_seconds)),
        startup_timeout=_START,
        interrupt_on_timeout=True,
        error_on_timeout={"ename": "TimeoutError", "evalue": "took too long", "traceback": []},
        allow_errors=True,
        record_timing=False,
        resources={"metadata": {"path": str(folder.resolve())}},
    )
    client.log.disabled = True  # what went wrong stands in the result
    return client


def _verdicts(folder: Path) -> dict[str, _Judged]:
    """Read what :func:`check` wrote; what it would not have written counts as not there."""
    found = {}
    for name in names():
        path = folder / f"{name}.json"
        if not path.is_file():  # a pipe of that name would be read for ever
            continue
        try:
            with path.open("rb") as file:
                passed, mistake, hint = json.loads(file.read(20 * _LONGEST))
        except (OSError, ValueError, TypeError, RecursionError):
            continue
        right = passed is True and mistake is None
        wrong = passed is False and isinstance(mistake, str) and _MISTAKE.fullmatch(mistake)
        if isinstance(hint, str) and (right or wrong):
            found[name] = (right, mistake, hint[:_LONGEST])
    return found


def _errors(cell: Any) -> list[str]:
    failed = [output for output in cell.get("outputs", ()) if output.output_type == "error"]
    return [_line(f"{output.ename}: {output.evalue}") for output in failed]


def _line(text: str) -> str:
    """Return the first line of a text, no longer than a line of a table may be."""
    first = text[:_LONGEST].strip().partition("\n")[0].removesuffix(":")
    return first if len(first) <= 200 else f"{first[:200]} ..."
