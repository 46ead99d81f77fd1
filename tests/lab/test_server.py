"""What the server of `make lab` needs to agree on with its scripts, and where it listens."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from course_lib.exercises import progress
from tests.book.book_files import BOOK, chapters, markdown
from tools.lab import server

EXTENSION = server.HERE / "extension" / "course-lab"


def test_a_port_that_is_taken_is_passed_over() -> None:
    """The next one is free or taken too; the one found is free, and the first such."""
    with socket.create_server((server.ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
        found = server.free_port(port)
        assert found > port
        with socket.create_server((server.ADDRESS, found)):
            assert server.free_port(port) > found


def test_a_free_port_is_taken_as_it_is() -> None:
    with socket.create_server((server.ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
    assert server.free_port(port) == port


def test_both_scripts_call_the_tabs_the_same() -> None:
    """Each opens the other's tab by its name."""
    names = [
        re.search(r"const \[LAB, BOOK\] = (.*?);", path.read_text("utf-8"))
        for path in (server.HERE / "page.js", EXTENSION / "static" / "main.js")
    ]
    assert names[0] and names[1] and names[0][1] == names[1][1]


def test_the_book_has_the_file_that_the_server_answers_for(root: Path) -> None:
    """It says so, and does nothing."""
    lines = (root / "book" / "_static" / "lab.js").read_text("utf-8").splitlines()
    assert all(line.startswith("//") for line in lines)
    assert "tools/lab/page.js" in "".join(lines)


def test_a_solved_exercise_is_known_by_its_anchor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page has it: the label of each exercise is written there by hand."""
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path))
    for name in ("neurons.gate", "gradient_checking.diagnose"):
        progress.remember(name)
    labels = re.findall(
        r"^\((ex-[\w-]+)\)=",
        "\n".join(markdown(BOOK / f"chapters/{stem}.ipynb") for stem in chapters()),
        re.MULTILINE,
    )
    assert server.solved() == ["ex-gradient-checking-diagnose", "ex-neurons-gate"]
    assert set(server.solved()) <= set(labels)
