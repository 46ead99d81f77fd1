"""A notebook says which page it is and installs what it needs, wherever it is opened."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
import pytest

from tests.book.book_files import BOOK, pages
from tools.notebooks import heads

CONFIG = heads.settings()
NOTEBOOKS = pages(".ipynb")


def _small() -> nbformat.NotebookNode:
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=2)
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title"),
            nbformat.v4.new_code_cell("a = 1", execution_count=1),
            nbformat.v4.new_code_cell("a + 1", execution_count=2, outputs=[shown]),
            nbformat.v4.new_code_cell("", execution_count=None),
        ]
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_its_head(path: Path) -> None:
    """If not, run ``make heads``: after the title, left out of the book, run, nothing printed."""
    notebook = nbformat.read(path, as_version=4)
    after_title = notebook.cells[1:3]
    texts = heads.sources(path.relative_to(BOOK), CONFIG)
    assert [(cell.id, cell.source) for cell in after_title] == list(texts.items())
    assert all(cell.metadata == heads.REMOVED for cell in after_title)
    assert (after_title[1].execution_count, after_title[1].outputs) == (1, [])


def test_the_head_goes_behind_the_title_and_the_others_count_one_more() -> None:
    """Also in the outputs that repeat the count; a cell that was not run stays so."""
    notebook = _small()
    heads.write_head(notebook, heads.sources(Path("chapters/activations.ipynb"), CONFIG))
    assert [cell.id for cell in notebook.cells[1:3]] == [heads.PAGE, heads.INSTALL]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, None]
    assert code[2].outputs[0].execution_count == 3
    nbformat.validate(notebook)


def test_writing_the_head_again_renews_it() -> None:
    """With another address, and nothing else changes."""
    notebook = _small()
    path = Path("chapters/activations.ipynb")
    heads.write_head(notebook, heads.sources(path, CONFIG))
    before = copy.deepcopy(notebook)
    heads.write_head(notebook, heads.sources(path, CONFIG))
    assert [c.source for c in notebook.cells] == [c.source for c in before.cells]
    moved = {**CONFIG, "repository": {"url": "https://github.com/me/mine", "branch": "spring"}}
    heads.write_head(notebook, heads.sources(path, moved))
    assert "https://me.github.io/mine/chapters/activations.html" in notebook.cells[1].source
    words = ("--branch", "spring", "https://github.com/me/mine", "course")
    assert "".join(f'{12 * " "}"{word}",\n' for word in words) in notebook.cells[2].source
    assert [c.get("execution_count") for c in notebook.cells] == [
        c.get("execution_count") for c in before.cells
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("chapters/activations.ipynb", "This notebook is chapter 5 of *"),
        ("solutions/data_parallel.ipynb", "This notebook has the solutions of chapter 20 of *"),
        ("reference/faq.ipynb", "This notebook is a page of *"),
    ],
)
def test_the_head_says_which_page_it_is(path: str, said: str) -> None:
    """By the place of the chapter in the table of contents."""
    assert heads.sources(Path(path), CONFIG)[heads.PAGE].startswith(said)


def test_where_the_book_is_read_can_be_set() -> None:
    """``html: baseurl:`` goes before the guess."""
    repository = {"url": "https://github.com/me/mine/", "branch": "main"}
    assert heads.site({"repository": repository}) == "https://me.github.io/mine/"
    set_by_hand = {"repository": repository, "html": {"baseurl": "https://example.org/nn"}}
    assert heads.site(set_by_hand) == "https://example.org/nn/"


def test_the_installing_cell_does_nothing_where_the_course_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It calls no ``get_ipython``, which does not exist here."""
    exec(heads.sources(Path("chapters/activations.ipynb"), CONFIG)[heads.INSTALL], {})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("at_hand", [True, False])
def test_the_installing_cell_installs_where_the_course_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_hand: bool
) -> None:
    """From the folder of the project: the one it lies in, otherwise one that is fetched."""
    project = tmp_path if at_hand else tmp_path / "elsewhere" / "course"
    (project / "book" / "chapters").mkdir(parents=True)
    (project / "course_lib").mkdir()
    start = project / "book" / "chapters" if at_hand else tmp_path / "elsewhere"
    monkeypatch.chdir(start)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    typed: list[object] = []
    monkeypatch.setattr("subprocess.run", lambda line, check: typed.append((*line, check)))

    class Shell:
        def run_line_magic(self, name: str, line: str) -> None:
            typed.append((name, line))

    source = heads.sources(Path("chapters/activations.ipynb"), CONFIG)[heads.INSTALL]
    exec(source, {"get_ipython": Shell})
    url, branch = CONFIG["repository"]["url"], CONFIG["repository"]["branch"]
    clone = ("git", "clone", "--depth", "1", "--branch", branch, url, "course", True)
    install = ("pip", "install -q '../..[notebooks]'")
    assert typed == ([install] if at_hand else [clone, install])
    assert Path.cwd() == project / "book" / "chapters"


def test_the_address_of_the_repository_is_written_once(root: Path) -> None:
    """In book/_config.yml, and in the heads of the notebooks that are made from it."""
    url = CONFIG["repository"]["url"]
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", url)
    kinds = {".py", ".md", ".yml", ".yaml", ".toml", ".cff", ".json", ".txt", ""}
    named = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.suffix in kinds
        and not any(
            part in {".git", "_build", "build", ".mypy_cache"} or part.startswith(".venv")
            for part in path.relative_to(root).parts[:-1]
        )
        and f"github.com/{url.split('/')[3]}" in path.read_text("utf-8", errors="ignore")
    ]
    assert named == ["book/_config.yml"]
