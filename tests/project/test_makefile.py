"""What `make` says on a machine where something is missing."""

from __future__ import annotations

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
