"""Run the cells of a notebook in a fresh kernel, and ask that kernel what its checks came to.

Chapter: none; :mod:`course_lib.exercises.grade` makes marks of it.
"""

from __future__ import annotations

import importlib
import json
import secrets
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Judged = tuple[bool, str | None, str]

_ASK = """import json, course_lib.exercises.exercise as _exercise
print({token!r}, json.dumps([[v.name, v.passed, v.mistake, v.hint] for v in _exercise.last()]))"""


@dataclass
class Run:
    """What happened in a run.

    Parameters
    ----------
    verdicts : dict
        For each exercise whether the last answer passed, the mistake, the hint.
    errors : list of str
        The cells that failed.
    stopped : str or None
        Why the run ended before the last cell.
    """

    verdicts: dict[str, Judged] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    stopped: str | None = None


def run_cells(notebook: Any, folder: Path, *, cell_seconds: float, seconds: float) -> Run:
    """Run the cells one after the other; a cell that fails or takes too long is left behind.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Its outputs are replaced by those of this run.
    folder : Path
        The working directory.
    cell_seconds, seconds : float
        The limits for a cell and for all.
    """
    run = Run()
    importlib.import_module("nbclient.util").run_sync(_run)(
        run, notebook, folder, cell_seconds, time.monotonic() + seconds
    )
    if run.stopped == "":
        run.stopped = f"the {seconds:g} s for a notebook were over"
    return run


async def _run(run: Run, notebook: Any, folder: Path, cell_seconds: float, end: float) -> None:
    dead = importlib.import_module("nbclient.exceptions").DeadKernelError
    new_cell = importlib.import_module("nbformat").v4.new_code_cell
    cells = list(notebook.cells)
    notebook.cells.append(new_cell())  # the place of the questions that are put to the kernel
    client = _client(notebook, folder, cell_seconds)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # the cells' come back
    async with client.async_setup_kernel(cleanup_kc=True, **quiet):
        for i, cell in enumerate(cells):
            if time.monotonic() > end:
                run.stopped = ""
                return
            try:
                await client.async_execute_cell(cell, i)
                if cell.cell_type == "code" and "check" in cell.source:
                    run.verdicts |= await _ask(client.async_execute_cell, new_cell)
            except dead:
                run.stopped = f"the kernel died in cell {i + 1}"
                return
            except TimeoutError:
                run.stopped = f"cell {i + 1} took over {cell_seconds:g} s and could not be stopped"
                return
            run.errors += [f"cell {i + 1}: {error}" for error in _errors(cell)]


def _client(notebook: Any, folder: Path, cell_seconds: float) -> Any:
    """Return what runs cells in a kernel of this Python."""
    specs = importlib.import_module("jupyter_client.kernelspec").KernelSpecManager()
    specs.kernel_dirs = []  # not a kernel that is installed on the machine under the same name
    manager = importlib.import_module("jupyter_client").AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=specs
    )
    client = importlib.import_module("nbclient").NotebookClient(
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


async def _ask(
    execute: Callable[[Any, int], Awaitable[Any]], new_cell: Callable[[str], Any]
) -> dict[str, Judged]:
    """Return the verdicts so far; the token tells them from what else is printed meanwhile."""
    token = secrets.token_hex(8)
    cell = new_cell(_ASK.format(token=token))
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
