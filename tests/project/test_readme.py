"""What the README promises on its first screen."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    """The text of the README."""
    return (root / "README.md").read_text("utf-8")


def test_its_code_runs_and_prints_what_it_says(readme: str, root: Path) -> None:
    """The one Python block, in a fresh interpreter; the comment on its last line is the output."""
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (promised,) = re.findall(r"# (\S+)\n\Z", code)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == promised


def test_its_make_commands_exist(readme: str, root: Path) -> None:
    """Each ``make name`` in the README is a target."""
    makefile = (root / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert set(re.findall(r"(?m)(?:^|`)make ([a-z-]+)", readme)) <= targets


def test_its_links_lead_to_files(readme: str, root: Path) -> None:
    """Pictures and links to files of the project."""
    links = re.findall(r"\]\(([^):]+)\)", readme)
    assert links
    assert [link for link in links if not (root / link).is_file()] == []


def test_its_extras_are_those_of_the_package(readme: str, root: Path) -> None:
    """The table lists every extra, in order."""
    table = readme[readme.index("| extra |") :].split("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    block = (root / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1]
    assert listed == re.findall(r"^(\w+) = \[", block.split("\n[")[0], re.MULTILINE)
