"""The exercises of the book, and a checker for each that says what went wrong and gives a hint.

In a chapter one writes a function (or a number, a class ...) and has it checked::

    exercises.check("activations.elu", my_elu)

A notebook that begins with ``exercises.keep_progress("activations")`` has what is solved in it
remembered (:mod:`course_lib.exercises.progress`).

The checkers of a chapter are one file in ``chapters``, named as the chapter. It
is found by its name and loaded when the first of its exercises is asked for.

Chapter: none; each file in ``chapters`` names its own.
"""

from __future__ import annotations

from course_lib.exercises.exercise import Exercise, check, find, last, names
from course_lib.exercises.progress import forget, keep_progress, show_progress, solved
from course_lib.exercises.verdict import Mistake, Verdict

__all__ = [
    "Exercise", "Mistake", "Verdict", "check", "find", "forget", "keep_progress", "last", "names",
    "show_progress", "solved",
]  # fmt: skip
