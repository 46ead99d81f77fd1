"""An exercise is a checker with a name: it takes an answer and says what is wrong with it.

The tools that a checker needs are in :mod:`course_lib.exercises.calling` and
:mod:`course_lib.exercises.answers`.

Chapter: none; this file serves the exercises of all chapters.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import json
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from course_lib.atomic import write_bytes
from course_lib.exercises.verdict import NOT_YET, Mistake, Verdict

Checker = Callable[..., None]
Level = Literal["easy", "medium", "hard"]

CHAPTERS = "course_lib.exercises.chapters"  # by its name: the chapters import this file

LEVELS = ("easy", "medium", "hard")
"""The levels, in the order in which they stand in a chapter."""

VERDICTS = "COURSE_LIB_VERDICTS"
"""The environment variable with the folder in which grading finds the last verdicts."""

_EXERCISES: dict[str, Exercise] = {}

_LAST: dict[str, Verdict] = {}

_LISTENERS: list[Callable[[Verdict], None]] = []


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name, what stands at its head in the book, and its checker.

    Parameters
    ----------
    name : str
        The chapter's name, a dot, and a name of its own: ``"activations.elu"``.
    title : str
        Its heading in the book.
    level : str
        ``"easy"``, ``"medium"`` or ``"hard"``.
    minutes : int
        How long it may take a learner who has read the chapter.
    checker : Callable
        Takes the answer and nothing else; returns nothing if it is right, and raises
        :class:`~course_lib.exercises.verdict.Mistake` if it is wrong.

    Examples
    --------
    >>> find("activations.elu").level
    'easy'
    """

    name: str
    title: str
    level: Level
    minutes: int
    checker: Checker

    def judge(self, answer: Any) -> Verdict:
        """Return the verdict on an answer, whatever the answer is; print nothing.

        Examples
        --------
        >>> find("activations.elu").judge("a text").mistake
        'not-a-function'
        """
        if _is_open(answer):
            return Verdict(self.name, False, NOT_YET, "replace each ... by your answer")
        try:
            with np.errstate(all="ignore"):  # whatever the learner has set
                self.checker(answer)
        except Mistake as mistake:
            return Verdict(self.name, False, mistake.name, mistake.hint)
        except Exception as error:
            # A kind of answer that the checker did not think of; a learner gets no traceback.
            hint = f"Your answer cannot be used ({type(error).__name__}: {error})."
            hint += " Compare its kind and its shape with what the task asks for."
            return Verdict(self.name, False, "not-understood", hint)
        return Verdict(self.name, True)


def exercise(
    name: str, title: str, level: Level, minutes: int, cases: Sequence[tuple[Any, ...]] = ((),)
) -> Callable[[Checker], Checker]:
    """Make a function the checker of an :class:`Exercise`; it is returned unchanged.

    The checker gets the answer, and after it the values of a case. An answer has to be right in all
    cases, so that one in which the values of the first are written down is found out.

    Examples
    --------
    >>> exercise("activations.elu", "ELU", "trivial", 5)
    Traceback (most recent call last):
    ...
    ValueError: exercise 'activations.elu' has the level 'trivial'; there are easy, medium, hard
    """
    if level not in LEVELS:
        known = ", ".join(LEVELS)
        raise ValueError(f"exercise {name!r} has the level {level!r}; there are {known}")
    if minutes < 1:
        raise ValueError(f"exercise {name!r} takes {minutes} minutes; write at least 1")

    def register(checker: Checker) -> Checker:
        file = checker.__module__.rpartition(".")[2]
        if name.partition(".")[0] != file or name.count(".") != 1:
            raise ValueError(f"exercise {name!r} stands in {file}.py; name it '{file}.<exercise>'")
        if name in _EXERCISES and _EXERCISES[name].checker.__qualname__ != checker.__qualname__:
            raise ValueError(f"there are two exercises {name!r}; rename one")
        _EXERCISES[name] = Exercise(name, title, level, minutes, _in_all(cases, checker))
        return checker

    return register


def _in_all(cases: Sequence[tuple[Any, ...]], checker: Checker) -> Checker:
    @functools.wraps(checker)
    def check_all(answer: Any) -> None:
        for number, case in enumerate(cases):
            try:
                checker(answer, *case)
            except Mistake as mistake:
                if number == 0 or mistake.name == NOT_YET:
                    raise
                hint = f"Right for the first values, not for others. {mistake.hint}"
                raise Mistake(mistake.name, hint) from mistake

    return check_all


