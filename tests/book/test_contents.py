"""The table of contents alone says which chapters there are, in what order, and their numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.book.book_files import BOOK, cells, chapters, contents, extension, pages
from tests.book.prose import paragraphs

# Files in which a page may be named, and names that stand for no page: those of tests and examples.
TEXT = {".cff", ".css", ".ipynb", ".js", ".json", ".md", ".py", ".toml", ".yml"}
FOLDERS = (".github", "benchmarks", "book", "course_lib", "examples", "tests", "tools")
MADE_UP = {*(f"chapters/{name}" for name in ("a", "b", "c", "gone", "my", "name")), "solutions/b"}
_PAGE = re.compile(r"(?<!\w)(?:chapters|solutions)/\w+")


def _texts(root: Path) -> dict[str, str]:
    """Return the text of every file of the project, without what was built."""
    inside = (path for folder in FOLDERS for path in (root / folder).rglob("*"))
    files = [path for path in (*root.iterdir(), *inside) if path.suffix in TEXT and path.is_file()]
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in files
        if not {"_build", ".ipynb_checkpoints"} & set(path.relative_to(root).parts)
    }


def test_a_file_of_the_two_folders_is_in_the_contents_without_a_number_in_its_name() -> None:
    """And each chapter has its page of solutions, in the same order."""
    for folder, more in (("chapters", []), ("solutions", ["index"])):
        stems = [path.stem for path in (BOOK / folder).iterdir() if path.is_file()]
        assert [stem for stem in stems if stem[0].isdigit()] == []
        listed = [name.partition("/")[2] for name in contents() if name.startswith(f"{folder}/")]
        assert listed == [*more, *chapters()]
        assert sorted(stems) == sorted(listed)


def test_the_numbers_are_those_that_the_pages_show() -> None:
    """Sphinx counts through the parts that are numbered: the chapters and nothing else."""
    parts = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))["parts"]
    counted = [
        entry["file"] for part in parts if part.get("numbered") for entry in part["chapters"]
    ]
    assert counted == [f"chapters/{stem}" for stem in chapters()]
    assert list(chapters().values()) == list(range(1, len(counted) + 1))


def test_every_page_that_a_file_names_is_there(root: Path) -> None:
    """Also where Sphinx does not look: in settings, tables, tests, programs and the README."""
    there = {*contents(), *MADE_UP}
    texts = _texts(root)
    assert len(texts) > 100
    gone = {
        (file, found)
        for file, text in texts.items()
        for found in _PAGE.findall(text)
        if found not in there
    }
    assert gone == set()


def test_no_text_types_the_number_of_a_chapter() -> None:
    """It would be wrong after a move; a chapter of another book stands by its source."""
    typed = re.compile(r"\b[Cc]hapters?\s\d")
    texts = [path.read_text("utf-8") for suffix in (".md", ".toml") for path in pages(suffix)]
    for path in pages(".ipynb"):
        texts += [cell["source"] for cell in cells(path, "markdown")]
    every = [part for text in texts for part in paragraphs(text)]
    assert [part for part in every if typed.search(part) and "{cite" not in part] == []


def test_a_moved_chapter_takes_the_number_of_its_new_place(tmp_path: Path) -> None:
    """Nothing but the table of contents is changed; sections and globs are filled in."""
    (tmp_path / "api").mkdir()
    for name in ("x", "y"):
        (tmp_path / "api" / f"{name}.md").write_text("# Title\n", encoding="utf-8")
    first, second, third = ({"file": f"chapters/{stem}"} for stem in ("a", "b", "name"))
    last = {"file": "more", "sections": [{"glob": "api/*"}, {"file": "end"}]}
    toc = {
        "root": "index",
        "parts": [
            {"caption": "P", "chapters": [third, first]},
            {"caption": "Q", "chapters": [second, last]},
        ],
    }
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    module = extension("contents")
    assert module.chapters(tmp_path) == {"name": 1, "a": 2, "b": 3}
    found = [(page.name, page.part) for page in module.pages(tmp_path)]
    assert found == [
        ("index", None),
        ("chapters/name", "P"),
        ("chapters/a", None),
        ("chapters/b", "Q"),
        ("more", None),
        ("api/x", None),
        ("api/y", None),
        ("end", None),
    ]


@pytest.mark.parametrize("suffix", [".md", ".toml", ".ipynb"])
def test_there_are_pages_to_look_at(suffix: str) -> None:
    """A search in nothing finds nothing."""
    assert pages(suffix)
