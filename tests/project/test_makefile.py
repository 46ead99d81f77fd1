"""What `make` says on a machine where something is missing, and when it builds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=root, capture_output=True, text=True
    )


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_make_alone_prints_the_commands(root: Path) -> None:
    """And does nothing."""
    done = _make(root)
    assert done.returncode == 0
    for target in ("book", "test", "lab", "notebooks", "serve", "clean"):
        assert f"\n  {target} " in done.stdout


def test_a_missing_python_is_named(root: Path, tmp_path: Path) -> None:
    """Before anything is created."""
    done = _make(root, "book", f"VENV={tmp_path}/venv", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "no program named 'no-such-python'. Install Python 3.11 or newer" in done.stdout
    assert not (tmp_path / "venv").exists()


def test_an_old_python_is_refused(root: Path, tmp_path: Path) -> None:
    """With its version, and with what to type instead."""
    old = _program(tmp_path / "python", '[ "$1" = --version ] && echo Python 3.8.1 || exit 1')
    done = _make(root, "book", f"VENV={tmp_path}/venv", f"PYTHON={old}")
    assert done.returncode != 0
    assert f"'{old}' is Python 3.8.1, but Python 3.11 or newer is needed" in done.stdout
    assert not (tmp_path / "venv").exists()


def test_a_python_without_venv_is_explained(root: Path, tmp_path: Path) -> None:
    """As Debian and Ubuntu ship it."""
    bare = _program(tmp_path / "python", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = _make(root, "book", f"VENV={tmp_path}/venv", f"PYTHON={bare}")
    assert done.returncode != 0
    assert "has no venv module. On Debian and Ubuntu: apt install python3-venv" in done.stdout


@pytest.mark.parametrize(("given", "passed"), [([], ""), (["PORT=9000"], " --port 9000")])
def test_the_lab_has_a_port_of_its_own(root: Path, given: list[str], passed: str) -> None:
    """That of `make serve` is not passed on unless it was asked for."""
    done = _make(root, "-n", "lab", "VENV=/nowhere", *given)
    lines = done.stdout.splitlines()
    assert "/nowhere/bin/python -m tools.lab" + passed in [" ".join(line.split()) for line in lines]


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A project of a few files, in which a build is a line in a list."""
    for name in ("book/index.md", "course_lib/a.py", "tools/b.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("Makefile", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    for name in (".venv/bin", "book/_static", "book/_build"):
        (tmp_path / name).mkdir(parents=True)
    _program(
        tmp_path / ".venv/bin/jupyter-book",
        "echo build >> builds; mkdir -p book/_build/html; touch book/_build/html/index.html; "
        "test ! -e broken",
    )
    for name in (".created", ".installed-book", ".installed-all"):
        (tmp_path / ".venv" / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "builds"),
    [
        ("book/index.md", 2),
        ("book/_static/new.css", 2),
        ("course_lib/a.py", 2),
        ("tools/b.py", 2),
        ("constraints.txt", 2),
        ("README.md", 1),
        ("course_lib/a.pyc", 1),
        ("book/_build/jupyter_execute/a.py", 1),
    ],
)
def test_the_book_is_built_again_if_what_it_is_made_of_has_changed(
    copy: Path, changed: str, builds: int
) -> None:
    """And only then: everything that reads the built book asks for it."""
    for _ in range(2):
        assert "The book: " in _make(copy, "html").stdout
    assert len((copy / "builds").read_text().splitlines()) == 1
    (copy / changed).parent.mkdir(exist_ok=True)
    (copy / changed).touch()
    later = (copy / "book/_build/built").stat().st_mtime + 1
    os.utime(copy / changed, (later, later))
    os.utime(copy / ".venv/.installed-book", (later + 1, later + 1))  # nothing is to be installed
    assert _make(copy, "html").returncode == 0
    assert len((copy / "builds").read_text().splitlines()) == builds


def test_a_build_that_has_failed_does_not_count(copy: Path) -> None:
    """Though it leaves pages."""
    (copy / "broken").touch()
    for _ in range(2):
        done = _make(copy, "html")
        assert done.returncode != 0 and "The book: " not in done.stdout
    (copy / "broken").unlink()
    assert _make(copy, "html").returncode == 0
    assert len((copy / "builds").read_text().splitlines()) == 3
