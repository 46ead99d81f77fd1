"""The first notebook that a learner sees: what to do, and where everything is."""

from __future__ import annotations

import nbformat

from tools.book_source import BOOK, chapters, pages, title

_WELCOME = """# Start here

These notebooks are yours: change what you like, run what you like. {kept}

**To run a cell**, click on it and press Shift and Enter together. Try it with the next one, a
neuron with the weights 2 and −1 and the bias −1, which is given the numbers 3 and 4:"""

_KEPT = {
    "lab": "What you type is kept when you come back, also after a new version of the course.",
    "web": "The originals stay where they came from.",
    "colab": "To keep what you type, save a copy: *File*, *Save a copy in Drive*.",
}

_WORKED = """If it says `1.0`, all is well. If it does not, type `!course-lib doctor` into an empty
cell and run that: it says what is missing.

## How a chapter works

- Run its cells from the top, one after the other. Later cells need the earlier ones.
- Code that only draws a figure is folded. Click on the three dots to see it.
- A chapter ends in **exercises**. Write your answer into the cell and run it: it says "passed", or
  names what went wrong and gives a hint. Hints and solutions are there, folded, when you want them.
- Something is in a tangle? *Kernel*, *Restart Kernel*, and run from the top again.

{book}## The chapters

{chapters}

Words are explained in the [glossary](reference/glossary.ipynb), symbols in the
[notation](reference/notation.ipynb)."""

_BOOK = """The same pages, with search and the description of every function, are
[the book]({book}index.html).

"""


def cells(book: str, edition: str) -> list[nbformat.NotebookNode]:
    """Return the cells of the notebook.

    Parameters
    ----------
    book : str
        The address of the book, or an empty text.
    edition : str
        One of ``learner.EDITIONS``.
    """
    text = _WORKED.format(book=_BOOK.format(book=book) if book else "", chapters=_contents())
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "1.0"}, execution_count=0)
    return [
        nbformat.v4.new_markdown_cell(_WELCOME.format(kept=_KEPT[edition]), id="welcome"),
        nbformat.v4.new_code_cell(
            "from course_lib import Neuron\n\nNeuron([2.0, -1.0], bias=-1.0)([3.0, 4.0])",
            id="first-cell",
            outputs=[shown],
        ),
        nbformat.v4.new_markdown_cell(text, id="contents"),
    ]


def _contents() -> str:
    """Return the list of the chapters by parts, each with its link."""
    numbers = chapters(BOOK)
    lines = []
    for page in pages(BOOK):
        if not page.name.startswith("chapters/"):
            continue
        if page.part:
            lines.append(f"\n**{page.part}**\n")
        link = f"[{title(BOOK, page.stem)}]({page.name}.ipynb)"
        lines.append(f"{numbers[page.stem]}. {link}")
    return "\n".join(lines).strip()
