"""Folded code says what it is: the imports above, the code of a figure below the figure.

In a notebook such a cell has the tag ``hide-input``. What myst-nb makes of it is called "Show code
cell source" wherever it stands.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.transforms.post_transforms import SphinxPostTransform

IMPORTS = ("Imports", "Hide the imports")
FIGURE = ("Code of this figure", "Hide the code of this figure")
OTHER = ("Show the code", "Hide the code")


def arrange(cell: nodes.Element, *, first: bool) -> None:
    """Name the fold of a cell, and put it below the output if that is a figure.

    Parameters
    ----------
    cell : Element
        A cell of a notebook, as myst-nb has wrapped it.
    first : bool
        Whether it is the first one on its page.
    """
    for fold in [child for child in cell.children if isinstance(child, HideCodeCellNode)]:
        if "above-input" not in fold["classes"]:
            continue
        shows = any(next(output.findall(nodes.image), None) is not None for output in cell)
        fold["prompt_show"], fold["prompt_hide"] = (
            FIGURE if shows else IMPORTS if first and len(cell.children) == 1 else OTHER
        )
        if shows:
            fold["classes"] = ["below-figure"]
            cell.remove(fold)
            cell.append(fold)


class Folds(SphinxPostTransform):
    """Arranges the folds of a page; only pages for a browser have any."""

    default_priority = 200  # myst-nb makes them at 199
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Go through the cells."""
        cells = [
            node
            for node in self.document.findall(nodes.container)
            if node.get("nb_element") == "cell_code"
        ]
        for i, cell in enumerate(cells):
            arrange(cell, first=i == 0)


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.add_post_transform(Folds)
