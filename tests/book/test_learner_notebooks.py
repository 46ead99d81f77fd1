"""The learner's notebooks say what the built book says, and show nothing but what is meant.

They are made from the sources and from what Sphinx wrote down; the built pages are the oracle.
"""

from __future__ import annotations

import re
from copy import copy
from functools import cache
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from tests.book.book_files import BOOK, built_book, parsed
from tests.book.notebook_faults import anchors, code_faults, links, scan, text_faults
from tools.book_source import notebooks
from tools.notebooks import learner

NAMES = [path.relative_to(BOOK).with_suffix("").as_posix() for path in notebooks()]


@pytest.fixture(scope="module")
def html() -> Path:
    """The folder of the built book."""
    return built_book()


@pytest.fixture(scope="module")
def lab(html: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebooks of `make lab`."""
    folder = tmp_path_factory.mktemp("lab")
    learner.write(folder, "lab", html.parent)
    return folder


def _page(html: Path, name: str) -> BeautifulSoup:
    return parsed(html / f"{name}.html")


def _words(text: str) -> str:
    """Return letters and digits only: Sphinx writes other quotation marks."""
    return re.sub(r"[\W_]+", " ", text).strip()


@cache
def _text(folder: Path, name: str) -> str:
    cells = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_no_notebook_shows_raw_markup_an_open_answer_or_a_dead_link(lab: Path, html: Path) -> None:
    """See notebook_faults.py for what counts."""
    faults = scan(lab, html)
    assert not faults, "\n".join(["", *faults])


def test_every_page_with_code_is_a_notebook(lab: Path) -> None:
    """With the first page, and what chapters refer to."""
    there = {path.relative_to(lab).with_suffix("").as_posix() for path in lab.rglob("*.ipynb")}
    assert there == {*NAMES, learner.START, *learner.WORDS}


@pytest.mark.parametrize("name", NAMES)
def test_formulas_have_the_numbers_of_the_page(lab: Path, html: Path, name: str) -> None:
    """And their places, so that a reference leads there."""
    page = {
        str(formula["id"]): re.search(r"[\d.]+", formula.select_one(".eqno").text)[0]
        for formula in _page(html, name).select("div.math[id]")
    }
    found = re.findall(
        r'<a id="(equation-[^"]+)"></a>\n\n\$\$\n(?:(?!\$\$).)*\\tag\{([\d.]+)\}\n\$\$',
        _text(lab, name),
        re.DOTALL,
    )
    assert dict(found) == page


@pytest.mark.parametrize("name", NAMES)
def test_figures_have_their_numbers_captions_and_a_description(
    lab: Path, html: Path, name: str
) -> None:
    """The caption is that of the page, word by word where it has no formulas and links."""
    text = _text(lab, name)
    for figure in _page(html, name).select("figure[id]"):
        number = re.search(r"[\d.]+\d", figure.select_one(".caption-number").text)[0]
        place = f'<a id="{figure["id"]}"></a>**Figure {number}.**'
        assert text.count(place) == 1, figure["id"]
        words = copy(figure.select_one(".caption-text"))
        for extra in words.select(".math, a"):
            extra.replace_with("\0")
        caption = _words(text.split(place)[1].split("<details>")[0])
        assert [part for part in words.text.split("\0") if _words(part) not in caption] == []
        assert text.split(place)[1].split("</summary>")[1].split("</details>")[0].strip()


@pytest.mark.parametrize("name", NAMES)
def test_values_stand_where_the_page_has_them(lab: Path, html: Path, name: str) -> None:
    """In the same order."""
    text = _text(lab, name)
    at = 0
    for value in _page(html, name).select(".pasted-text"):
        at = text.find(value.text, at)
        assert at >= 0, value.text
        at += len(value.text)


@pytest.mark.parametrize("name", NAMES)
def test_answers_and_hints_are_closed_and_none_is_lost(lab: Path, html: Path, name: str) -> None:
    """As many folds as on the page, with the same words on them."""
    summaries = re.findall(r"<details><summary>([^<]*)</summary>", _text(lab, name))
    folds = [fold for fold in summaries if fold != "The figure in words"]
    on_page = [
        " ".join(fold.summary.text.split())
        for fold in _page(html, name).select("details.sd-dropdown")
    ]
    assert folds == on_page


@pytest.mark.parametrize("name", NAMES)
def test_code_and_outputs_are_those_of_the_book(lab: Path, name: str) -> None:
    """But for what hands values to the text; outputs to the letter."""
    source = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    ours = {c.id: c for c in nbformat.read(lab / f"{name}.ipynb", 4).cells if c.cell_type == "code"}
    for cell in source.cells:
        if cell.cell_type != "code":
            continue
        shown = [o for o in cell.outputs if "scrapbook" not in o.get("metadata", ())]
        if cell.id not in ours:
            assert not shown
            continue
        mine = ours[cell.id]
        assert [o.get("data", o.get("text")) for o in mine.outputs] == [
            o.get("data", o.get("text")) for o in shown
        ]
        added = ("# The code of", "exercises.keep_progress(", "from course_lib import exercises")
        lines = [line for line in mine.source.split("\n") if line not in cell.source]
        assert [line for line in lines if not line.startswith(added)] == []
        hidden = bool({"hide-input", "remove-cell"} & set(cell.metadata.get("tags", ())))
        assert mine.metadata.get("jupyter", {}).get("source_hidden", False) is hidden
        assert mine.metadata.get("exercise") == cell.metadata.get("exercise")


def test_counts_are_those_of_a_run_from_top_to_bottom(lab: Path) -> None:
    """So that nobody wonders which cells were left out."""
    for path in lab.rglob("*.ipynb"):
        code = [
            cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
        ]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_what_is_solved_in_a_chapter_is_kept_and_told_and_in_solutions_not(lab: Path) -> None:
    """A solution passes its check, too: that is nobody's progress."""
    for name in NAMES:
        cells = nbformat.read(lab / f"{name}.ipynb", as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        keeps = [i for i, cell in enumerate(code) if "keep_progress(" in cell.source]
        tells = [i for i, cell in enumerate(code) if "show_progress(" in cell.source]
        if name.startswith("chapters/"):
            assert (keeps, tells) == ([0], [len(code) - 1]), name
            of = len([cell for cell in code if "exercise" in cell.metadata])
            assert f"Solved in this chapter: 0 of {of}." in code[-1].outputs[0].text
        else:
            assert keeps == tells == []


def test_the_way_back_and_the_solutions_are_one_click_away(lab: Path, html: Path) -> None:
    """Under the title of each notebook, and at each exercise."""
    for name in NAMES:
        first = nbformat.read(lab / f"{name}.ipynb", as_version=4).cells[0].source.split("\n")[2]
        assert f"](/book/{name}.html)" in first
        assert "](../START_HERE.ipynb)" in first
        for label in re.findall(r'<a id="ex-([^"]+)"></a>', _text(lab, name)):
            chapter = name.partition("/")[2]
            assert f"(../solutions/{chapter}.ipynb#sol-{label})" in _text(lab, name)
            assert f"sol-{label}" in anchors(lab / "solutions" / f"{chapter}.ipynb")


# Editions


PUBLISHED = {"repository": {"url": "https://github.com/somebody/course", "branch": "main"}}


def _edition(html: Path, edition: str, *, published: bool) -> learner.Edition:
    config = PUBLISHED if published else {"repository": {"url": ""}}
    return learner.Edition(edition, html.parent, config)


def _source(name: str) -> list[nbformat.NotebookNode]:
    cells: list[nbformat.NotebookNode] = nbformat.read(BOOK / f"{name}.ipynb", 4).cells
    return cells


def test_in_the_lab_a_figure_that_moves_is_a_frame_and_elsewhere_a_picture(html: Path) -> None:
    """A code host takes frames out."""
    name = "chapters/neurons"
    by_edition = {
        edition: _edition(html, edition, published=True).notebook(name, _source(name))
        for edition in learner.EDITIONS
    }
    texts = {edition: str(found) for edition, found in by_edition.items()}
    assert '<iframe src="/book/figures/neuron.html"' in texts["lab"]
    for edition in ("web", "colab"):
        assert "iframe" not in texts[edition]
        assert (
            "https://somebody.github.io/course/chapters/neurons.html#fig-interactive-neuron"
            in (texts[edition])
        )


def test_only_the_edition_for_colab_installs(html: Path) -> None:
    """From the address that is set; after the title, folded."""
    name = "chapters/neurons"
    for edition in learner.EDITIONS:
        cells = _edition(html, edition, published=True).notebook(name, _source(name)).cells
        installs = [i for i, cell in enumerate(cells) if "git" in cell.source.split('"')]
        assert installs == ([1] if edition == "colab" else [])
    assert '"https://github.com/somebody/course"' in cells[1].source
    assert cells[1].metadata.jupyter.source_hidden


def test_without_an_address_nothing_pretends_to_have_one(html: Path) -> None:
    """What has no notebook is then named without a link."""
    web = _edition(html, "web", published=False)
    for name in NAMES:
        cells = web.notebook(name, _source(name)).cells
        found = [
            link for cell in cells if cell.cell_type == "markdown" for link in links(cell.source)
        ]
        assert [link for link in found if link.startswith("/") or "github.io" in link] == []
    assert web.link("chapters/neurons", "reference/errata.html#erratum-12") is None


def test_an_unknown_edition_is_refused_by_name(html: Path) -> None:
    """With the ones that there are."""
    with pytest.raises(ValueError, match=r"no edition 'vscode', only lab, web, colab"):
        learner.Edition("vscode", html.parent)


def test_without_a_built_book_it_says_what_to_do(tmp_path: Path) -> None:
    """The numbers are not known before."""
    with pytest.raises(FileNotFoundError, match="make book"):
        learner.write(tmp_path / "out", "lab", tmp_path)


# The scan can fail


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("see {eq}`eq-a`", "a role"),
        ("so {glue:text}`x` it is", "a role"),
        (":::{admonition} Title\ntext\n:::", "a directive"),
        ("```{interactive} neuron\n```", "a directive"),
        ("(a-label)=\n## Title", "a label"),
        ("$$\nx\n$$ (eq-a)", "the label of a formula"),
        ("<details open><summary>Answer</summary>\n\n3\n\n</details>", "a fold is open"),
        ("<details><summary>Answer</summary>\n\n3", "does not end"),
        ("a glue:text is left", "a name for a value"),
    ],
)
def test_the_scan_finds_a_planted_fault(source: str, fault: str) -> None:
    """Each kind that was in the notebooks once."""
    assert any(fault in found for found in text_faults(source))


def test_the_scan_lets_code_and_formulas_pass() -> None:
    """Braces there are no roles."""
    text = "Write `{eq}` so: $\\{x\\}$ and\n\n```python\nprint(f'{x}')\n(a)=\n```\n"
    assert text_faults(text) == []


def test_the_scan_finds_dead_links_and_code_of_the_book(tmp_path: Path, html: Path) -> None:
    """A file, a place in a notebook, a place in the book."""
    text = "[a](b.ipynb) [b](#nowhere) [c](/book/index.html#nowhere) ![d](/book/none.png) [e](#yes)"
    cells = [
        nbformat.v4.new_markdown_cell(f'<a id="yes"></a>{text}'),
        nbformat.v4.new_code_cell("glue('x', 1)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    faults = scan(tmp_path, html)
    assert len(faults) == 5
    assert code_faults(cells[1]) == ["code has 'glue'"]
