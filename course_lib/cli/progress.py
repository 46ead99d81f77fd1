"""``course-lib progress``: which exercises were solved on this machine.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
from typing import Any

from course_lib.exercises import progress
from course_lib.exercises.exercise import chapters, of_chapter


def add_progress(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "progress",
        help="say which exercises were solved on this machine",
        description="List how many exercises of each chapter have passed their check in notebooks "
        "that keep the progress, as those of `make lab` do. It is kept on this machine alone; "
        f"the environment variable {progress.VARIABLE} names another folder, or is off.",
    )
    command.add_argument("--forget", action="store_true", help="delete all of it")
    command.set_defaults(run=run_progress)


def run_progress(options: argparse.Namespace) -> str:
    """List, or forget; return what to print."""
    if options.forget:
        gone = progress.forget()
        return f"Forgotten: {gone} solved exercise{'' if gone == 1 else 's'}."
    place = progress.folder()
    if place is None:
        return f"Progress is not kept: {progress.VARIABLE} is off, or there is no home folder."
    where = f"Kept in {place}; course-lib progress --forget deletes it."
    return f"{as_table(progress.solved())}\n{where}"


def as_table(solved: frozenset[str]) -> str:
    """Return a line for each chapter, with a mark for each exercise in the order of the page.

    Examples
    --------
    >>> print(as_table(frozenset({"activations.elu"})).splitlines()[0])
    activations             1 of 4  x...
    """
    width = max(map(len, chapters()))
    lines, done, count = [], 0, 0
    for chapter in chapters():
        marks = ["x" if task.name in solved else "." for task in of_chapter(chapter)]
        done, count = done + marks.count("x"), count + len(marks)
        lines.append(f"{chapter:{width}}  {marks.count('x')} of {len(marks)}  {''.join(marks)}")
    return "\n".join([*lines, f"{'all':{width}}  {done} of {count}"])
