"""The small programs that help to make the book."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.book.book_files import extension
from tools.notebooks import run as notebook_runs
from tools.pages import api as api_pages


def test_chapters_are_found_by_title_and_by_file_name(tmp_path: Path) -> None:
    """And nothing else that lies in their folder."""
    toc = {"root": "index", "chapters": [{"file": f"chapters/{n}"} for n in ("losses", "forward")]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (tmp_path / "chapters").mkdir()
    for name, first in (("forward", "# Forward propagation\n"), ("losses", "# The losses")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(first)])
        nbformat.write(notebook, tmp_path / "chapters" / f"{name}.ipynb")
    (tmp_path / "chapters" / "notes.md").write_text("# Notes\n", encoding="utf-8")
    assert extension("api").chapter_names(tmp_path) == {
        "losses": "chapters/losses",
        "the losses": "chapters/losses",
        "forward": "chapters/forward",
        "forward propagation": "chapters/forward",
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Chapter: losses.", "Chapter: :doc:`losses </c/06>`."),
        ("Chapters: a, b.", "Chapters: :doc:`a </c/1>`, :doc:`b </c/2>`."),
        ("A line. Chapter: losses.", "A line. Chapter: :doc:`losses </c/06>`."),
        ("Chapter: batches, and more.", "Chapter: :doc:`batches, and more </c/12>`."),
        ("Chapter: none; it serves the others.", "Chapter: none; it serves the others."),
        ("No chapter here.", "No chapter here."),
    ],
)
def test_the_chapter_line_of_a_docstring_becomes_links(line: str, expected: str) -> None:
    """A title with a comma in it is one title."""
    names = {"losses": "c/06", "a": "c/1", "b": "c/2", "batches, and more": "c/12"}
    assert extension("api").link_line(line, names) == (expected, [])


def test_an_unknown_chapter_is_reported() -> None:
    """The caller makes a warning of it, and the build fails."""
    line, unknown = extension("api").link_line("Chapter: magic.", {})
    assert (line, unknown) == ("Chapter: magic.", ["magic"])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("course_lib.mlp", "course_lib.network.mlp"),
        ("mlp", "course_lib.network.mlp"),
        ("Network.init", "course_lib.network.Network.init"),
        ("course_lib.Network.init", "course_lib.network.Network.init"),
        ("get", None),
        ("course_lib.gone", None),
    ],
)
def test_a_short_name_means_the_one_thing_that_ends_with_it(
    target: str, expected: str | None
) -> None:
    """Two of the same name: neither is guessed."""
    names = [
        "course_lib.network.mlp",
        "course_lib.network.Network.init",
        "course_lib.losses.get",
        "course_lib.weights.get",
    ]
    assert extension("api").documented(target, names) == expected


def test_private_files_have_no_api_page(tmp_path: Path) -> None:
    """And the sentence of the list is the first of the docstring."""
    package = tmp_path / "lib"
    package.mkdir()
    (package / "__init__.py").write_text('"""The\npackage.\n\nMore."""', encoding="utf-8")
    (package / "_hidden.py").write_text('"""Hidden."""', encoding="utf-8")
    (package / "part.py").write_text('"""A part."""', encoding="utf-8")
    assert api_pages.modules(package) == {"lib": "The package.", "lib.part": "A part."}


def test_running_a_notebook_twice_changes_nothing(tmp_path: Path) -> None:
    """What the second run writes is what the first wrote, byte for byte."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)\n2")])
    notebook.cells[0].metadata["execution"] = {"iopub.execute_input": "some time"}
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook, path)
    notebook_runs.run(path)
    once = path.read_bytes()
    notebook_runs.run(path)
    assert path.read_bytes() == once
    (cell,) = nbformat.read(path, as_version=4).cells
    assert cell.execution_count == 1
    assert [output.output_type for output in cell.outputs] == ["stream", "execute_result"]
    assert "execution" not in cell.metadata


def test_a_name_that_a_file_hands_on_means_the_thing_where_it_is_defined() -> None:
    """Also where another file defines something else under that name."""
    names = ["course_lib.losses.Loss", "course_lib.other.Loss", "course_lib.training.fit"]
    documented = extension("api").documented
    assert importlib.import_module("course_lib").Loss.__module__ == "course_lib.losses"
    assert documented("course_lib.Loss", names) == "course_lib.losses.Loss"
    assert documented("Loss", names, "course_lib") == "course_lib.losses.Loss"
    assert documented("Loss", names) is None


def _module(name: str, doc: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Make a module with one function and one class, both without a chapter of their own."""
    made = types.ModuleType(name, doc)
    exec("def f(): 'Text.'\nclass C:\n    'Text.'\n    def m(self): 'Text.'", vars(made))
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.mark.parametrize(
    ("what", "name", "lines", "added"),
    [
        ("function", "f", ["Text."], ["", "Chapter: losses."]),
        ("class", "C", ["Text."], ["", "Chapter: losses."]),
        ("exception", "C", ["Text."], ["", "Chapter: losses."]),
        ("method", "f", ["Text."], []),
        ("function", "f", ["Text.", "", "Chapter: forward."], []),
        ("function", "f", ["Text.", "Chapter: none; it serves others."], []),
    ],
)
def test_a_function_or_class_has_the_chapter_of_its_module(
    monkeypatch: pytest.MonkeyPatch, what: str, name: str, lines: list[str], added: list[str]
) -> None:
    """Methods have not, nor who names a chapter; of two lines in the module the last one counts."""
    doc = "A module.\n\nChapter: forward.\n\n    Chapter: losses.\n"
    module = _module("some_module", doc, monkeypatch)
    assert extension("api").line_of_module(what, getattr(module, name), lines) == added


@pytest.mark.parametrize("doc", ["A module.", "A module.\n\nChapter: none; it serves all.", None])
def test_a_module_without_a_chapter_hands_none_on(
    monkeypatch: pytest.MonkeyPatch, doc: str | None
) -> None:
    """Nor does a function whose module is not there."""
    module = _module("some_module", doc, monkeypatch)
    assert extension("api").line_of_module("function", module.f, ["Text."]) == []
    monkeypatch.delitem(sys.modules, "some_module")
    assert extension("api").line_of_module("function", module.f, ["Text."]) == []
