"""What is installed is enough: the wheel alone, and each extra for what its name says."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.notebooks.without_glue import without_glue

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


@cache
def _needs(line: str) -> frozenset[str]:
    """Return the distributions that a requirement brings, those behind it included."""
    found, waiting = set(), [Requirement(line)]
    while waiting:
        one = waiting.pop()
        key = f"{canonicalize_name(one.name)}{sorted(one.extras)}"
        if key in found:
            continue
        found.add(key)
        try:
            lines = metadata.requires(one.name) or []
        except metadata.PackageNotFoundError:
            continue
        for extra in ("", *one.extras):
            next_ones = (Requirement(text) for text in lines)
            waiting += [r for r in next_ones if not r.marker or r.marker.evaluate({"extra": extra})]
    return frozenset(key.partition("[")[0] for key in found)


def _brings(*extras: str) -> set[str]:
    """Return the distributions that the package brings with these extras."""
    found = set().union(*map(_needs, PROJECT["dependencies"]))
    for line in (line for extra in extras for line in EXTRAS[extra]):
        own = Requirement(line)
        found |= _brings(*own.extras) if own.name == PROJECT["name"] else _needs(line)
    return found


def _missing(modules: set[str], *extras: str) -> set[str]:
    """Return the modules that neither Python nor the package with these extras has."""
    owners, there = metadata.packages_distributions(), _brings(*extras)
    return {
        module
        for module in modules - set(sys.stdlib_module_names) - {"course_lib", "__future__"}
        if not {canonicalize_name(name) for name in owners.get(module, ())} & there
    }


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("extra", "has", "has_not"),
    [
        ("data", "scikit-learn", "torch dask matplotlib"),
        ("plot", "matplotlib", "torch dask scikit-learn"),
        ("parallel", "dask distributed cryptography", "torch scikit-learn jupyterlab"),
        ("torch", "torch", "dask scikit-learn jupyterlab"),
        ("onnx", "onnx onnxscript torch", "dask scikit-learn"),
        ("book", "jupyter-book sphinx numpydoc myst-nb", "torch dask scikit-learn jupyterlab"),
        ("lab", "jupyterlab jupytext nbclient nbformat ipykernel", "torch dask sphinx"),
        ("test", "pytest nbval ruff mypy selenium", "torch dask jupyterlab"),
        ("notebooks", "torch dask scikit-learn matplotlib", "jupyterlab jupyter-book myst-nb"),
    ],
)
def test_an_extra_brings_what_it_is_named_after_and_no_more(
    extra: str, has: str, has_not: str
) -> None:
    """Down to what the packages need themselves."""
    there = _brings(extra)
    assert set(has.split()) <= there
    assert set(has_not.split()) & there == set()


def test_all_is_all() -> None:
    """An extra that is added to the file is added to it."""
    assert {e for line in EXTRAS["all"] for e in Requirement(line).extras} == set(EXTRAS) - {"all"}


def test_what_the_notebooks_import_comes_with_the_extra_notebooks() -> None:
    """Those of the learner: what hands values to the text of the book is taken out of them."""
    modules = set()
    for path in (ROOT / "book").rglob("*.ipynb"):
        if not any(part.startswith(("_", ".")) for part in path.relative_to(ROOT / "book").parts):
            cells = json.loads(path.read_text("utf-8"))["cells"]
            for cell in cells:
                if cell["cell_type"] == "code":
                    modules |= _imports(without_glue("".join(cell["source"])))
    assert {"torch", "numpy"} <= modules
    assert _missing(modules - {"IPython"}, "notebooks") == set()


def test_what_the_package_imports_comes_with_its_extras() -> None:
    """With those that a user of the package would install; ``course-lib grade`` needs lab."""
    modules = set()
    for path in (ROOT / "course_lib").rglob("*.py"):
        modules |= _imports(path.read_text("utf-8"))
    assert _missing(modules, "data", "plot", "parallel", "onnx", "lab") == set()


def test_what_the_book_is_built_with_comes_with_the_extra_book() -> None:
    """The extensions in its settings, and what its own one imports."""
    config = yaml.safe_load((ROOT / "book" / "_config.yml").read_text("utf-8"))
    own = set(config["sphinx"]["local_extensions"])
    names = set(config["sphinx"]["config"]["extensions"]) - own
    modules = {name.replace("-", "_").partition(".")[0] for name in names}
    modules -= {"sphinxcontrib", "sphinx_mathjax_offline"}  # they share a name, or have another
    for path in (ROOT / "book" / "_ext").rglob("*.py"):
        modules |= _imports(path.read_text("utf-8"))
    assert {"docutils", "PIL"} <= modules
    assert _missing(modules, "book") == set()
    assert {"sphinxcontrib-bibtex", "sphinx-mathjax-offline"} <= _brings("book")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the project, unpacked; it is built without a network."""
    builder = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Every file, the marker for type checkers, the licence and the command; no tests."""
    there = {p.relative_to(wheel).as_posix() for p in wheel.rglob("*") if p.is_file()}
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "course_lib").rglob("*.py")}
    assert {name for name in there if ".dist-info/" not in name} == {*files, "course_lib/py.typed"}
    (info,) = wheel.glob("*.dist-info")
    assert "course-lib = course_lib.cli:main" in (info / "entry_points.txt").read_text("utf-8")
    assert (info / "licenses" / "LICENSE").is_file()
    named = re.findall(r"^Provides-Extra: (\S+)", (info / "METADATA").read_text("utf-8"), re.M)
    assert set(named) == set(EXTRAS)


def test_the_wheel_runs_without_the_project_beside_it(wheel: Path, tmp_path: Path) -> None:
    """It is imported from where it was unpacked, and its command line answers."""
    code = (
        "import sys, course_lib; from course_lib.cli import main; print(course_lib.__file__);"
        "sys.exit(main(['--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(wheel))
    assert "grade" in done.stdout
