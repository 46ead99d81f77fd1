"""Every exercise stands in its chapter and has a solution that passes."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import exercises
from course_lib.exercises.exercise import LEVELS

from .pages import CHAPTERS, OnPage, cells, on_page, run

NAMES = exercises.names()


def _stem(name: str) -> str:
    """Return the file of the chapter that an exercise belongs to."""
    return name.partition(".")[0]


@cache
def _there(folder: str, key: str) -> dict[str, OnPage]:
    return {found.name: found for s in CHAPTERS for found in on_page(folder, s, key)}


def _exercise(name: str) -> OnPage:
    return _there("chapters", "exercise")[name]


def _solution(name: str) -> OnPage:
    return _there("solutions", "solution")[name]


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.parametrize("stem", CHAPTERS)
def test_a_chapter_has_three_exercises_from_easy_to_hard(stem: str) -> None:
    """At least one of each level."""
    levels = [exercises.find(found.name).level for found in on_page("chapters", stem, "exercise")]
    assert len(levels) >= 3
    assert set(levels) == set(LEVELS)
    assert levels == sorted(levels, key=LEVELS.index)


def test_there_are_as_many_exercises_as_promised() -> None:
    """Three in each of 31 chapters would be 93."""
    assert len(NAMES) >= 90


@pytest.mark.parametrize("stem", CHAPTERS)
@pytest.mark.parametrize(("folder", "key"), [("chapters", "exercise"), ("solutions", "solution")])
def test_page_and_package_have_the_same_exercises(stem: str, folder: str, key: str) -> None:
    """Each stands once in the book, in the file of its chapter, under its label and its title."""
    found = on_page(folder, stem, key)
    assert sorted(x.name for x in found) == [name for name in NAMES if _stem(name) == stem]
    for x in found:
        prefix = {"exercise": ("ex", "Exercise: "), "solution": ("sol", "")}[key]
        assert x.label == f"{prefix[0]}-{x.name}".replace(".", "-").replace("_", "-")
        assert x.title == prefix[1] + exercises.find(x.name).title


def test_no_exercise_is_without_a_chapter() -> None:
    """The file of a checker is named as its chapter."""
    assert [name for name in NAMES if _stem(name) not in CHAPTERS] == []


def test_no_solution_notebook_is_without_a_chapter() -> None:
    """They have the same names."""
    solutions = Path(__file__).resolve().parents[2] / "book" / "solutions"
    assert {path.stem for path in solutions.glob("*.ipynb")} <= set(CHAPTERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_head_of_an_exercise_says_what_the_checker_says(name: str) -> None:
    """Level and minutes; after the starter a hint, and a way to the solution."""
    expected = exercises.find(name)
    assert _exercise(name).effort == (expected.level, expected.minutes)
    assert "exercise" in _exercise(name).tags
    # The link itself, not a box to be opened that holds nothing else.
    way = f"\n:::\n\n{{ref}}`Solution <{_solution(name).label}>`"
    help_, link, rest = f"{_exercise(name).after}\n".partition(f"{way}\n")
    assert link and not rest.startswith(":::")
    assert ":::{dropdown} Hint\n" in help_


@pytest.mark.parametrize("stem", [s for s in CHAPTERS if on_page("chapters", s, "exercise")])
def test_the_exercises_stand_between_self_test_and_sources(stem: str) -> None:
    """And the page of the solutions names its chapter and leads back to it."""
    text = "\n\n".join(c["source"] for c in cells("chapters", stem) if c["cell_type"] == "markdown")
    heads = ["\n## Check yourself", "\n## Exercises", "\n## Where this comes from"]
    places = [("\n" + text).find(head) for head in heads]
    assert min(places) >= 0 and places == sorted(places)
    title = text.split("\n", 1)[0].removeprefix("# ")
    opening = cells("solutions", stem)[0]["source"]
    assert opening.startswith(f"# Solutions: {title}\n")
    assert f"{{doc}}`../chapters/{stem}`" in opening


@pytest.mark.parametrize("name", NAMES)
def test_the_starter_is_not_yet_an_answer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs after the imports of the chapter alone, and prints what is committed."""
    starter = _exercise(name)
    run(starter.source, "chapters", _stem(name))
    said = _said(capsys)
    assert said.startswith(f"{name}: not yet (")
    assert said == starter.printed


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In 2 s of processor time, and it leaves NumPy's settings and generator as they were."""
    np.random.seed(20)  # not where an earlier test may have left the generator
    before = np.random.get_state()[1].tolist(), np.geterr(), np.get_printoptions()
    start = time.process_time()
    run(_solution(name).source, "solutions", _stem(name))
    assert time.process_time() - start < 4  # with the imports that the cell needs first
    assert f"{name}: passed" in _said(capsys).splitlines()
    assert f"{name}: passed" in _solution(name).printed.splitlines()
    after = np.random.get_state()[1].tolist(), np.geterr(), np.get_printoptions()
    assert after == before


_SILLY: list[Any] = [
    42,
    -1.5,
    "text",
    [],
    {},
    (),
    object(),
    np.zeros(3),
    int,
    lambda *args, **kwargs: "text",
    lambda *args, **kwargs: 42,
    lambda *args, **kwargs: [],
    lambda *args, **kwargs: (1, "a"),
    lambda *args, **kwargs: np.full((2, 3), np.nan),
    lambda *args, **kwargs: 1 / 0,
    lambda: 1,
]


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_of_another_kind_neither_passes_nor_raises(name: str) -> None:
    """Whatever it is; and nothing at all is "not yet"."""
    found = exercises.find(name)
    for answer in _SILLY:
        verdict = found.judge(answer)
        assert not verdict, f"{answer!r} passes"
        assert verdict.hint
    for answer in (None, ..., lambda *args, **kwargs: None):
        assert not found.judge(answer)
    assert found.judge(None).mistake == found.judge(...).mistake == "not-yet"


def test_the_checkers_load_no_large_library_before_they_need_it(root: Path) -> None:
    """Also when all names are listed."""
    code = "import sys; from course_lib import exercises; exercises.names(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    heavy = {"torch", "dask", "distributed", "matplotlib", "sklearn", "pandas", "scipy"}
    assert {name.partition(".")[0] for name in done.stdout.split()} & heavy == set()
