"""What holds for the package as a whole: quick to import, complete, documented, picklable."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import course_lib
from tools.pages import api as api_pages

_HEAVY = {"torch", "dask", "distributed", "matplotlib", "sklearn", "pandas", "scipy"}


def _fresh(code: str, root: Path) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


_ROOT = Path(__file__).resolve().parents[2]


def _documented() -> list[tuple[str, Any]]:
    """The public classes and functions of all files, where they are defined."""
    return [
        (f"{name}.{key}", value)
        for name in api_pages.modules(_ROOT / "course_lib")
        for key, value in vars(importlib.import_module(name)).items()
        if not key.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    ]


@pytest.mark.parametrize("module", ["course_lib", "course_lib.parallel"])
def test_import_loads_nothing_larger_than_numpy(module: str, root: Path) -> None:
    """The large libraries are loaded where they are first used."""
    loaded = json.loads(
        _fresh(f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))", root)
    )
    assert {name.partition(".")[0] for name in loaded} & _HEAVY == set()


def test_import_takes_less_than_50_ms_beyond_numpy(root: Path) -> None:
    """Processor time, best of five: a busy machine only makes a run slower, never faster.

    On a machine so slow that NumPy alone takes long, three quarters of that time.
    """
    code = (
        "import time; t = [time.process_time()]; import numpy.random; t += [time.process_time()];"
        "import course_lib; t += [time.process_time()]; print(t[1] - t[0], t[2] - t[1])"
    )
    runs = [[float(x) for x in _fresh(code, root).split()] for _ in range(5)]
    numpy_time, own_time = (min(column) for column in zip(*runs, strict=True))
    assert own_time < max(0.05, 0.75 * numpy_time)


def test_every_public_name_resolves() -> None:
    """Also those that are loaded on first use."""
    assert len(course_lib.__all__) == len(set(course_lib.__all__))
    for name in course_lib.__all__:
        assert getattr(course_lib, name) is not None


def test_in_a_new_process_each_name_is_there_when_it_is_first_asked_for(root: Path) -> None:
    """Here they may be there because somebody has imported the file."""
    script = (
        "import importlib, sys\n"
        "for face in map(importlib.import_module, sys.argv[1:]):\n"
        "    print(*(n for n in getattr(face, '__all__', ()) if getattr(face, n) is None))\n"
    )
    faces = [path.parent.relative_to(root) for path in (root / "course_lib").rglob("__init__.py")]
    lazy = [f for f in faces if "__getattr__" in (root / f / "__init__.py").read_text("utf-8")]
    names = sorted((".".join(face.parts) for face in lazy), key=len)
    command = [sys.executable, "-c", script, *names]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr[-2000:]
    assert len(names) >= 5


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy loading must not change what a misspelt name does."""
    with pytest.raises(AttributeError, match="has no attribute 'optimisers'"):
        _ = course_lib.optimisers  # type: ignore[attr-defined]


def test_dir_lists_the_lazy_names() -> None:
    """Completion in a notebook offers them before they are loaded."""
    assert set(course_lib.__all__) <= set(dir(course_lib))


def test_the_version_is_the_same_everywhere(root: Path) -> None:
    """Package, metadata, change log and citation."""
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert course_lib.__version__ == version
    changes = re.findall(r"^## (\d\S*)", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert changes[0] == version
    cited = re.findall(r"^version: (\S+)", (root / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited == [version]


@pytest.mark.parametrize(("name", "value"), [pytest.param(*x, id=x[0]) for x in _documented()])
def test_public_things_have_docstrings(name: str, value: Any) -> None:
    """One line that says what it is; the examples are run by the doctest collector."""
    docstring = inspect.getdoc(value) or ""
    assert re.match(r"[^\n]+[.:]?(\n\n|\Z)", docstring), f"{name} has no opening line"


@pytest.mark.parametrize("name", course_lib.__all__)
def test_what_users_import_shows_an_example(name: str) -> None:
    """A class or function at the top level shows its use."""
    value = getattr(course_lib, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert ">>> " in (inspect.getdoc(value) or "")


def test_the_api_pages_are_those_of_the_files(root: Path) -> None:
    """If not, run ``make api``."""
    wanted = api_pages.pages(root / "course_lib")
    there = {p.relative_to(root) for p in (root / api_pages.REFERENCE / "api").glob("*.md")}
    assert there | {api_pages.REFERENCE / "api.md"} == set(wanted)
    assert [p for p, text in wanted.items() if (root / p).read_text("utf-8") != text] == []


def _network(**options: Any) -> Any:
    return course_lib.mlp((7, 6, 3), **options)


@pytest.mark.parametrize(
    "thing",
    [
        *course_lib.activations.ALL.values(),
        *course_lib.losses.ALL.values(),
        course_lib.SGD(lr=0.1, momentum=0.9),
        course_lib.Nesterov(lr=0.1),
        course_lib.AdaGrad(lr=0.1),
        course_lib.RMSProp(lr=0.1),
        course_lib.Adam(lr=course_lib.schedules.cosine(0.1, 10)),
        course_lib.AdamW(lr=course_lib.schedules.warmup(course_lib.schedules.constant(0.1), 3)),
        course_lib.EarlyStopping(patience=2),
        _network(hidden="tanh", weights="glorot_uniform", dropout=0.5),
    ],
    ids=lambda thing: getattr(thing, "name", type(thing).__name__),
)
def test_nouns_survive_plain_pickle(thing: Any) -> None:
    """They are sent to other processes; equal before and after."""
    assert pickle.loads(pickle.dumps(thing)) == thing


def test_a_pickled_network_computes_the_same_bits() -> None:
    """Equality of the description is not yet equality of what it does."""
    network = _network()
    theta = network.init(np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 7))
    y = np.array([0, 1, 2, 1, 0])
    loss, gradient = network.loss_and_grad(theta, x, y)
    again, same = pickle.loads(pickle.dumps(network)).loss_and_grad(theta, x, y)
    assert loss == again
    assert np.array_equal(gradient, same)
