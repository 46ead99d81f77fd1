"""How the book introduces itself: its logo, and what a shared link shows.

Where the book is read follows from the address of its repository (``address.py``). Without one,
links in the description stay relative, and nothing names a site that does not exist.
"""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes

from .address import site

LOGO = {"image_light": "_static/logo-light.svg", "image_dark": "_static/logo-dark.svg"}
CARD = "_static/card.png"
_CARD_ALT = "The title of the course beside one neuron that is joined to a network"
_LONGEST = 200


def summary(doctree: Any) -> str:
    """Return the first paragraph of a page as one line, cut after a word where it is long."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        in_text = isinstance(paragraph.parent, nodes.section | nodes.container)
        if in_text and "times" not in paragraph["classes"]:
            whole = len(text) <= _LONGEST
            return text if whole else text[:_LONGEST].rpartition(" ")[0].rstrip(",;:") + " …"
    return ""


def tags(title: str, text: str, page: str, card: str) -> str:
    """Return the lines for the head of a page, in the words of the Open Graph protocol.

    Examples
    --------
    >>> print(tags("Losses", "", "a.html", "card.png").splitlines()[0])
    <meta property="og:title" content="Losses" />
    """
    values = {"title": title, "description": text, "type": "article", "url": page, "image": card}
    values["image:alt"] = _CARD_ALT
    lines = [
        f'<meta property="og:{key}" content="{escape(value, quote=True)}" />'
        for key, value in values.items()
        if value
    ]
    if text:
        lines.append(f'<meta name="description" content="{escape(text, quote=True)}" />')
    return "\n".join([*lines, '<meta name="twitter:card" content="summary_large_image" />'])


def _page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is None:
        return
    base = app.config.html_baseurl
    root = base or context["pathto"]("", 1)
    title = next(iter(doctree.findall(nodes.title)), nodes.title()).astext()
    url = f"{base}{name}.html" if base else ""
    context["metatags"] = f"{context.get('metatags', '')}\n" + tags(
        title, summary(doctree), url, f"{root}{CARD}"
    )


def settings(config: Any) -> dict[str, Any]:
    """Return what ``_config.yml`` says of the address, as Sphinx has been told it."""
    url = config.html_theme_options.get("repository_url", "")
    return {"repository": {"url": url}, "html": {"baseurl": config.html_baseurl}}


def _options(app: Any, config: Any) -> None:
    options = config.html_theme_options
    options["logo"] = {**LOGO, "alt_text": "First page:", "text": config.html_title}
    config.html_baseurl = site(settings(config))
    # It would hand out the source of a page, in which only Sphinx sees formulas and references.
    options["use_download_button"] = False


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("config-inited", _options)
    app.connect("html-page-context", _page)
