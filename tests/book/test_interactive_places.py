"""Each interactive figure that the book names exists, and each that exists is used."""

from __future__ import annotations

import re

from book_files import BOOK, markdown, pages

FOLDER = BOOK / "_static" / "interactive"
# Not figures: what all of them share, and numbers that a figure needs.
SHARED = {"figure"}
_PLACE = re.compile(
    r"^(`{3,}|:{3,})\{interactive\} (?P<name>\S+)\n(?P<options>.*?)^\1", re.M | re.S
)


def places() -> dict[str, str]:
    """Map the name of each figure in the book to the options that stand below it."""
    texts = [markdown(path) for path in [*pages(".ipynb"), *pages(".md")]]
    found = [match for text in texts for match in _PLACE.finditer(text)]
    names = [match["name"] for match in found]
    assert len(names) == len(set(names)), f"a figure has one place in the book: {sorted(names)}"
    return {match["name"]: match["options"] for match in found}


def test_every_figure_has_one_place_and_every_place_a_figure() -> None:
    """A script that no page loads is dead code; a name without a script is an empty box."""
    scripts = {path.stem for path in FOLDER.glob("*.js") if not path.stem.endswith("_data")}
    assert set(places()) == scripts - SHARED


def test_the_numbers_of_a_figure_are_named_in_its_place() -> None:
    """A file NAME_data.js is loaded only where the option `data` names it."""
    options = "\n".join(places().values())
    named = set(re.findall(r"^:data: (\S+)$", options, flags=re.M))
    assert named == {path.stem for path in FOLDER.glob("*_data.js")}


def test_every_script_says_in_its_first_line_what_it_is() -> None:
    """One sentence to the reader, and no request to anywhere."""
    for path in sorted(FOLDER.glob("*.js")):
        text = path.read_text("utf-8")
        assert re.match(r"// \S.*", text), f"{path.name} does not open with a sentence"
        assert not re.search(r"\bfetch\(|XMLHttpRequest|\bimport\b *[({'\"]", text), path.name
