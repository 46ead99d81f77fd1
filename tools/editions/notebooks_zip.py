"""Packs the notebooks into one ZIP, with the package and the files that they read.

To be run with `make notebooks-zip`. Unpacked, the folders lie as in the project, so a notebook
finds the package beside it: its first cell installs it from there. Same files, same ZIP.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "book" / "_build" / "course-notebooks.zip"
FOLDER = "course"

# What runs, what it is installed from, and what single notebooks read.
_WANTED = (
    "book/chapters/*.ipynb",
    "book/solutions/*.ipynb",
    "book/reference/faq.ipynb",
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
    .venv/bin/jupyter lab book/chapters

On Linux, pip may choose the CUDA build of PyTorch, which is several GB; PyTorch's installation page
says how to get the build for the CPU, which is enough.
"""


def files(root: Path) -> list[Path]:
    """Return what is packed, as paths from the project's folder."""
    found = {path for pattern in _WANTED for path in root.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(root) for path in found)


def write(root: Path, target: Path) -> None:
    """Pack; every file has the same date, so that the ZIP depends on the contents only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{FOLDER}/START.txt"), _START)
        for path in files(root):
            info = zipfile.ZipInfo(f"{FOLDER}/{path.as_posix()}")
            archive.writestr(info, (root / path).read_bytes(), zipfile.ZIP_DEFLATED)


def main() -> None:
    """Write the ZIP and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    target = parser.parse_args().out
    write(ROOT, target)
    print(target)


if __name__ == "__main__":
    main()
