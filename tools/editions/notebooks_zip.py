"""Packs the learner's notebooks into one ZIP, with the package and the files that they read.

To be run with `make notebooks-zip`. Unpacked, the folders lie as in the project, so that a notebook
finds what it reads. Same files, same ZIP.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

from tools.book_source import ROOT
from tools.notebooks import learner

TARGET = ROOT / "book" / "_build" / "course-notebooks.zip"
FOLDER = "course"

# What the notebooks are installed from, and what single ones read.
_WANTED = (
    "course_lib/**/*.py",
    "course_lib/py.typed",
    "benchmarks/results/*.json",
    "examples/clusters/*",
    "tests/project/test_mutants.py",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE*",
    "CITATION.cff",
)
_START = """Notebooks of the course
=======================

Python 3.11 or newer. In this folder:

    python -m venv .venv
    .venv/bin/pip install -c constraints.txt ".[notebooks,lab]"     (Windows: .venv\\Scripts\\pip)
    .venv/bin/jupyter trust notebooks/*.ipynb notebooks/*/*.ipynb
    .venv/bin/jupyter lab notebooks/START_HERE.ipynb

The line before the last lets JupyterLab show the figures before their cells are run.

On Linux, pip may choose the CUDA build of PyTorch, which is several GB; PyTorch's installation page
says how to get the build for the CPU, which is enough.
"""


def files(root: Path) -> list[Path]:
    """Return what is packed, as paths from the project's folder."""
    found = {path for pattern in _WANTED for path in root.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(root) for path in found)


def write(root: Path, target: Path, built: Path = learner.BUILT) -> None:
    """Pack; every file has the same date, so that the ZIP depends on the contents only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{FOLDER}/START.txt"), _START)
        packed = {f"notebooks/{path}": Path(folder, path) for path in _notebooks(folder, built)}
        packed |= {path.as_posix(): root / path for path in files(root)}
        for name, path in sorted(packed.items()):
            info = zipfile.ZipInfo(f"{FOLDER}/{name}")
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _notebooks(folder: str, built: Path) -> list[str]:
    return [path.as_posix() for path in learner.write(Path(folder), "web", built)]


def main() -> None:
    """Write the ZIP and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    target = parser.parse_args().out
    write(ROOT, target)
    print(target)


if __name__ == "__main__":
    main()
