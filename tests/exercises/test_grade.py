"""Grading runs a notebook itself and believes nothing that stands in it or that it prints."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from course_lib import exercises
from course_lib.cli import main
from course_lib.exercises.exercise import last
from course_lib.exercises.grade import _exercises, _Run, _run, grade
from course_lib.exercises.verdict import NOT_YET

from .pages import BOOK, cells

pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

IMPORTS = "import os\nimport numpy as np\nfrom course_lib import exercises"
ELU = """def my_elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(z))

exercises.check("activations.elu", my_elu)"""
FORGETFUL = ELU.replace("alpha * ", "")
ALL = {name for name in exercises.names() if name.startswith("activations.")}


def _notebook(folder: Path, *sources: str) -> Path:
    path = folder / "answers.ipynb"
    new = nbformat.v4
    nbformat.write(new.new_notebook(cells=[new.new_code_cell(s) for s in sources]), path)
    return path


def _part(folder: str, key: str, to: Path) -> Path:
    """Write the imports and the exercises of a page as a notebook of their own: it is quicker."""
    page = [c for c in cells(folder, "activations") if c["cell_type"] == "code"]
    imports = [c for c in page if "from course_lib import" in c["source"]][:1]
    return _notebook(
        to, *(c["source"] for c in imports + [c for c in page if key in c["metadata"]])
    )


def test_a_chapter_without_answers_has_no_points(tmp_path: Path) -> None:
    """All of its exercises are listed, as not yet answered, easy ones first."""
    found = grade(_part("chapters", "exercise", tmp_path))
    assert {mark.name for mark in found.marks} == ALL
    assert found.total == 0
    assert {mark.mistake for mark in found.marks} == {NOT_YET}
    assert [mark.level for mark in found.marks] == ["easy", "medium", "medium", "hard"]
    assert (found.errors, found.stopped) == ((), None)


def test_the_solutions_have_all_points(capsys: pytest.CaptureFixture[str]) -> None:
    """The notebook as it stands in the book; JSON says the same as the table, and more."""
    page = str(BOOK / "solutions" / "activations.ipynb")
    assert main(["grade", page, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["file"], found["total"], found["of"]) == (page, len(ALL), len(ALL))
    for mark in found["marks"]:
        task = exercises.find(mark["name"])
        assert (mark["score"], mark["mistake"]) == (1, None)
        assert (mark["level"], mark["minutes"]) == (task.level, task.minutes)


def test_a_wrong_answer_is_named_and_its_hint_kept(tmp_path: Path) -> None:
    """One right answer, one wrong, and two left out: 1 of 4."""
    right = _part("solutions", "solution", tmp_path)
    source = nbformat.read(right, as_version=4).cells[2].source
    found = grade(_notebook(tmp_path, IMPORTS + "\nfrom course_lib.activations import softmax",
                            FORGETFUL, source))  # fmt: skip
    marks = {mark.name: mark for mark in found.marks}
    assert found.total == 1
    assert marks["activations.elu"].mistake == "alpha-ignored"
    assert "alpha" in marks["activations.elu"].hint
    assert sum(mark.mistake == NOT_YET for mark in found.marks) == 2


def test_the_last_answer_counts(tmp_path: Path) -> None:
    """As it does for who reads the notebook from top to bottom."""
    assert grade(_notebook(tmp_path, IMPORTS, FORGETFUL, ELU)).total == 1
    assert grade(_notebook(tmp_path, IMPORTS, ELU, FORGETFUL)).total == 0


def test_printing_is_no_passing(tmp_path: Path) -> None:
    """Nor is an output from another time, nor a check that was replaced by one's own."""
    path = _notebook(
        tmp_path, IMPORTS, 'print("activations.elu: passed")',
        "class Mine:\n    def check(self, name, answer):\n        print(f'{name}: passed')",
        'exercises = Mine()\nexercises.check("activations.elu", None)',
    )  # fmt: skip
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="activations.elu: passed")]
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert grade(path).total == 0
    assert path.read_bytes() == before


def test_a_cell_that_fails_is_left_behind(tmp_path: Path) -> None:
    """And said; what comes after it is run."""
    found = grade(_notebook(tmp_path, IMPORTS, "1 / 0", ELU))
    assert found.total == 1
    assert found.errors == ("cell 2: ZeroDivisionError: division by zero",)