def find(name: str) -> Exercise:
    """Return the exercise of that name.

    Raises
    ------
    ValueError
        If there is none; the message says which name is closest.

    Examples
    --------
    >>> find("activations.elu").title
    'ELU with its alpha'
    >>> find("activations.ellu")
    Traceback (most recent call last):
    ...
    ValueError: unknown exercise 'activations.ellu'; the closest are activations.elu
    """
    file = name.partition(".")[0]
    if file in _files():
        importlib.import_module(f"{CHAPTERS}.{file}")
    if name not in _EXERCISES:
        raise ValueError(f"unknown exercise {name!r}; {_closest(name, names())}")
    return _EXERCISES[name]


def names() -> tuple[str, ...]:
    """Return the names of all exercises, sorted.

    Examples
    --------
    >>> "activations.elu" in names()
    True
    """
    for file in _files():
        importlib.import_module(f"{CHAPTERS}.{file}")
    return tuple(sorted(_EXERCISES))


def of_chapter(chapter: str) -> tuple[Exercise, ...]:
    """Return the exercises of a chapter in their order there: easy ones first.

    Raises
    ------
    ValueError
        If there is no such chapter.

    Examples
    --------
    >>> [task.level for task in of_chapter("activations")]
    ['easy', 'medium', 'medium', 'hard']
    """
    if chapter not in _files():
        raise ValueError(f"unknown chapter {chapter!r}; {_closest(chapter, chapters())}")
    importlib.import_module(f"{CHAPTERS}.{chapter}")
    # A file has them in the order of the page.
    found = (task for name, task in _EXERCISES.items() if name.partition(".")[0] == chapter)
    return tuple(sorted(found, key=lambda task: LEVELS.index(task.level)))


def chapters() -> tuple[str, ...]:
    """Return the names of the chapters that have exercises, sorted.

    Examples
    --------
    >>> "activations" in chapters()
    True
    """
    return tuple(sorted(_files()))


def check(name: str, answer: Any) -> Verdict:
    """Check an answer, print the verdict and return it.

    Parameters
    ----------
    name : str
        The exercise, as in the book.
    answer : object
        What the exercise asks for: most often a function. As long as it is None or ``...``, or a
        function that raises NotImplementedError or returns nothing, the verdict is "not yet".

    Raises
    ------
    ValueError
        If there is no such exercise. What the answer does wrong never raises.

    Examples
    --------
    >>> from course_lib.activations import elu
    >>> verdict = check("activations.elu", lambda z, alpha: elu(z))
    activations.elu: alpha-ignored
      Hint: Your values are those of alpha = 1. Where z is below zero, alpha has to come in.
    >>> verdict.passed
    False
    """
    verdict = find(name).judge(answer)
    _LAST[name] = verdict
    if place := os.environ.get(VERDICTS):
        said = json.dumps([verdict.passed, verdict.mistake, verdict.hint])
        with suppress(OSError):  # the folder is gone when its grading is over
            write_bytes(Path(place, f"{name}.json"), said.encode())
    print(verdict)
    for hear in _LISTENERS:
        hear(verdict)
    return verdict


def last() -> tuple[Verdict, ...]:
    """Return the last verdict on each exercise that was checked in this process, by name.

    Examples
    --------
    >>> verdict = check("activations.elu", ...)
    activations.elu: not yet (replace each ... by your answer, then run this cell again)
    >>> verdict in last()
    True
    """
    return tuple(_LAST[name] for name in sorted(_LAST))


def listen(hear: Callable[[Verdict], None]) -> None:
    """Have a function called with every verdict that :func:`check` comes to from now on.

    It must not raise. A function that listens already is not called twice.

    Examples
    --------
    >>> heard = []
    >>> listen(heard.append)
    >>> _ = check("activations.elu", ...)
    activations.elu: not yet (replace each ... by your answer, then run this cell again)
    >>> heard[-1].mistake
    'not-yet'
    >>> _LISTENERS.remove(heard.append)
    """
    if hear not in _LISTENERS:
        _LISTENERS.append(hear)


def _files() -> list[str]:
    folder = importlib.import_module(CHAPTERS).__path__
    return [module.name for module in pkgutil.iter_modules(folder)]


def _closest(name: str, known: Sequence[str]) -> str:
    near = ", ".join(difflib.get_close_matches(name, known, cutoff=0.75))
    return f"the closest are {near}" if near else "exercises.names() lists them all"


def _is_open(answer: Any) -> bool:
    if answer is None or answer is Ellipsis:
        return True
    if isinstance(answer, Mapping):
        return any(value is Ellipsis for value in answer.values())
    return isinstance(answer, Sequence) and any(part is Ellipsis for part in answer)
