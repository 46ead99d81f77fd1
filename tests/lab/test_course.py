"""The notebooks that `make lab` copies from are written when the book is newer, and only then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.lab.__main__ import course
from tools.notebooks import learner


def _built(folder: Path) -> Path:
    (folder / "mentions.json").write_text("{}", "utf-8")
    return folder


def _writes(monkeypatch: pytest.MonkeyPatch, text: str, before: Path | None = None) -> list[Path]:
    """Let a file stand for all notebooks; another process puts the folder ``before`` first."""
    written: list[Path] = []

    def write(target: Path, edition: str, built: Path) -> None:
        target.mkdir(parents=True)
        (target / "a.ipynb").write_text(text, "utf-8")
        written.append(target)
        if before is not None:
            before.mkdir()
            (before / "a.ipynb").write_text("the other's", "utf-8")

    monkeypatch.setattr(learner, "write", write)
    return written


def test_they_are_written_once_and_again_for_a_newer_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else is left in the folder of the book."""
    built = _built(tmp_path)
    written = _writes(monkeypatch, "first")
    assert course(built) == course(built) == tmp_path / "learner"
    assert len(written) == 1
    os.utime(tmp_path / "learner", (0, 0))
    _writes(monkeypatch, "second")
    assert (course(built) / "a.ipynb").read_text("utf-8") == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learner", "mentions.json"]


def test_of_two_that_start_at_once_the_second_leaves_the_notebooks_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is reading them already."""
    _writes(monkeypatch, "mine", before=tmp_path / "learner")
    assert (course(_built(tmp_path)) / "a.ipynb").read_text("utf-8") == "the other's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learner", "mentions.json"]
