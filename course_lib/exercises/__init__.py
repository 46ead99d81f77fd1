"""The exercises of the book, and a checker for each that says what went wrong and gives a hint.

In a chapter one writes a function (or a number, a class ...) and has it checked::

    exercises.check("activations.elu", my_elu)

The checkers of a chapter are one file in ``chapters``, named as the chapter. It
is found by its name and loaded when the first of its exercises is asked for.

Chapter: none; each file in ``chapters`` names its own.
"""

from __future__ import annotations

from course_lib.exercises.exercise import Exercise, check, find, last, names
from course_lib.exercises.verdict import Mistake, Verdict

__all__ = ["Exercise", "Mistake", "Verdict", "check", "find", "last", "names"]
