"""What is solved is remembered where a notebook asks for it, on this machine, and nowhere else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from course_lib import exercises
from course_lib.activations import elu
from course_lib.cli import main
from course_lib.exercises import exercise, progress
from course_lib.exercises.progress import VARIABLE, keep_progress, remember, show_progress, solved
from tests.patience import patient

from .pages import BOOK


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun."""
    monkeypatch.setattr(exercise, "_LISTENERS", [])
    monkeypatch.setattr(exercise, "_LAST", {})
    monkeypatch.setattr(progress, "_CHAPTERS", set())
    monkeypatch.setattr(progress, "_FAILURES", [])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the entries, which is not there yet."""
    path = tmp_path / "deep" / "solved"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def _solve(answer: Any = elu) -> exercises.Verdict:
    return exercises.check("activations.elu", lambda z, alpha=1.0: answer(z, alpha))


def _right(z: Any, alpha: float) -> Any:
    return elu(z) if alpha == 1 else (z > 0) * z + alpha * (elu(z) - (z > 0) * z)


def test_nothing_is_written_where_nobody_asks(place: Path) -> None:
    """As on a page with solutions, whose checks pass."""
    assert _solve(_right)
    assert not place.exists() and solved() == frozenset()


def test_what_passes_after_a_notebook_has_asked_is_remembered(place: Path) -> None:
    """With its name and the day, in a file that anybody can read; a wrong answer is not."""
    keep_progress("activations")
    assert not _solve(lambda z, alpha: 2 * z)
    assert not exercises.check("activations.elu", ...)
    assert not place.exists()
    days = [time.strftime("%Y-%m-%d")]
    assert _solve(_right)
    days.append(time.strftime("%Y-%m-%d"))  # it may be midnight in between
    assert solved() == {"activations.elu"}
    (file,) = place.iterdir()
    kept = json.loads(file.read_text("utf-8"))
    assert kept["name"] == "activations.elu" and kept["date"] in days


def test_only_the_chapter_that_was_asked_for_is_remembered(place: Path) -> None:
    keep_progress("neurons")
    assert _solve(_right)
    assert solved() == frozenset()


def test_a_later_mistake_and_a_later_day_change_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Solved is solved, since the first time."""

    class Tomorrow(progress.date):
        @classmethod
        def today(cls) -> Tomorrow:
            return cls(2999, 1, 1)

    keep_progress("activations")
    assert _solve(_right)
    before = [file.read_bytes() for file in place.iterdir()]
    monkeypatch.setattr(progress, "date", Tomorrow)
    assert _solve(_right) and not _solve(lambda z, alpha: 2 * z)
    assert [file.read_bytes() for file in place.iterdir()] == before


