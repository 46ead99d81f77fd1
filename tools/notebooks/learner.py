"""Writes the learner's notebooks: the chapters, their solutions and a first page, made to be run.

They are made of the notebooks of the book, which stay the only source, and of what Sphinx found out
about them when it built the book: plain Markdown and a little HTML, the numbers of formulas and
figures, links that work, closed folds, drawing code folded. Three editions differ in where links to
pages lead that are no notebooks, and in how an interactive figure is shown:

- ``lab`` is for `make lab`, which serves the book under ``/book/`` beside the notebooks
- ``web`` is for where only the published book is at hand: a figure that moves is a picture
- ``colab`` is ``web`` with a cell that installs the course
"""

from __future__ import annotations

import argparse
import json
import os
import struct
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup, Tag

from tools.book_source import BOOK, ROOT, address, chapters, notebooks, settings
from tools.notebooks import start_here
from tools.notebooks.cells import code_cell, glued, is_glued, is_needed, keep_progress
from tools.notebooks.markup import Figure, Page, anchor, blocks, folded, prose
from tools.notebooks.without_glue import without_glue

BUILT = BOOK / "_build"
TARGET = ROOT / "notebooks"
EDITIONS = ("lab", "web", "colab")
# The server of `make lab` has the book here. JupyterLab leaves an address that begins with a
# slash as it is, so it holds for every port.
LAB_BOOK = "/book/"
# Pages without code that chapters refer to, and that are notebooks here.
WORDS = ("reference/glossary", "reference/notation")
START = "START_HERE"
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
# In a box: IPython warns of an HTML output that is a frame and nothing else.
_FRAME = (
    '<div><iframe src="{address}" title="Interactive figure" '
    'style="width: 100%; height: {height}px; border: 0"></iframe></div>'
)
# Its picture says how high a figure is, when it is 720 pixels wide; then comes the caption.
_WIDTH, _CAPTION = 720, 150

# Colab has a folder of its own for each notebook: the course is fetched whole, since some chapters
# read files beside the package. One word a line, so that a long address is no long line.
_INSTALL = """# Colab starts without the course: fetch and install it. Takes about a minute.
import importlib.util
import os
import subprocess

if importlib.util.find_spec("course_lib") is None:
    source = [
        "--branch",
        "{branch}",
        "{repository}",
        "course",
    ]
    subprocess.run(["git", "clone", "-q", "--depth", "1", *source], check=True)
    os.chdir("course/colab/{folder}")
    get_ipython().run_line_magic("pip", "install -q '../..[notebooks]'")"""


