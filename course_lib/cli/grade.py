"""``course-lib grade``: run learners' notebooks and say which exercises are right.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_lib.cli.options import place, seconds
from course_lib.cli.output import say, visible
from course_lib.exercises.grade import Grade, grade_all


def add_grade(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "grade",
        help="run notebooks and say which exercises are right",
        description="Run each notebook in a fresh kernel and list the verdict on every exercise "
        "of its chapter. The exit code is 0 if every notebook ran to its end, whatever the marks, "
        "and 1 if one did not; its marks are listed nevertheless. This runs the code of the "
        "notebooks on this machine.",
    )
    command.add_argument(
        "files", nargs="+", type=place, metavar="FILE.ipynb", help="notebooks with answers"
    )
    command.add_argument(
        "--cell-timeout", type=seconds, default=120, metavar="SECONDS",
        help="interrupt a cell that takes longer (default: 120)",
    )  # fmt: skip
    command.add_argument(
        "--timeout", type=seconds, default=900, metavar="SECONDS",
        help="start no further cell of a notebook after this time (default: 900)",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print the marks as a line of JSON")
    command.set_defaults(run=run_grade)


def run_grade(options: argparse.Namespace) -> str:
    """Grade; return what to print."""
    missing = [file for file in options.files if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f"there is no file {', '.join(map(visible, missing))}.")
    grades = grade_all(options.files, cell_seconds=options.cell_timeout, seconds=options.timeout)
    text = as_json(grades) if options.json else "\n\n".join(as_table(one) for one in grades)
    stopped = [visible(f"{one.file}: {one.stopped}") for one in grades if one.stopped]
    if stopped:  # the exit code must say so, but what there is to print is printed
        say(text)
        raise RuntimeError("not run to the end: " + "; ".join(stopped) + ".")
    return text


def as_table(one: Grade) -> str:
    """Return the marks of a notebook as text, a line for each exercise.

    What a notebook has said cannot do anything to the terminal: it stands there as text.

    Examples
    --------
    >>> from course_lib.exercises.grade import Mark
    >>> mark = Mark("activations.elu", "ELU", "easy", 10, 0, "alpha-ignored", "Multiply by alpha.")
    >>> print(as_table(Grade("mine.ipynb", (mark,))))
    mine.ipynb: 0 of 1
      0  activations.elu  easy  10 min  alpha-ignored
    """
    width = max((len(mark.name) for mark in one.marks), default=0)
    lines = [visible(f"{one.file}: {one.total} of {len(one.marks)}")]
    for mark in one.marks:
        said = visible(mark.mistake or "passed")
        line = f"  {mark.score}  {mark.name:{width}}  {mark.level:6}  {mark.minutes:2} min  {said}"
        lines.append(line)
    lines += [f"  {visible(error)}" for error in one.errors]
    return "\n".join([*lines, f"  stopped: {visible(one.stopped)}"] if one.stopped else lines)


def as_json(grades: Sequence[Grade]) -> str:
    """Return the marks of all notebooks as one line of JSON: a list, in the order of the files."""
    return json.dumps([{**asdict(one), "total": one.total, "of": len(one.marks)} for one in grades])