def test_what_was_checked_before_a_crash_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel is gone: the table is printed, the complaint says where, the exit code is 1."""
    path = _notebook(tmp_path, IMPORTS, ELU, "os._exit(3)", "1 / 0")
    assert main(["grade", str(path)]) == 1
    heard = capsys.readouterr()
    assert heard.out.splitlines()[0] == f"{path}: 1 of {len(ALL)}"
    assert "  stopped: the kernel died in cell 3" in heard.out.splitlines()
    assert "not run to the end" in heard.err and "the kernel died in cell 3" in heard.err


@pytest.mark.parametrize("error", ["DeadKernelError", "TimeoutError"])
def test_it_is_said_in_which_cell_the_run_ended(error: str) -> None:
    """And no later one is started: of five, the third is the last."""
    from nbclient import exceptions

    class Client:
        """Its third cell goes wrong, as that of a kernel that no interrupt can reach."""

        nb = SimpleNamespace(cells=[nbformat.v4.new_code_cell("1")] * 5)
        started: ClassVar[list[int]] = []

        def async_setup_kernel(self, **_: Any) -> Any:
            return contextlib.AsyncExitStack()

        async def async_execute_cell(self, cell: Any, index: int) -> None:
            self.started.append(index)
            if index == 2:
                raise getattr(exceptions, error, TimeoutError)("no answer")

    run = _Run()
    asyncio.run(_run(run, Client(), 0.5, time.monotonic() + 60, {}))
    assert (
        run.stopped
        == {
            "DeadKernelError": "the kernel died in cell 3",
            "TimeoutError": "cell 3 took over 0.5 s and could not be stopped",
        }[error]
    )
    assert (Client.started, run.errors) == ([0, 1, 2], [])


def test_an_exercise_whose_check_is_gone_is_known_by_its_cell(tmp_path: Path) -> None:
    """The chapters name it in the metadata of the cell, which learners do not see."""
    path = _notebook(tmp_path, IMPORTS)
    notebook = nbformat.read(path, as_version=4)
    for key in ("exercise", "solution"):
        notebook.cells[0].metadata = {key: "activations.elu"}
        assert set(_exercises(notebook)) == ALL
    notebook.cells[0].cell_type = "markdown"
    assert _exercises(notebook) == []


def test_a_cell_without_end_is_interrupted(tmp_path: Path) -> None:
    """After the time that a cell may take; the next cells are run."""
    path = _notebook(tmp_path, IMPORTS, "while True:\n    pass", ELU)
    found = grade(path, cell_seconds=3)
    assert found.total == 1
    assert found.stopped is None
    assert [error.split(":")[0] for error in found.errors] == ["cell 2"]


def test_a_notebook_without_end_is_stopped(tmp_path: Path) -> None:
    """No cell is started when the time for all is over."""
    path = _notebook(tmp_path, IMPORTS, ELU, "import time; time.sleep(3)", FORGETFUL)
    found = grade(path, seconds=2.5)
    assert found.stopped == "the 2.5 s for a notebook were over"


def test_one_bad_file_does_not_keep_the_others_from_their_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is listed without marks, and the exit code says that not all went well."""
    good = str(_notebook(tmp_path, IMPORTS, ELU))
    text, empty = tmp_path / "text.ipynb", tmp_path / "empty.ipynb"
    text.write_text("no notebook", encoding="utf-8")
    nbformat.write(nbformat.v4.new_notebook(cells=[]), empty)
    assert main(["grade", str(text), good, str(empty)]) == 1
    heard = capsys.readouterr()
    assert f"{good}: 1 of {len(ALL)}" in heard.out
    assert f"{text}: not a notebook" in heard.err
    assert f"{empty}: no cell checks an exercise" in heard.err


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["gone.ipynb"], "there is no file gone.ipynb"),
        (["gone.ipynb", "--timeout", "0"], "expected seconds above 0 and up to 1e+09, got '0'"),
        ([], "FILE.ipynb"),
    ],
)
def test_what_is_typed_wrong_is_said(
    capsys: pytest.CaptureFixture[str], typed: list[str], sentence: str
) -> None:
    """Exit code 2, as for the other commands."""
    assert main(["grade", *typed]) == 2
    assert sentence in capsys.readouterr().err


def test_without_what_runs_notebooks_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a sentence, with the extra that brings it."""
    path, real = _notebook(tmp_path, IMPORTS, ELU), importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name == "nbclient":
            raise ModuleNotFoundError("No module named 'nbclient'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        ImportError, match=r"nbclient is not installed; pip install 'course-lib\[notebooks,"
    ):
        grade(path)


def test_a_process_remembers_its_last_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    """One for each exercise that was checked."""
    first = exercises.check("activations.elu", None)
    assert first in last()
    second = exercises.check("activations.elu", 1)
    assert second in last() and first not in last()
    assert capsys.readouterr().out
