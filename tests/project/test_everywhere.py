"""What holds everywhere in the package: of classes, and of the faces of folders."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
from pathlib import Path

import pytest

import course_lib

# Those that count, or fill up while something runs.
CHANGE = {"Counters", "_Bracket", "_Run"}


def dataclasses_of(name):
    module = importlib.import_module(name)
    own = (thing for thing in vars(module).values() if dataclasses.is_dataclass(thing))
    return {thing for thing in own if isinstance(thing, type) and thing.__module__ == name}


NAMES = [m.name for m in pkgutil.walk_packages(course_lib.__path__, "course_lib.")]


@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith("__main__")])
def test_dataclasses_are_frozen(name):
    loose = {t.__name__ for t in dataclasses_of(name) if not t.__dataclass_params__.frozen}
    assert loose <= CHANGE


def classes_to_derive_from():
    """Each class that derives from ABC: its file, its name, and its methods with a doc alone."""
    for path in sorted(Path(course_lib.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and "ABC" in [ast.unparse(b) for b in node.bases]:
                methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                yield path, node.name, {m.name for m in methods if _empty(m)}


def _empty(method):
    return len(method.body) == 1 and ast.get_docstring(method) is not None


@pytest.mark.parametrize(("path", "name", "empty"), list(classes_to_derive_from()))
def test_who_derives_must_write_what_is_empty(path, name, empty):
    relative = path.relative_to(Path(course_lib.__path__[0]).parent).with_suffix("")
    found = getattr(importlib.import_module(".".join(relative.parts)), name)
    assert found.__abstractmethods__ == empty


FACES = [
    name for name in ("course_lib", *NAMES) if hasattr(importlib.import_module(name), "__path__")
]


@pytest.mark.parametrize("name", FACES)
def test_a_face_hands_on_what_it_lists_and_knows_what_it_does_not(name):
    face = importlib.import_module(name)
    listed = getattr(face, "__all__", ())
    missing = [wanted for wanted in listed if getattr(face, wanted, None) is None]
    assert missing == []
    assert "__dir__" not in vars(face) or set(listed) <= set(dir(face))
    with pytest.raises(AttributeError, match=f"{name}.* has no attribute 'nobody'"):
        getattr(face, "nobody")  # noqa: B009