@pytest.mark.parametrize("off", ["", "off", "OFF", " off "])
def test_switched_off_nothing_is_read_or_written(
    off: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the folder that would be taken otherwise, nor in one called "off"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv(VARIABLE)
    remember("activations.elu")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv(VARIABLE, off)
    keep_progress("activations")
    assert _solve(_right)
    remember("neurons.line")
    assert solved() == frozenset() and progress.forget() == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {}, "HOME/.local/share"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data"),
        ("linux", {"XDG_DATA_HOME": "not/absolute"}, "HOME/.local/share"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "HOME/Library/Application Support"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {}, "HOME/AppData/Local"),
    ],
)
def test_each_system_has_its_own_folder_for_data(
    system: str,
    variables: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (VARIABLE, "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert progress.folder() == Path(expected.replace("HOME", str(tmp_path)), "course_lib/solved")


def test_without_a_home_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for some users of containers; checks go on."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    keep_progress("activations")
    assert _solve(_right)
    assert progress.folder() is None and solved() == frozenset()


_WRITER = """
import sys, time
from pathlib import Path
from course_lib.exercises.progress import remember
start, names = Path(sys.argv[1]), sys.argv[2:]
from course_lib import exercises
exercises.names()
print("ready", flush=True)
while not start.exists():
    pass
for name in names:
    remember(name)
"""


def test_of_many_notebooks_that_write_at_once_none_loses_an_entry(
    place: Path, tmp_path: Path, root: Path
) -> None:
    """Four processes with a quarter of all names each, and one name that all of them write."""
    names, start = exercises.names(), tmp_path / "start"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(start), names[0], *names[i::4]],
            cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    start.touch()
    for writer in writers:
        assert writer.communicate(timeout=patient(60))[1] == "" and writer.returncode == 0
    assert solved() == set(names)
    assert sorted(file.name for file in place.iterdir()) == sorted(f"{n}.json" for n in names)


def test_an_entry_that_cannot_be_written_whole_is_not_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full while the file is forced to it: no part of it stays, the check goes on."""

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keep_progress("activations")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        remember("neurons.line")
    assert _solve(_right)
    assert list(place.iterdir()) == []
    show_progress("activations")
    heard = capsys.readouterr()
    assert heard.out.splitlines()[-2].startswith("Solved in this chapter: 1 of 4.")
    assert "not be remembered for the next time: " in heard.out.splitlines()[-1]
    assert "No space left on device" in heard.out.splitlines()[-1]
    assert heard.err == ""


@pytest.mark.parametrize("content", ["", "{", '{"name": "neurons.line"}', "[" * 100_000, "3", "\0"])
def test_a_broken_entry_counts_as_none_and_is_written_again(place: Path, content: str) -> None:
    """Whatever a crash, a disk or a person has left there."""
    place.mkdir(parents=True)
    (place / "activations.elu.json").write_text(content, "utf-8")
    keep_progress("activations")
    assert solved() == frozenset()
    assert _solve(_right)
    assert solved() == {"activations.elu"}


@pytest.mark.parametrize("where", ["", "below"])
def test_a_folder_that_cannot_be_one_breaks_no_check(
    where: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a file in its place; the sentence goes away when the cause does."""
    place.parent.mkdir()
    place.write_text("a file")
    monkeypatch.setenv(VARIABLE, str(place / where))
    keep_progress("activations")
    assert _solve(_right)
    assert solved() == frozenset() and progress.forget() == 0
    show_progress("activations")
    assert "could not be remembered" in capsys.readouterr().out
    place.unlink()
    assert _solve(_right)
    show_progress("activations")
    assert "could not be remembered" not in capsys.readouterr().out
    assert solved() == {"activations.elu"}


def test_forgetting_deletes_entries_and_nothing_else(place: Path) -> None:
    """Also broken ones, and what an interrupted write has left; a folder that is empty goes too."""
    remember("activations.elu")
    remember("neurons.line")
    (place / "neurons.gate.json").write_text("broken")
    (place / f".neurons.gate.json-{'0' * 16}").write_text("a part")
    kept = ["notes.txt", "my.data.json", "tsconfig.json", ".neurons.gate.json-mine"]
    for name in kept:
        (place / name).write_text("{}")
    assert progress.forget() == 3
    assert sorted(file.name for file in place.iterdir()) == sorted(kept)
    assert solved() == frozenset()
    for name in kept:
        (place / name).unlink()
    remember("activations.elu")
    assert progress.forget() == 1
    assert not place.exists() and place.parent.is_dir()


def test_names_that_are_none_are_refused(place: Path) -> None:
    """A mistyped name is a mistake of the page; a file for it would never be counted."""
    with pytest.raises(ValueError, match=r"unknown exercise 'activations\.ellu'"):
        remember("activations.ellu")
    for function in (keep_progress, show_progress):
        with pytest.raises(ValueError, match="unknown chapter 'neuron'; the closest are neurons"):
            function("neuron")
    assert not place.exists()


def _shown(chapter: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    show_progress(chapter)
    return capsys.readouterr().out


def test_the_line_says_how_many_and_which_is_next(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next is the first on the page that is left, so an easy one before a hard one."""
    page = json.loads((BOOK / "chapters" / "activations.ipynb").read_text("utf-8"))["cells"]
    order = [c["metadata"]["exercise"] for c in page if "exercise" in c["metadata"]]
    for i, name in enumerate(order):
        task = exercises.find(name)
        assert _shown("activations", capsys) == (
            f"Solved in this chapter: {i} of 4. "
            f"Next: {name} ({task.level}, {task.minutes} minutes).\n"
        )
        remember(name)
    assert _shown("activations", capsys) == "Solved in this chapter: 4 of 4. That is all of them.\n"
    assert _shown("losses", capsys).startswith("Solved in this chapter: 0 of 4. Next: losses.")


def test_the_line_is_right_without_a_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """Switched off, it counts what has passed in this process."""
    first = _shown("activations", capsys)
    assert first.startswith("Solved in this chapter: 0 of 4.")
    assert _solve(_right)
    assert _shown("activations", capsys).startswith("Solved in this chapter: 1 of 4.")


def test_no_page_of_the_book_asks() -> None:
    """Chapters and solutions are run to build the book; only copies for learners ask."""
    pages = [*(BOOK / "chapters").glob("*.ipynb"), *(BOOK / "solutions").glob("*.ipynb")]
    assert len(pages) > 60
    assert [page.name for page in pages if "keep_progress(" in page.read_text("utf-8")] == []


def test_grading_remembers_nothing(place: Path, tmp_path: Path) -> None:
    """Though the notebook of a learner asks, and its answer is right."""
    pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    from course_lib.exercises.grade import grade

    sources = [
        "from course_lib import exercises\nexercises.keep_progress('activations')",
        "import numpy as np\nexercises.check('activations.elu', lambda z, alpha=1.0: "
        "np.where(z > 0, z, alpha * np.expm1(z)))",
        "exercises.show_progress('activations')",
    ]
    new = nbformat.v4
    path = tmp_path / "mine.ipynb"
    nbformat.write(new.new_notebook(cells=[new.new_code_cell(s) for s in sources]), path)
    found = grade(path)
    assert (found.total, found.errors) == (1, ())
    assert not place.exists()


def test_the_command_lists_chapters_and_forgets(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mark for each exercise in the order of the page, the sum, and where it is kept."""
    remember("activations.elu")
    remember("losses.shapes")
    assert main(["progress"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line.split()[0]: line.split()[1:] for line in lines}
    assert table["activations"] == ["1", "of", "4", "x..."]
    assert table["losses"][:3] == ["1", "of", "4"] and table["losses"][3].count("x") == 1
    assert table["weights"] == ["0", "of", "4", "...."]
    assert table["all"] == ["2", "of", str(len(exercises.names()))]
    assert str(place) in lines[-1] and "--forget" in lines[-1]
    assert len(lines) == len({name.partition(".")[0] for name in exercises.names()}) + 2
    assert main(["progress", "--forget"]) == 0
    assert capsys.readouterr().out == "Forgotten: 2 solved exercises.\n"
    assert not place.exists()


def test_the_command_says_if_it_is_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["progress"]) == 0
    assert f"{VARIABLE} is off" in capsys.readouterr().out
