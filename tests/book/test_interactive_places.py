"""Each interactive figure that the book names exists, and each that exists is used."""

from __future__ import annotations

import re

from tests.book.book_files import BOOK
from tests.book.figure_places import SCRIPTS, places

# Not figures: what all of them share, on their own page too, and what some do, who name it in their
# option `data`.
ALL_SHARE = {"drawing", "figure", "alone"}
SOME_SHARE = {"plane", "network", "specimens", "digits"}


def test_every_figure_has_one_place_and_every_place_a_figure() -> None:
    """A script that no page loads is dead code; a name without a script is an empty box."""
    scripts = {path.stem for path in SCRIPTS.glob("*.js") if not path.stem.endswith("_data")}
    assert {place.name for place in places()} == scripts - ALL_SHARE - SOME_SHARE


def test_a_figure_on_a_second_page_has_a_label_of_its_own() -> None:
    """Two of the same name would be one too many to refer to."""
    labels = []
    for place in places():
        given = re.search(r"^:label: (\S+)$", place.options, flags=re.MULTILINE)
        labels.append(given[1] if given else place.name)
    assert len(set(labels)) == len(labels)


def test_the_numbers_of_a_figure_are_named_in_its_place() -> None:
    """A file NAME_data.js, or one that some share, is loaded only where `data` names it."""
    options = "\n".join(place.options for place in places())
    lines = re.findall(r"^:data: (.+)$", options, flags=re.MULTILINE)
    named = {name for line in lines for name in line.split()}
    assert named == {path.stem for path in SCRIPTS.glob("*_data.js")} | SOME_SHARE


def test_every_script_says_in_its_first_line_what_it_is_and_asks_nobody() -> None:
    """One sentence to the reader; and no request, for from a file none is allowed."""
    for path in sorted(SCRIPTS.glob("*.js")):
        text = path.read_text("utf-8")
        assert re.match(r"// [A-Z].*", text), f"{path.name} does not open with a sentence"
        assert not re.search(r"\bfetch\(|XMLHttpRequest|^import\b|\bimport\(", text, re.M), (
            path.name
        )


def test_every_class_of_the_style_sheet_is_one_that_a_figure_uses() -> None:
    """A rule that nothing matches misleads who looks for a colour."""
    sheet = (SCRIPTS / "interactive.css").read_text("utf-8")
    sources = [*SCRIPTS.glob("*.js"), BOOK / "_ext" / "course_book" / "interactive.py"]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    classes = set(re.findall(r"\.([a-z][\w-]*)(?=[^{}]*\{)", sheet))
    assert len(classes) > 20
    assert [name for name in classes if not re.search(rf"(?<!-)\b{name}\b(?!-)", text)] == []
