"""How pages are changed while they are made: folds, the bibliography, the source of modules."""

from __future__ import annotations

from pathlib import Path

import pytest
from docutils import nodes

from tests.book.book_files import extension

sphinx_ = pytest.importorskip("myst_nb.sphinx_")
database = pytest.importorskip("pybtex.database")


def _cell(*, output: nodes.Node | None = None, kind: str = "above-input") -> nodes.container:
    fold = sphinx_.HideCodeCellNode(prompt_show="Show", prompt_hide="Hide", classes=[kind])
    cell = nodes.container("", fold, nb_element="cell_code")
    if output is not None:
        cell += nodes.container("", output, nb_element="cell_code_output")
    return cell


def _words(cell: nodes.container, place: int) -> tuple[str, list[str]]:
    fold = cell.children[place]
    return fold["prompt_show"], fold["classes"]


def test_a_fold_of_a_figure_comes_after_it_and_any_other_stays() -> None:
    """Only the first cell of a page, and only if it shows nothing, has the imports."""
    folds = extension("folds")
    drawn = _cell(output=nodes.figure("", nodes.image(uri="a.png")))
    folds.arrange(drawn, first=True)
    assert _words(drawn, 1) == ("Code of this figure", ["below-figure"])
    printed = _cell(output=nodes.literal_block("", "1"))
    folds.arrange(printed, first=True)
    assert _words(printed, 0) == ("Show the code", ["above-input"])
    for first, words in ((True, "Imports"), (False, "Show the code")):
        silent = _cell()
        folds.arrange(silent, first=first)
        assert _words(silent, 0) == (words, ["above-input"])
    output = _cell(kind="below-input")
    folds.arrange(output, first=False)
    assert _words(output, 0) == ("Show", ["below-input"])


_BIB = """
@misc{b, author={Zhang, A. and Young, B. and Xu, C.}, title={T}, year={2001}}
@misc{a, author={van der Maaten, L. and Hinton, G.}, title={T}, year={2008}}
@misc{d, author={Müller, K.}, title={Second}, year={1999}}
@misc{c, author={M{\\"u}ller, K.}, title={First}, year={1999}}
@misc{e, author={Muster, K.}, title={T}, year={1990}}
@misc{f, author={Müller, K.}, title={T}, year={1998}}
"""


def test_labels_are_what_the_text_says_and_differ() -> None:
    """Sorted without regard to accents; a letter tells two works of one year apart."""
    style = extension("bibliography")
    style.setup(_Nothing())
    entries = database.parse_string(_BIB, "bibtex").entries.values()
    made = list(style.Style().format_entries(entries))
    assert [entry.label for entry in made] == [
        "Müller, 1998", "Müller, 1999a", "Müller, 1999b", "Muster, 1990",
        "van der Maaten and Hinton, 2008", "Zhang et al., 2001",
    ]  # fmt: skip
    assert [entry.key for entry in made] == list("fcdeab")


class _Nothing:
    """Sphinx, for who only wants to know the styles."""

    def add_post_transform(self, transform: object) -> None: ...
    def connect(self, event: str, function: object) -> None: ...


def test_the_source_of_a_module_is_read_from_its_file(tmp_path: Path) -> None:
    """Also if it could not be imported; a folder's is that of its face."""
    source = extension("api").source
    (tmp_path / "lib").mkdir()
    text = "import not_installed\n\n\nclass A:\n    def f(self):\n        pass\n"
    (tmp_path / "lib" / "part.py").write_text(text, "utf-8")
    (tmp_path / "lib" / "__init__.py").write_text("def g(): ...\n", "utf-8")
    code, tags = source("lib.part", tmp_path)
    assert code == text
    assert tags == {"A": ("class", 4, 6), "A.f": ("def", 5, 6)}
    assert set(source("lib", tmp_path)[1]) == {"g"}
    with pytest.raises(FileNotFoundError):
        source("lib.gone", tmp_path)
