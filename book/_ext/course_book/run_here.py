"""A button on each page that is a notebook, and at each exercise: run it, at this very place.

A page that is only read cannot run anything, so the button opens a box that says how. Where the
server of `make lab` shows the page, its script turns the button into a link to the notebook
(``tools/lab/page.js``). The starter of an exercise prints nothing but "not yet": that output stays
in the notebook, and the page has the button instead.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes

from .address import launchers, repository
from .contents import exercise_anchor
from .identity import settings

BOX = "run-here"
_WORDS = {"chapters": "Run this chapter", "solutions": "Run these solutions"}


class run_here(nodes.General, nodes.Element):
    """A button, with the notebook and the cell that it leads to; the one of a page has the box."""


def button(text: str, notebook: str, cell: str = "", exercise: str = "") -> str:
    """Return the HTML of a button; it opens the box without any script."""
    data = {"notebook": notebook, "cell": cell, "exercise": exercise}
    given = "".join(f' data-{key}="{escape(value)}"' for key, value in data.items() if value)
    return f'<button type="button" class="run-here" popovertarget="{BOX}"{given}>{text}</button>'


def box(repository: str, launchers: dict[str, str]) -> str:
    """Return the HTML of the box that says how a page is run.

    Parameters
    ----------
    repository : str
        Where the project is, or an empty text.
    launchers : dict of str to str
        Addresses that open the notebook elsewhere, by their names.

    Examples
    --------
    >>> "Without installing" in box("", {})
    False
    >>> "Without installing anything: <a" in box("", {"Colab": "x"})
    True
    """
    there = f'<a href="{escape(repository)}">The folder is here.</a>' if repository else ""
    online = " or ".join(f'<a href="{escape(url)}">{name}</a>' for name, url in launchers.items())
    return (
        f'<div id="{BOX}" popover role="dialog" aria-labelledby="{BOX}-title">'
        f'<p id="{BOX}-title">Run it on your machine</p>'
        "<p>In the folder of the course, type</p><p><code>make lab</code></p>"
        "<p>It opens the notebooks in JupyterLab, and this book with them. There this button leads "
        f"to this very place in the notebook. It needs make and Python 3.11 or newer. {there}</p>"
        + (f"<p>Without installing anything: {online}.</p>" if online else "")
        + f'<button type="button" popovertarget="{BOX}" popovertargetaction="hide" autofocus>'
        "Close</button></div>"
    )


def _place(app: Any, doctree: Any) -> None:
    """Put the buttons into a page that is a notebook."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    notebook = f"{app.env.docname}.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    title = next(iter(doctree.findall(nodes.title)))
    after = title.parent.index(title) + 1
    if "times" in title.parent[after].get("classes", ()):
        after += 1
    words = _WORDS.get(app.env.docname.partition("/")[0], "Run this page")
    title.parent.insert(after, run_here(text=words, notebook=notebook))
    for node in list(doctree.findall(nodes.container)):
        exercise = node.get("cell_metadata", {}).get("exercise")
        if node.get("nb_element") == "cell_code" and exercise:
            for output in [part for part in node if part.get("nb_element") == "cell_code_output"]:
                node.remove(output)
            node += run_here(
                text="Run this exercise",
                notebook=notebook,
                cell=cells[node["cell_index"]]["id"],
                exercise=exercise_anchor(exercise),
            )


def _html(self: Any, node: nodes.Element) -> None:
    if self.builder.name == "epub":
        raise nodes.SkipNode
    made = button(*(node.get(key, "") for key in ("text", "notebook", "cell", "exercise")))
    if "cell" in node:
        self.body.append(f'<div class="run-here-place">{made}</div>')
    else:
        config = settings(self.builder.config)
        links = launchers(config, node["notebook"].removesuffix(".ipynb"))
        count = '<span class="run-here-count" role="status"></span>'
        made += f"{count}{box(repository(config), links)}"
        self.body.append(f'<div class="run-here-place top">{made}</div>')
    raise nodes.SkipNode


def _nothing(self: Any, node: nodes.Element) -> None:
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Register with Sphinx; on each page after the times were put under its title."""
    nothing = (_nothing, None)
    app.add_node(run_here, html=(_html, None), latex=nothing, text=nothing)
    app.connect("doctree-read", _place, priority=900)
