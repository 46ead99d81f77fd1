"""Writes the first cells of every notebook: the page that it is, and what installs course_lib.

To be run (`make heads`) after a notebook was added, chapters changed places in book/_toc.yml or the
address in book/_config.yml was changed; a test compares what this would write with what is there.
The cells stand after the title. The book leaves them out (tag "remove-cell"); they are for who
opens the notebook elsewhere, as on Colab.
The notebooks are not run again: the installing cell prints nothing where course_lib is installed,
so the cells after it only count one more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from tools.book_source import BOOK, chapters, notebooks, settings

PAGE, INSTALL = "head-page", "head-install"
REMOVED = {"tags": ["remove-cell"]}

_PAGE = """This notebook {what} *{title}*.
[Read it as a page of the book]({address}):
there the formulas have numbers and the links lead on."""

# `../..` is the project's folder for who has it on the disk. Elsewhere it is fetched whole: some
# chapters read files beside the package, such as measurements. One word a line: however long
# the address, the formatter leaves that as it is.
_INSTALL = """# Installs course_lib where it is missing, as on Colab; elsewhere it does nothing.
import importlib.util
import os
import subprocess
from pathlib import Path

if importlib.util.find_spec("course_lib") is None:
    if not Path("../../course_lib").is_dir():
        source = [
            "--branch",
            "{branch}",
            "{repository}",
            "course",
        ]
        subprocess.run(["git", "clone", "--depth", "1", *source], check=True)
        os.chdir("course/book/chapters")
    get_ipython().run_line_magic("pip", "install -q '../..[notebooks]'")"""


def site(config: dict[str, Any]) -> str:
    """Return where the book is read: ``html: baseurl:``, else the GitHub pages of the repository.

    Examples
    --------
    >>> site({"repository": {"url": "https://github.com/me/course"}})
    'https://me.github.io/course/'
    """
    base = config.get("html", {}).get("baseurl", "")
    if not base:
        owner, name = config["repository"]["url"].rstrip("/").split("/")[-2:]
        base = f"https://{owner}.github.io/{name}"
    return str(base).rstrip("/") + "/"


def sources(path: Path, config: dict[str, Any]) -> dict[str, str]:
    """Return the text of the head's two cells, by their ids.

    Parameters
    ----------
    path : Path
        The notebook, from the folder of the book: ``chapters/activations.ipynb``.
    config : dict
        The settings of the book.
    """
    chapter = f"chapter {chapters(BOOK).get(path.stem)} of"
    what = {
        "chapters": f"is {chapter}",
        "solutions": f"has the solutions of {chapter}",
    }.get(path.parent.name, "is a page of")
    address = site(config) + path.with_suffix(".html").as_posix()
    repository = config["repository"]
    return {
        PAGE: _PAGE.format(what=what, title=config["title"], address=address),
        INSTALL: _INSTALL.format(
            repository=repository["url"].rstrip("/"), branch=repository["branch"]
        ),
    }


def write_head(notebook: Any, texts: dict[str, str]) -> None:
    """Put the two cells behind the title, or renew them; what is behind them counts one more.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Changed in place.
    texts : dict of str
        What :func:`sources` returns.
    """
    there = {cell.id: cell for cell in notebook.cells}
    if INSTALL not in there:
        for cell in notebook.cells:
            for counted in (cell, *cell.get("outputs", ())):
                if counted.get("execution_count"):
                    counted.execution_count += 1
    new_cells = (
        nbformat.v4.new_markdown_cell(texts[PAGE], id=PAGE, metadata=REMOVED),
        nbformat.v4.new_code_cell(texts[INSTALL], id=INSTALL, metadata=REMOVED, execution_count=1),
    )
    rest = [cell for cell in notebook.cells if cell.id not in (PAGE, INSTALL)]
    notebook.cells = [*rest[:1], *new_cells, *rest[1:]]


def main() -> None:
    """Write the heads of all notebooks, one at a time."""
    config = settings()
    for path in notebooks():
        before = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(before, as_version=4)
        write_head(notebook, sources(path.relative_to(BOOK), config))
        after = nbformat.writes(notebook) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
