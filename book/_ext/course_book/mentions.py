"""Writes down where each mention of a page leads, for who writes the pages in another form.

A mention is a role such as ``{eq}`eq-mse```; what it shows and where it leads is known only when
all pages are read. The learner's notebooks (``tools/notebooks/learner.py``) are made of the same
text, and find there what Sphinx made of it, together with the numbers of equations and figures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from sphinx.addnodes import pending_xref

FILE = "mentions.json"


class mention(nodes.Inline, nodes.TextElement):
    """Holds a role's node until it is resolved; gone before a page is written."""


def _mark(app: Any, doctree: Any) -> None:
    for node in list(doctree.findall(pending_xref)):
        if node.rawsource.startswith(":"):
            place = mention(role=" ".join(node.rawsource.split()))
            node.replace_self(place)
            place += node


def markdown(node: nodes.Node) -> str:
    """Return the text of an inline node as Markdown."""
    if isinstance(node, nodes.Text):
        return str(node)
    text = "".join(map(markdown, node.children))
    for kind, sign in ((nodes.literal, "`"), (nodes.math, "$"), (nodes.emphasis, "*")):
        if isinstance(node, kind):
            return f"{sign}{text}{sign}"
    return text


def parts(node: nodes.Element, page: str) -> list[tuple[str, str]]:
    """Return what stands in a resolved mention: texts, each with its target or an empty one.

    Parameters
    ----------
    node : docutils.nodes.Element
        Its children are references and text.
    page : str
        The page it stands on, where a target such as ``#equation-eq-mse`` lies.

    Examples
    --------
    >>> link = nodes.reference("", "(4.1)", refuri="losses.html#equation-eq-mse")
    >>> parts(nodes.inline("", "", nodes.Text("see "), link), "chapters/forward")
    [('see ', ''), ('(4.1)', 'chapters/losses.html#equation-eq-mse')]
    """
    found: list[tuple[str, str]] = []
    for child in node.children:
        if isinstance(child, nodes.reference):
            found.append((markdown(child), _target(child, page)))
        elif isinstance(child, nodes.Text) or not any(child.findall(nodes.reference)):
            found.append((markdown(child), ""))
        else:
            found += parts(child, page)
    return found


def _target(reference: nodes.reference, page: str) -> str:
    if "refid" in reference:
        return f"{page}.html#{reference['refid']}"
    address = unquote(reference["refuri"])
    if "://" in address:
        return address
    path, _, anchor = address.partition("#")
    folder = Path("/", page).parent
    full = (folder / path).resolve().relative_to("/").as_posix() if path else f"{page}.html"
    return f"{full}#{anchor}" if anchor else full


def _collect(app: Any, doctree: Any, page: str) -> None:
    found = app.mentions.setdefault(page, {})
    for place in list(doctree.findall(mention)):
        found[place["role"]] = parts(place, page)
        place.replace_self(place.children)


def _numbers(env: Any, kind: str) -> dict[str, str]:
    """Return the number of each equation or figure, by its page and its anchor."""
    return {
        f"{page}#{anchor}": ".".join(map(str, number))
        for page, kinds in env.toc_fignumbers.items()
        for anchor, number in kinds.get(kind, {}).items()
    }


def _finish(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.name != "html":
        return
    file = Path(app.outdir).parent / FILE
    before = json.loads(file.read_text("utf-8")) if file.is_file() else {"mentions": {}}
    # A page that did not change is not written again: its mentions are those of last time.
    there = {page: before["mentions"].get(page, {}) for page in app.env.found_docs}
    found = {
        "mentions": there | app.mentions,
        "equations": _numbers(app.env, "displaymath"),
        "figures": _numbers(app.env, "figure"),
    }
    file.write_text(json.dumps(found, ensure_ascii=False, indent=0, sort_keys=True) + "\n", "utf-8")


def setup(app: Any) -> None:
    """Register with Sphinx; after the titles were collected, before others see a resolved page."""
    app.mentions = {}
    app.add_node(mention)
    app.connect("doctree-read", _mark, priority=900)
    app.connect("doctree-resolved", _collect, priority=1)
    app.connect("build-finished", _finish)
