"""The exercises of the book, and a checker for each that says what went wrong and gives a hint.

In a chapter one writes a function (or a number, a class ...) and has it checked::

    exercises.check("activations.elu", my_elu)

There is one file per chapter, named as the chapter without its number. It is found by its name, so
nothing has to be listed anywhere; it is loaded when the first of its exercises is asked for. What
a checker tries a learner's test on, or compares with, may stand in a file of its own, whose name
begins with that of the chapter.

Chapter: none; each file names its own.
"""

from __future__ import annotations

from course_lib.exercises.exercise import Exercise, check, find, last, names
from course_lib.exercises.verdict import Mistake, Verdict

__all__ = ["Exercise", "Mistake", "Verdict", "check", "find", "last", "names"]