class Edition:
    """All notebooks of one edition.

    Parameters
    ----------
    edition : str
        One of ``EDITIONS``.
    built : Path
        The folder with the built book and what Sphinx wrote beside it.
    config : dict, optional
        The settings of the book.
    """

    def __init__(
        self, edition: str, built: Path = BUILT, config: dict[str, Any] | None = None
    ) -> None:
        if edition not in EDITIONS:
            raise ValueError(f"no edition {edition!r}, only {', '.join(EDITIONS)}")
        self.edition = edition
        self.built = built
        self.config = settings() if config is None else config
        self.book = LAB_BOOK if edition == "lab" else address.site(self.config)
        self.sources = {path.relative_to(BOOK).with_suffix("").as_posix() for path in notebooks()}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What Sphinx wrote down: mentions, and the numbers of equations and figures."""
        file = self.built / "mentions.json"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: build the book first, with `make book`")
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found

    @cached_property
    def bibliography(self) -> dict[str, str]:
        """The source behind each anchor of the bibliography, as Markdown."""
        html = (self.built / "html" / "reference" / "bibliography.html").read_text("utf-8")
        soup = BeautifulSoup(html, "html.parser")
        return {
            str(entry["id"]): _inline(entry.p) for entry in soup.select("div.citation") if entry.p
        }

    def link(self, page: str, target: str) -> str | None:
        """Return the address, in the notebook of ``page``, of a place in the book."""
        path, _, place = target.partition("#")
        name = path.removesuffix(".html")
        if "://" in target:
            return target
        if name == "reference/bibliography" and place:
            return f"#source-{place}"
        if name in self.sources or name in WORDS:
            there = "" if name == page else os.path.relpath(f"{name}.ipynb", Path(page).parent)
            return f"{there}#{place}" if place else there or f"{Path(name).name}.ipynb"
        return f"{self.book}{target}" if self.book else None

    def page(self, name: str, glued: dict[str, str]) -> Page:
        """Return what the converter has to know of a page."""

        def own(kind: str) -> dict[str, str]:
            there = self.facts[kind].items()
            return {at.partition("#")[2]: n for at, n in there if at.startswith(f"{name}#")}

        return Page(
            mentions=self.facts["mentions"][name],
            equations=own("equations"),
            figures=own("figures"),
            glued=glued,
            link=lambda target: self.link(name, target),
            folder=(BOOK / name).parent,
        )

    def files(self) -> dict[str, nbformat.NotebookNode]:
        """Return all notebooks by their names, such as ``chapters/losses``."""
        found = {START: self._start()}
        for name in sorted(self.sources):
            source = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
            found[name] = self.notebook(name, source.cells)
        for name in WORDS:
            text = (BOOK / f"{name}.md").read_text("utf-8")
            first, *sections = text.split("\n## ")
            cells = [first]
            for section in sections:
                title = section.partition("\n")[0].strip()
                cells.append(f"{anchor(title.lower().replace(' ', '-'))}\n\n## {section}")
            found[name] = self.notebook(
                name, [nbformat.v4.new_markdown_cell(cell.strip()) for cell in cells]
            )
        return found

    def _start(self) -> nbformat.NotebookNode:
        return _notebook(START, start_here.cells(self.book, self.edition))

    def notebook(self, name: str, source: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
        """Return one notebook, made of the cells of its page."""
        page = self.page(name, glued(source))
        cells: list[nbformat.NotebookNode] = []
        for position, cell in enumerate(source):
            if cell.cell_type == "markdown":
                cells += self._text(name, cell, page)
            elif cell.cell_type == "code":
                cells += self._code(cell, source[position + 1 :], page)
        title, _, rest = cells[0].source.partition("\n")
        cells[0].source = f"{title}\n\n{self._way_back(name)}\n{rest}".rstrip()
        if self.edition == "colab" and any(cell.cell_type == "code" for cell in cells):
            cells.insert(1, self._installer(name))
        if name.startswith("chapters/"):
            keep_progress(cells, Path(name).name)
        cells += self._sources(cells)
        return _notebook(name, cells)

    def _way_back(self, name: str) -> str:
        up = "../"
        links = [f"[All notebooks]({up}{START}.ipynb)"]
        if self.book:
            links.insert(0, f"[This page in the book]({self.book}{name}.html)")
        folder, _, stem = name.partition("/")
        if folder == "chapters":
            count = chapters(BOOK)
            links.insert(0, f"Chapter {count[stem]} of {len(count)}")
            links.append(f"[Solutions]({up}solutions/{stem}.ipynb)")
        elif folder == "solutions":
            links.append(f"[The chapter]({up}chapters/{stem}.ipynb)")
        return " · ".join(links)

    def _installer(self, name: str) -> nbformat.NotebookNode:
        text = _INSTALL.format(
            repository=address.repository(self.config),
            branch=address.NOTEBOOKS_BRANCH,
            folder=Path(name).parent.as_posix(),
        )
        return code_cell(text, "install", hidden=True)

    def _text(
        self, name: str, cell: nbformat.NotebookNode, page: Page
    ) -> list[nbformat.NotebookNode]:
        cells = []
        for piece in blocks(cell.source, page):
            number = f"-{len(cells)}" if cells else ""
            if isinstance(piece, Figure):
                cells += self._interactive(name, piece, page)
            else:
                cells.append(nbformat.v4.new_markdown_cell(piece, id=f"{cell.id}{number}"))
        return cells

    def _interactive(self, name: str, figure: Figure, page: Page) -> list[nbformat.NotebookNode]:
        """Return the cells of a figure that moves: the figure, or its picture, and the caption."""
        label = figure.label
        lines = [_caption(label, figure.caption, figure.alt, page)]
        cells = []
        if self.edition == "lab":
            address = f"{self.book}figures/{figure.name}.html"
            frame = _FRAME.format(address=address, height=_height(_picture(figure.name)))
            code = (
                f"# The interactive figure {page.figures[label]}\n"
                "from IPython.display import HTML\n\n"
                f"HTML('{frame}')"
            )
            data = {"text/html": frame, "text/plain": "<IPython.core.display.HTML object>"}
            shown = nbformat.v4.new_output("execute_result", data, execution_count=0)
            cells.append(code_cell(code, label, hidden=True, outputs=[shown]))
        else:
            there = os.path.relpath(f"pictures/{figure.name}.png", Path(name).parent)
            lines.insert(0, f"![{figure.alt}]({there})\n")
            if self.book:
                lines.append(f"\n[Move it, on its page]({self.book}{name}.html#{label})")
        cells.append(nbformat.v4.new_markdown_cell("\n".join(lines), id=f"{label}-caption"))
        return cells

    def _code(
        self, cell: nbformat.NotebookNode, later: list[nbformat.NotebookNode], page: Page
    ) -> list[nbformat.NotebookNode]:
        source = without_glue(cell.source)
        outputs = [output for output in cell.outputs if not is_glued(output)]
        tags = cell.metadata.get("tags", [])
        folded = "hide-input" in tags or "remove-cell" in tags
        if not outputs and not is_needed(source, folded or source != cell.source, later):
            return []
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        label = figure.get("name", "")
        if label and folded:
            source = f"# The code of figure {page.figures[label]}\n{source}"
        new = code_cell(source, cell.id, hidden=folded, outputs=outputs)
        if "exercise" in cell.metadata:
            new.metadata["exercise"] = cell.metadata["exercise"]
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if not label:
            return [new]
        text = _caption(label, prose(figure["caption"], page), alt, page)
        return [new, nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-caption"[:64])]

    def _sources(self, cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
        """Return a cell with the sources that a notebook cites, as its links call them."""
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        cited = {name for name in self.bibliography if f"(#source-{name})" in text}
        if not cited:
            return []
        entries = sorted((self.bibliography[name], name) for name in cited)
        lines = [f"- {anchor(f'source-{name}')}{entry}" for entry, name in entries]
        return [nbformat.v4.new_markdown_cell("## Sources\n\n" + "\n".join(lines), id="sources")]


def _picture(figure: str) -> Path:
    return BOOK / "_static" / "interactive" / "snapshots" / f"{figure}.png"


def _height(picture: Path) -> int:
    """Return how many pixels a frame needs for the figure of a picture, or about so many."""
    if not picture.is_file():  # of a new figure: the picture is taken from the built page
        return _WIDTH
    width, height = struct.unpack(">2I", picture.read_bytes()[16:24])
    return round(_WIDTH * height / width) + _CAPTION


def _caption(label: str, caption: str, alt: str, page: Page) -> str:
    text = f"{anchor(label)}**Figure {page.figures[label]}.** {caption}"
    return f"{text}\n\n{folded('The figure in words', alt)}"


def _inline(tag: Tag) -> str:
    """Return the text of a source as Markdown."""
    text = ""
    for child in tag.children:
        inside = _inline(child) if isinstance(child, Tag) else str(child)
        if isinstance(child, Tag) and child.name == "a":
            inside = f"[{inside}]({child['href']})"
        elif isinstance(child, Tag) and child.name == "em":
            inside = f"*{inside}*"
        text += inside
    return " ".join(text.split())


def _notebook(name: str, cells: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    """Number the cells as if they had been run in their order, and make one notebook of them."""
    ran = (cell for cell in cells if cell.cell_type == "code")
    for number, cell in enumerate(ran, start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    for number, cell in enumerate(cells):
        if name in WORDS:
            cell.id = f"{Path(name).name}-{number}"
    found = nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)
    nbformat.validate(found)
    return found


def write(
    target: Path, edition: str = "lab", built: Path = BUILT, config: dict[str, Any] | None = None
) -> list[Path]:
    """Write all notebooks of an edition, and the pictures that they show.

    Returns
    -------
    list of Path
        The files written, from the folder ``target``.
    """
    written = []
    for name, notebook in Edition(edition, built, config).files().items():
        path = target / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        written.append(path.relative_to(target))
    if edition != "lab":
        (target / "pictures").mkdir(parents=True, exist_ok=True)
        for picture in sorted(_picture("x").parent.glob("*.png")):
            copy = target / "pictures" / picture.name
            copy.write_bytes(picture.read_bytes())
            written.append(copy.relative_to(target))
    return written


def main() -> None:
    """Write the notebooks and say where."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--edition", choices=EDITIONS, default="lab")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    print(f"{len(write(options.out, options.edition))} files in {options.out}")


if __name__ == "__main__":
    main()
