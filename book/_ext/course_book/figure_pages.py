"""Writes each interactive figure as a page of its own, ``figures/NAME.html``, for frames.

Such a page has the figure, its caption and its scripts, and nothing of the book's theme, so that a
notebook can show it in a frame. It is light or dark as the reader's system is, and tells the page
around it how tall it is: the message ``{figure: NAME, height: PIXELS}``, after each change.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes

from .interactive import FOLDER, interactive, needed, stage

# The page is one folder below the first page of the book.
ROOT = "../"

_PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>{title}</title>
<link rel="stylesheet" href="{static}/interactive.css" />
<link rel="stylesheet" href="{static}/alone.css" />
<script src="{static}/alone.js"></script>
{scripts}
</head>
<body>
<main>
<h1>{title}</h1>
<figure class="interactive">
{stage}
<figcaption><span class="caption-number">{number}</span> {caption}
<a href="{chapter}" target="_blank" rel="noopener">In the book</a></figcaption>
</figure>
</main>
</body>
</html>
"""


def _caption(app: Any, figure: nodes.Element) -> str:
    """Return the HTML of a caption, without its links: they would lead out of the frame."""
    caption = next(figure.findall(nodes.caption)).deepcopy()
    for link in list(caption.findall(nodes.reference)):
        link.parent.replace(link, link.children)
    for name in caption.findall(nodes.literal):
        name["classes"] = []  # it is no reference any more
    text = nodes.paragraph("", "", *caption.children)
    html: str = app.builder.render_partial(text)["fragment"]
    return html.strip().removeprefix("<p>").removesuffix("</p>")


def _number(app: Any, page: str, figure: nodes.Element) -> str:
    """Return "Fig. 5.2" as in the book, or nothing where figures are not numbered."""
    numbers = app.env.toc_fignumbers.get(page, {}).get("figure", {})
    found = [numbers[name] for name in figure["ids"] if name in numbers]
    if not found:
        return ""
    pattern: str = app.config.numfig_format["figure"]
    return pattern % ".".join(map(str, found[0]))


def _scripts(app: Any, place: interactive, caption: str) -> str:
    static = f"{ROOT}_static"
    tags = [
        f'<script defer src="{static}/{FOLDER}/{name}.js"></script>' for name in needed([place])
    ]
    if 'class="math' in caption:
        options = json.dumps(app.config.mathjax3_config or {})
        tags += [
            f"<script>window.MathJax = {options}</script>",
            f'<script defer src="{static}/{app.config.mathjax_path}"></script>',
        ]
    return "\n".join(tags)


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is None or app.builder.name != "html":
        return
    for place in doctree.findall(interactive):
        figure = place.parent
        caption = _caption(app, figure)
        # The title of a page comes with its markup.
        title = nodes.Element("", *app.env.titles[name].deepcopy().children).astext()
        target = Path(app.outdir) / "figures" / f"{place['name']}.html"
        target.parent.mkdir(exist_ok=True)
        target.write_text(
            _PAGE.format(
                language=app.config.language,
                title=escape(f"{title}: a figure to try"),
                static=f"{ROOT}_static/{FOLDER}",
                scripts=_scripts(app, place, caption),
                stage=stage(Path(app.srcdir), ROOT, place["name"], place["alt"]),
                number=escape(_number(app, name, figure)),
                caption=caption,
                chapter=escape(f"{ROOT}{app.builder.get_target_uri(name)}#{figure['ids'][0]}"),
            ),
            encoding="utf-8",
        )


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("html-page-context", _page)
