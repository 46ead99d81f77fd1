"""Every entry of the bibliography is complete, well-formed, there once, and cited somewhere."""

from __future__ import annotations

import datetime
import re
from collections import Counter

import pytest

from tests.book.book_files import BOOK, extension, markdown, pages

database = pytest.importorskip("pybtex.database")

OF_TYPE = {
    "article": "title journal volume pages year",
    "book": "title publisher year",
    "incollection": "title booktitle pages publisher year",
    "inproceedings": "title booktitle year",
    "mastersthesis": "title school year",
    "misc": "title year",
    "techreport": "title institution year",
}
VENUES = ("journal", "booktitle")
FIRST_YEAR = 1676  # Leibniz's notes with the chain rule: an older source would be a slip
ENTRIES = database.parse_file(BOOK / "references.bib", encoding="utf-8").entries
KEYS = list(ENTRIES)


def cited(text: str) -> set[str]:
    """Return the keys that a MyST text cites."""
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return {key.strip() for role in roles for key in role.split(",")}


def repeated(values: list[str]) -> list[str]:
    """Return the values that occur more than once."""
    return [value for value, times in Counter(values).items() if times > 1]


@pytest.mark.parametrize("key", KEYS)
def test_an_entry_has_the_fields_of_its_type(key):
    entry = ENTRIES[key]
    assert [name for name in OF_TYPE[entry.type].split() if not entry.fields.get(name)] == []
    assert entry.persons.get("author"), "no author"
    if entry.type == "misc":
        assert {"howpublished", "eprint"} & set(entry.fields), "says neither where nor its number"


@pytest.mark.parametrize("key", KEYS)
def test_the_year_is_possible_and_that_of_the_key(key):
    year = int(ENTRIES[key].fields["year"])
    assert FIRST_YEAR <= year <= datetime.datetime.now(tz=datetime.UTC).year
    named = re.search(r"^[a-z]+((?:1[6-9]|20)\d\d)", key)
    assert named is None or int(named[1]) == year


@pytest.mark.parametrize("key", KEYS)
def test_doi_arxiv_number_address_and_pages_are_well_formed(key):
    fields = ENTRIES[key].fields
    if "doi" in fields:
        assert re.fullmatch(r"10\.\d{4,9}/[^\s{}]+[^\s{}.,]", fields["doi"])
    if "eprint" in fields:
        assert fields["archiveprefix"] == "arXiv"
        number = re.fullmatch(
            r"(?:[a-z-]+/)?(\d\d)(0[1-9]|1[0-2])(\.\d{4,5}|\d{3})", fields["eprint"]
        )
        assert number
        assert 2000 + int(number[1]) <= int(fields["year"]), "published before it was on arXiv"
    if "url" in fields:
        assert fields["url"].startswith("https://")
    for part in filter(None, fields.get("pages", "").split(", ")):
        first, last = (re.sub(r"^\d+:", "", page) for page in part.split("--"))
        assert int(first) <= int(last)


@pytest.mark.parametrize("key", KEYS)
def test_what_appeared_somewhere_is_not_called_a_preprint(key):
    entry = ENTRIES[key]
    for name in (*VENUES, "howpublished", "note"):
        assert not re.search(r"arxiv|preprint", entry.fields.get(name, ""), re.IGNORECASE)
    if entry.type == "misc":
        assert not set(VENUES) & set(entry.fields), "names a venue: not a misc"


def test_no_work_is_there_twice():
    works = [
        re.sub(r"[^a-z0-9]", "", entry.fields["title"].lower())
        # Two works are called "Deep learning".
        + f" by {entry.persons['author'][0]}"
        for entry in ENTRIES.values()
    ]
    assert repeated(works) == []
    for name in ("doi", "eprint", "url"):
        found = [entry.fields[name].lower() for entry in ENTRIES.values() if name in entry.fields]
        assert repeated(found) == []


def test_a_venue_has_one_name():
    names: dict[str, set[str]] = {}
    for entry in ENTRIES.values():
        for name in VENUES:
            venue = entry.fields.get(name, "")
            # CVPR changed its own name in 2018.
            short = re.search(r"\(([A-Z]\w*)\)$", venue)
            if short:
                names.setdefault(short[1], set()).add(venue.replace("IEEE/CVF", "IEEE"))
    assert {short: found for short, found in names.items() if len(found) > 1} == {}
    books = [entry.fields.get("booktitle", "") for entry in ENTRIES.values()]
    assert [book for book in books if re.search(r"\d", book)] == []


def test_every_entry_is_cited_and_every_citation_has_an_entry():
    found = cited(extension("errata").references(BOOK))
    for suffix in (".ipynb", ".md"):
        for page in pages(suffix):
            found |= cited(markdown(page))
    assert sorted(set(KEYS) - found) == []
    assert sorted(found - set(KEYS)) == []


def test_citations_are_found_in_all_their_forms():
    assert cited("{cite:p}`a2000, b2001` and {cite}`c` but `d`") == {"a2000", "b2001", "c"}
