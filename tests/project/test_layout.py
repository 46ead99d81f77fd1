"""The house: how large files and folders may be, what a face does, and whether the map is right."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tools.pictures import arrows

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "course_lib"
FILES = sorted(PACKAGE.rglob("*.py"))
FACES = [path for path in FILES if path.name == "__init__.py"]
# The core is flat, so that who reads the first half of the book finds one idea after the other;
# of the checkers, each belongs to one chapter.
WIDE = {PACKAGE, PACKAGE / "exercises" / "chapters"}
_WALK = re.compile(r"\*\*(?P<title>[^*]+)\*\*.*?\n\n(?P<steps>(?:\d\. .*\n(?:   .*\n)*)+)")
_STEP = re.compile(r"\d\. `(?P<path>[\w/.]+)`(?:: (?P<text>[^\n]*))?")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def handed_on(face: Path) -> set[str]:
    """What stands in `__all__`."""
    for node in tree(face).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def imports(path: Path) -> list[ast.ImportFrom]:
    """All imports of names from files of the package, wherever they stand."""
    return [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course_lib")
    ]


def defined(path: Path) -> set[str]:
    """The names that a Python file defines at its top, and `Class.method`."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_no_folder_holds_more_than_seventeen_files_and_no_file_more_than_400_lines() -> None:
    folders: dict[Path, int] = defaultdict(int)
    for path in FILES:
        folders[path.parent] += 1
    assert {str(f): n for f, n in folders.items() if n > 17 and f not in WIDE} == {}
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {str(path): n for path, n in lines.items() if n > 400} == {}


@pytest.mark.parametrize("face", FACES, ids=dotted)
def test_a_face_defines_nothing_but_what_loads_late(face: Path) -> None:
    body = tree(face).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assert functions <= {"__getattr__", "__dir__"}
    assert not any(isinstance(node, ast.ClassDef) for node in body)


@pytest.mark.parametrize("face", FACES, ids=dotted)
def test_no_file_bears_the_name_of_something_that_its_face_hands_on(face: Path) -> None:
    """The function would hide the file; what the core and parallel hand on are files themselves."""
    files = {path.stem for path in face.parent.glob("*.py")} - {"__init__"}
    if face.parent not in (PACKAGE, PACKAGE / "parallel"):
        assert handed_on(face) & files == set()


def test_inside_a_folder_names_come_from_files_and_outside_from_the_face() -> None:
    faces = {dotted(face): handed_on(face) for face in FACES if face.parent != PACKAGE}
    del faces["course_lib.parallel"]  # it hands on what the strategies and the training define
    wrong = []
    for path in FILES:
        home = dotted(path.parent / "__init__.py")
        for node in imports(path):
            for name in (alias.name for alias in node.names):
                inside = node.module == home and path.name != "__init__.py" and home in faces
                folder = str(node.module).rpartition(".")[0]
                past = folder in faces and not home.startswith(folder) and name in faces[folder]
                if (inside and name in faces[home]) or past:
                    wrong.append(f"{path.relative_to(ROOT)}: from {node.module} import {name}")
    assert wrong == []


def test_the_picture_of_the_arrows_is_current() -> None:
    """After a change: make arrows."""
    there = (ROOT / arrows.PICTURE).read_text(encoding="utf-8")
    assert there == arrows.picture(ROOT)


WALKS = {
    match["title"]: [(step["path"], step["text"] or "") for step in _STEP.finditer(match["steps"])]
    for match in _WALK.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
}


def test_there_are_six_walks_of_at_most_six_files() -> None:
    assert len(WALKS) == 6
    assert {title: len(steps) for title, steps in WALKS.items() if not 3 <= len(steps) <= 6} == {}
    assert len(WALKS["How to add a layer"]) == 3


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_names_what_is_there(title: str) -> None:
    for path, text in WALKS[title]:
        assert (ROOT / path).is_file(), path
        if path.endswith(".py"):
            names = {n for n in re.findall(r"`([\w.]+)`", text) if "/" not in n}
            assert names <= defined(ROOT / path), f"{path} does not define {names}"


@pytest.mark.parametrize("title", [title for title in WALKS if not title.startswith("How")])
def test_each_further_file_of_a_walk_uses_another_one_or_is_used_by_it(title: str) -> None:
    """Directly, or through the face of its folder."""
    paths = [ROOT / path for path, _ in WALKS[title]]
    for path in paths[1:]:
        others = [other for other in paths if other != path]
        assert any(_uses(path, other) or _uses(other, path) for other in others), path


def _uses(user: Path, used: Path) -> bool:
    names = defined(used)
    for node in imports(user):
        through = str(node.module) in (dotted(used), dotted(used.parent / "__init__.py"))
        if through and names & {alias.name for alias in node.names}:
            return True
    return False
