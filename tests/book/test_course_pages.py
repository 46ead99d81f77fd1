"""The pages for teachers and for readers who come back name what there is, all of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from course_lib import exercises
from tests.book.book_files import BOOK, chapters, contents, extension, markdown

STEMS = list(chapters())


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """The extension that writes them."""
    return extension("course_pages")


def _plans() -> dict[int, list[dict[str, list[str]]]]:
    data = tomllib.loads((BOOK / "reference" / "teaching.toml").read_text("utf-8"))
    return {plan["weeks"]: plan["week"] for plan in data["plan"]}


def test_every_exercise_is_in_the_table(pages: ModuleType) -> None:
    """With level and minutes, and the sum is the sum."""
    text = pages.exercises(BOOK)
    for name in exercises.names():
        task = exercises.find(name)
        label = f"ex-{name}".replace(".", "-").replace("_", "-")
        row = f"| {{ref}}`{task.title} <{label}>` | {task.level} | {task.minutes} |"
        assert text.count(row) == 1, name
    hours = sum(exercises.find(name).minutes for name in exercises.names()) / 60
    assert text.startswith(f"{len(exercises.names())} exercises, about {hours:.0f} hours in all.")


def test_the_facts_are_counted_from_the_chapters_themselves(pages: ModuleType) -> None:
    """Lines of the table of contents, labels of exercises, and minutes chapter by chapter."""
    toc = (BOOK / "_toc.yml").read_text("utf-8")
    texts = [markdown(BOOK / "chapters" / f"{stem}.ipynb") for stem in STEMS]
    tasks = sum(len(re.findall(r"^\(ex-[\w-]+\)=$", text, re.M)) for text in texts)
    chapter = extension("chapters")
    minutes = [chapter.reading_minutes(chapter.notebook(BOOK, stem)) for stem in STEMS]
    numbers = [int(number) for number in re.findall(r"\*\*(\d+)\*\*", pages.facts(BOOK))]
    assert numbers == [toc.count("- file: chapters/"), round(sum(minutes) / 60), tasks]


def test_every_chapter_has_its_goals(pages: ModuleType) -> None:
    """At least three each, in the order of the book."""
    blocks = re.split(r"\n\n(?=\*\*\d)", pages.goals(BOOK))
    named = [re.search(r"chapters/(\w+)", block) for block in blocks]
    assert [found[1] for found in named if found] == STEMS
    assert min(len(re.findall(r"^- ", block, re.M)) for block in blocks) >= 3


def test_twelve_weeks_go_through_the_whole_book_once(pages: ModuleType) -> None:
    """In its order."""
    read = [stem for week in _plans()[12] for stem in week["chapters"]]
    assert read == STEMS


@pytest.mark.parametrize("weeks", [6, 12])
def test_a_plan_has_its_weeks_and_asks_for_what_was_read(pages: ModuleType, weeks: int) -> None:
    """Exercises of the chapters of the week, at most two hours of them."""
    plan = _plans()[weeks]
    assert len(plan) == weeks
    assert len(pages.plan(BOOK, weeks).splitlines()) == weeks + 2
    for week in plan:
        read = set(week["chapters"])
        assert {name.partition(".")[0] for name in week["hand_in"]} <= read
        assert 30 <= sum(exercises.find(name).minutes for name in week["hand_in"]) <= 120


def test_a_plan_with_an_unknown_name_is_refused(pages: ModuleType, tmp_path: Path) -> None:
    """The build says which."""
    for name in ("chapters", "_toc.yml"):
        (tmp_path / name).symlink_to(BOOK / name)
    (tmp_path / "reference").mkdir()
    text = (BOOK / "reference" / "teaching.toml").read_text("utf-8")
    changed = text.replace('"neurons.line"', '"neurons.gone"')
    (tmp_path / "reference" / "teaching.toml").write_text(changed, encoding="utf-8")
    with pytest.raises(ValueError, match="plan of 12 weeks: unknown \\['neurons.gone'\\]"):
        pages.plan(tmp_path, 12)


def test_changes_name_pages_that_exist(pages: ModuleType) -> None:
    """And are complete: a date, a kind, a sentence."""
    entries = tomllib.loads((BOOK / "reference" / "changes.toml").read_text("utf-8"))["change"]
    assert entries
    for entry in entries:
        assert set(entry["pages"]) <= set(contents()), entry
        assert entry["kind"] in {"new", "corrected", "clearer"}
        assert entry["what"].endswith(".")
    dates = re.findall(r"^(\d{4}-\d\d-\d\d), ", pages.changes(BOOK), re.M)
    assert dates == sorted((f"{entry['date']:%Y-%m-%d}" for entry in entries), reverse=True)


def test_the_newest_change_of_the_pages_is_not_older_than_that_of_the_package(root: Path) -> None:
    """A release without a line for the reader would be one that nobody notices."""
    released = re.findall(r"\((\d{4}-\d\d-\d\d)\)", (root / "CHANGELOG.md").read_text("utf-8"))
    entries = tomllib.loads((BOOK / "reference" / "changes.toml").read_text("utf-8"))["change"]
    assert max(f"{entry['date']:%Y-%m-%d}" for entry in entries) >= max(released)
