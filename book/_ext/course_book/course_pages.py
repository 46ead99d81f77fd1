"""The parts of pages that the project knows itself: exercises, goals, plans, errata, ....

The directive ``{course} exercises`` stands where the table of all exercises is to be; likewise
the other names of ``WRITERS``. Each is written as Markdown from the checkers, the chapters or a
data file when the book is built, so it cannot fall behind.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from . import errata, mutation, soak, trainings
from .chapters import markdown, reading_hours
from .contents import chapters, exercise_anchor

_GOALS = re.compile(r"What you will be able to do.*?\n\n?(?P<list>- .*?)(?=\n\n(?!- |  )|\Z)", re.S)


def exercises(book: Path) -> str:
    """Return the table of all exercises: chapter, task, level, minutes."""
    lines = ["| chapter | exercise | level | minutes |", "|---|---|---|---:|"]
    total = 0
    for stem, tasks in _tasks(book).items():
        for task in tasks:
            lines.append(
                f"| {_chapter(book, stem)} | {_link(task)} | {task.level} | {task.minutes} |"
            )
            total += task.minutes
    count = sum(map(len, _tasks(book).values()))
    return f"{count} exercises, {_hours(total)} in all.\n\n" + "\n".join(lines)


def facts(book: Path) -> str:
    """Return what a visitor wants to know first, as a list: how much, how long, how sure."""
    tasks = sum(map(len, _tasks(book).values()))
    return "\n".join(
        (
            f"- **{len(chapters(book))}** chapters",
            f"- **{reading_hours(book)}** hours to read",
            f"- **{tasks}** exercises that check themselves",
            "- [**every** number tested](#landing-proof)",
        )
    )


def goals(book: Path) -> str:
    """Return what the learner of each chapter will be able to do, as the chapter says it."""
    text = ""
    for stem in chapters(book):
        found = _GOALS.search(markdown(book, stem))
        if found is None:
            raise ValueError(f"{stem}.ipynb: no list after 'What you will be able to do'")
        text += f"**{_chapter(book, stem)}**\n\n"
        text += f"{found['list'].strip()}\n\n"
    return text


def plan(book: Path, weeks: int) -> str:
    """Return a plan of so many weeks: chapters, what to do together, what to hand in."""
    data = tomllib.loads((book / "reference" / "teaching.toml").read_text("utf-8"))
    (chosen,) = (plan for plan in data["plan"] if plan["weeks"] == weeks)
    tasks = _tasks(book)
    by_name = {task.name: task for found in tasks.values() for task in found}
    lines = ["| week | chapters | together | to hand in |", "|---:|---|---|---|"]
    for number, week in enumerate(chosen["week"], start=1):
        unknown = [s for s in week["chapters"] if s not in tasks]
        unknown += [name for name in week["hand_in"] if name not in by_name]
        if unknown:
            raise ValueError(f"teaching.toml, plan of {weeks} weeks: unknown {unknown}")
        read = "; ".join(_chapter(book, stem) for stem in week["chapters"])
        given = [by_name[name] for name in week["hand_in"]]
        handed = "; ".join(map(_link, given))
        minutes = sum(task.minutes for task in given)
        lines.append(f"| {number} | {read} | {week['together']} | {handed} ({_hours(minutes)}) |")
    return "\n".join(lines)


def changes(book: Path) -> str:
    """Return what changed on the pages, newest first."""
    data = tomllib.loads((book / "reference" / "changes.toml").read_text("utf-8"))
    text = ""
    for entry in sorted(data["change"], key=lambda entry: entry["date"], reverse=True):
        pages = ", ".join(f"{{doc}}`/{name}`" for name in entry["pages"])
        text += f"{entry['date']:%Y-%m-%d}, {entry['kind']}\n: {entry['what']}\n"
        text += f"\n  {pages}\n\n" if pages else "\n"
    return text


def _chapter(book: Path, stem: str) -> str:
    """Return the number of a chapter and a link to it."""
    return f"{chapters(book)[stem]} {{doc}}`/chapters/{stem}`"


def _link(task: Any) -> str:
    return f"{{ref}}`{task.title} <{exercise_anchor(task.name)}>`"


def _hours(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 100 else f"about {minutes / 60:.0f} hours"


def _tasks(book: Path) -> dict[str, tuple[Any, ...]]:
    """Return the exercises of each chapter, easy ones first."""
    from course_lib.exercises.exercise import of_chapter

    return {stem: of_chapter(stem) for stem in chapters(book)}


WRITERS = {
    "exercises": exercises,
    "facts": facts,
    "goals": goals,
    "plan-12": lambda book: plan(book, 12),
    "plan-6": lambda book: plan(book, 6),
    "changes": changes,
    "errata": errata.faults,
    "errata-variants": errata.variants,
    "errata-references": errata.references,
    "mutation": mutation.summary,
    "mutation-files": mutation.files,
    "soak": soak.summary,
    "soak-faults": soak.by_fault,
    "soak-programs": soak.by_program,
    "soak-channels": soak.by_channel,
    "trainings": trainings.table,
}


class Course(SphinxDirective):
    """Put the named part here."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Write the Markdown and parse it as if it stood in the page."""
        name = self.arguments[0]
        if name not in WRITERS:
            raise self.error(f"course: there is no part {name!r}, only {', '.join(WRITERS)}")
        try:
            text = WRITERS[name](Path(self.env.srcdir))
        except ValueError as error:
            raise self.error(f"course: {error}") from error
        place = nodes.container(classes=["course", f"course-{name}"])
        # With titles: a part may consist of sections, which then come below the one it stands in.
        lines = StringList(text.splitlines(), source=name)
        self.state.nested_parse(lines, 0, place, match_titles=True)
        return place.children


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("course", Course)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
