"""The built pages lead a reader: letters, ways back, folded code that says what it is, previews."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from bs4 import Tag
from test_references import ENTRIES, cited

from tests.book.book_files import (
    BOOK,
    IMAGES,
    built_book,
    cells,
    chapters,
    contents,
    extension,
    parsed,
)
from tests.book.book_files import markdown as text_of


@pytest.fixture(scope="module")
def html() -> Path:
    """The folder of the built book."""
    return built_book()


def _plain(text: str) -> str:
    """Return the letters and digits of a text, without accents and commands of TeX."""
    apart = unicodedata.normalize("NFD", re.sub(r"\\\w+", "", text.lower()))
    return re.sub(r"[^a-z0-9]", "", apart)


# The glossary


def test_the_terms_of_the_glossary_stand_under_their_letters(html: Path) -> None:
    """In order; and the line at the top leads to each letter that there is."""
    page = parsed(html / "reference" / "glossary.html")
    letters = page.select("p.letters a")
    headings = page.select("article h2")
    assert len(letters) > 15
    assert [a.text for a in letters] == sorted({a.text for a in letters})
    assert [str(h.contents[0]) for h in headings] == [a.text for a in letters]
    ids = [str(h.find_parent("section")["id"]) for h in headings]  # type: ignore[index]
    assert [a["href"] for a in letters] == [f"#{name}" for name in ids]
    seen = []
    for heading in headings:
        section = heading.find_parent("section")
        assert isinstance(section, Tag)
        terms = [dt.contents[0].text for dt in section.select("dl.glossary > dt")]
        assert {term[0].upper() for term in terms} == {str(heading.contents[0])}
        seen += terms
    assert seen == sorted(seen, key=str.lower) and len(seen) > 100


# The bibliography


def _entries(html: Path) -> list[Tag]:
    return parsed(html / "reference" / "bibliography.html").select("div.citation")


def _label(entry: Tag) -> str:
    found = entry.select_one(".label")
    assert found is not None
    return found.text.strip("[]")


def test_the_bibliography_is_in_the_order_of_authors_and_years(html: Path) -> None:
    """As one looks for *Glorot and Bengio [2010]*, which is what the entry is called."""
    labels = [_label(entry) for entry in _entries(html)]
    assert len(labels) == len(ENTRIES) == len(set(labels))
    assert "Glorot and Bengio, 2010" in labels
    first = [_plain(re.split(r",| and | et al", label)[0]) for label in labels]
    assert first == sorted(first)
    alone = [label for label in labels if " and " not in label and "et al" not in label]
    assert [_sortable(label) for label in alone] == sorted(map(_sortable, alone))


def _sortable(label: str) -> tuple[str, str]:
    name, _, year = label.rpartition(", ")
    return _plain(name), year


def test_each_source_leads_back_to_every_page_that_cites_it(html: Path) -> None:
    """To the place there; found by the text of the pages, in their order."""
    sources = {name: _source(name) for name in contents()}
    links: dict[str, list[str]] = {}
    for entry in _entries(html):
        text = _plain(entry.p.text if entry.p else "")
        year = re.findall(r"\d{4}", _label(entry))[-1]
        (key,) = [
            key
            for key, one in ENTRIES.items()
            if _plain(one.fields["title"]) in text
            and one.fields["year"] == year
            and all(_plain(str(n)) in text for n in one.persons["author"][0].rich_last_names)
        ]
        assert key not in links
        links[key] = [str(a["href"]) for a in entry.select(".cited-in a")]
    for key, found in links.items():
        pages = [link.partition("#")[0].removeprefix("../").removesuffix(".html") for link in found]
        pages = [name if "/" in name else f"reference/{name}" for name in pages]
        assert pages == [name for name, text in sources.items() if key in cited(text)], key
    anchors = {link.partition("#")[2][:2] for found in links.values() for link in found}
    assert anchors == {"id"}  # the scan of all links says that they are there


def _source(name: str) -> str:
    """Return the text of a page, with what its directives write."""
    path = next((p for s in (".ipynb", ".md") if (p := BOOK / f"{name}{s}").is_file()), None)
    text = text_of(path) if path else ""
    if name == "reference/errata":
        text += extension("errata").references(BOOK)
        text += (BOOK / "reference" / "errata.toml").read_text("utf-8")
    return text


# Folded code


@pytest.mark.parametrize("stem", chapters())
def test_the_imports_are_called_so(html: Path, stem: str) -> None:
    """They are the first code of a chapter."""
    first = parsed(html / "chapters" / f"{stem}.html").select_one("div.cell")
    assert first is not None
    fold = first.select_one("details > summary")
    assert fold is not None and not fold.has_attr("aria-label")
    assert [p.text for p in fold.find_all("p")] == ["Imports", "Hide the imports"]
    assert first.select_one("details pre") is not None and "import" in first.text


@pytest.mark.parametrize("stem", chapters())
def test_the_code_of_a_figure_is_folded_below_it(html: Path, stem: str) -> None:
    """As many as there are hidden cells with a figure; no fold is called as myst-nb calls it."""
    page = parsed(html / "chapters" / f"{stem}.html")
    drawn = [cell for cell in cells(BOOK / "chapters" / f"{stem}.ipynb", "code") if _draws(cell)]
    found = page.select("div.cell > details.below-figure")
    assert len(found) == len(drawn)
    for fold in found:
        before = fold.find_previous_sibling()
        assert isinstance(before, Tag) and before.select_one("img, .drawing") is not None
        assert fold.find_next_sibling() is None
        assert fold.p is not None and fold.p.text == "Code of this figure"
    assert "code cell source" not in page.text


def _draws(cell: dict[str, Any]) -> bool:
    shown = [kind for output in cell["outputs"] for kind in output.get("data", {})]
    tags = cell["metadata"].get("tags", [])
    return "hide-input" in tags and "remove-cell" not in tags and bool(set(shown) & set(IMAGES))


def test_no_box_holds_nothing_but_a_link(html: Path) -> None:
    """To open it would be a step for nothing."""
    for stem in chapters():
        for box in parsed(html / "chapters" / f"{stem}.html").select("article details"):
            inside = "".join(child.text for child in box.find_all(recursive=False)[1:]).strip()
            assert [inside] != [a.text.strip() for a in box.select("a")], inside


# Previews


def test_the_file_of_previews_is_of_moderate_size(html: Path) -> None:
    """It is loaded at the first link that is pointed at; every kind of link has some."""
    text = (html / "_static" / "previews" / "targets.js").read_text("utf-8")
    assert len(text.encode()) < 600_000
    found = json.loads(text.removeprefix("window.previewTargets = ").rstrip(";\n"))
    for part, least in {
        "#equation-": 100, "#term-": 5, "bibliography.html#id": 100, "#fig-": 40,
        "reference/api/": 200, "#ex-": 50, ".html#": 500,
    }.items():  # fmt: skip
        assert sum(part in target for target in found) >= least, part
    assert not any("solutions/" in target for target in found)
    whole = [target for target in found if target.endswith("#")]
    assert {f"chapters/{stem}.html#" for stem in ("losses", "backpropagation")} <= set(whole)
    pictures = re.findall(r'data-(?:src|drawing)="([^"]*)"', "".join(found.values()))
    assert len(pictures) > 30
    files = [name for name in pictures if "/" in name]
    assert [name for name in files if not (html / name).is_file()] == []
