"""Every exercise has typical wrong answers, and each of them gets the verdict that is its key."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

import pytest

from course_lib import exercises

from . import wrong

NAMES = exercises.names()
CHAPTERS = sorted({name.partition(".")[0] for name in NAMES})


def _wrong(chapter: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the wrong answers of a chapter; only now, as one of them needs PyTorch."""
    found: Mapping[str, Mapping[str, Any]]
    found = importlib.import_module(f"{wrong.__name__}.{chapter}").WRONG
    return found


def test_there_is_a_file_of_wrong_answers_for_each_chapter() -> None:
    """And none whose answers nobody would ask for."""
    assert [file.name for file in pkgutil.iter_modules(wrong.__path__)] == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_file_has_the_exercises_of_its_chapter(chapter: str) -> None:
    """All of them, and no others."""
    assert set(_wrong(chapter)) == {n for n in NAMES if n.partition(".")[0] == chapter}


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_are_told_apart(name: str) -> None:
    """At least two, each by the name of its mistake and a hint of its own, whatever chance does."""
    found, answers = exercises.find(name), _wrong(name.partition(".")[0])[name]
    verdicts = {key: found.judge(answer) for key, answer in answers.items()}
    assert {key: verdict.mistake for key, verdict in verdicts.items()} == {k: k for k in answers}
    assert not {"not-yet", "not-understood"} & set(answers)
    hints = {verdict.hint.strip() for verdict in verdicts.values()}
    assert len(hints) == len(answers) >= 2
    assert "" not in hints
    assert {key: found.judge(answer) for key, answer in answers.items()} == verdicts
