"""Interactive figures: the directive ``interactive``, and their scripts on the pages that use them.

A figure is the file ``_static/interactive/NAME.js``. It runs in the reader's browser without a
kernel and without a network; where no script runs (print, e-book), a picture of it stands instead,
``_static/interactive/snapshots/NAME.png``, or its ``alt`` text where nothing but text can be.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

FOLDER = "interactive"


class interactive(nodes.General, nodes.Element):
    """The place of one interactive figure, inside of an ordinary figure with a caption."""


class Interactive(SphinxDirective):
    """Put an interactive figure here, numbered like the others, label ``fig-interactive-NAME``.

    Options: ``caption`` and ``alt``, both required; ``data`` names scripts that the figure needs
    before its own, such as ``NAME_data`` with numbers.
    """

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "caption": directives.unchanged_required,
        "alt": directives.unchanged_required,
        "data": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return a figure that holds the place and the caption."""
        name = self.arguments[0]
        scripts = [*self.options.get("data", "").split(), name]
        folder = Path(self.env.srcdir) / "_static" / FOLDER
        for script in scripts:
            if not (folder / f"{script}.js").is_file():
                raise self.error(f"interactive: there is no _static/{FOLDER}/{script}.js")
        for option in ("caption", "alt"):
            if option not in self.options:
                raise self.error(f"interactive: {name} needs the option {option}")
        place = interactive(name=name, alt=self.options["alt"], scripts=scripts)
        text, messages = self.state.inline_text(self.options["caption"], self.lineno)
        figure = nodes.figure("", place, nodes.caption("", "", *text), classes=["interactive"])
        self.set_source_info(figure)
        # The anchor is the label; left to docutils it would have no underscores.
        figure["names"].append(f"fig-interactive-{name}")
        figure["ids"].append(f"fig-interactive-{name}")
        self.state.document.note_explicit_target(figure, figure)
        return [figure, *messages]


def stage(source: Path, root: str, name: str, alt: str) -> str:
    """Return the HTML of the place of a figure, with what stands there where no script runs.

    Parameters
    ----------
    source : Path
        The folder of the book. Its picture is made after the figure (``make snapshots``), so a new
        figure has none.
    root : str
        The way from the page to the first page of the built book, such as ``../``.
    name, alt : str
        The figure, and what it shows.
    """
    picture = f"_static/{FOLDER}/snapshots/{name}.png"
    alt = escape(alt, quote=True)
    if (source / picture).is_file():
        still = f'<img class="snapshot" src="{root}{picture}" alt="{alt}" width="720" />'
    else:
        still = f"<p>{alt}</p>"
    return (
        f'<div class="stage" data-figure="{escape(name, quote=True)}"><noscript>{still}'
        '<p class="moves">This figure moves where scripts may run.</p></noscript></div>'
    )


def _html(self: Any, node: nodes.Element) -> None:
    if self.builder.format != "html" or self.builder.name == "epub":
        self.body.append(f"<p>{escape(node['alt'])}</p>")
    else:
        here = self.builder.get_target_uri(self.builder.current_docname)
        root = relative_uri(here, "index.html").removesuffix("index.html")
        self.body.append(stage(Path(self.builder.srcdir), root, node["name"], node["alt"]))
    raise nodes.SkipNode


def _latex(self: Any, node: nodes.Element) -> None:
    self.body.append(self.encode(node["alt"]) + "\n\n")
    raise nodes.SkipNode


def _text(self: Any, node: nodes.Element) -> None:
    self.add_text(node["alt"])
    raise nodes.SkipNode


def _not_everywhere(app: Any, config: Any) -> None:
    """Take back what the book's tool does with all files of ``_static``: load them on each page."""
    for files in (config.html_js_files, config.html_css_files):
        files[:] = [
            file
            for file in files
            if not str(file if isinstance(file, str) else file[0]).startswith(f"{FOLDER}/")
        ]


def needed(places: list[interactive]) -> list[str]:
    """Return the scripts of figures, in the order in which they need each other."""
    return ["drawing", "figure", *dict.fromkeys(s for place in places for s in place["scripts"])]


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    places = list(doctree.findall(interactive)) if doctree is not None else []
    if not places or app.builder.name == "epub":
        return
    for script in needed(places):
        app.add_js_file(f"{FOLDER}/{script}.js", loading_method="defer")
    app.add_css_file(f"{FOLDER}/interactive.css")


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.add_node(
        interactive,
        html=(_html, None),
        epub=(_html, None),
        latex=(_latex, None),
        text=(_text, None),
    )
    app.add_directive("interactive", Interactive)
    app.connect("config-inited", _not_everywhere)
    app.connect("html-page-context", _page)
