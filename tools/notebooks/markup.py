"""Turns the MyST text of a page into Markdown that every notebook program shows as it is meant.

JupyterLab, VS Code, Colab and code hosts know Markdown, formulas and a little HTML; they know no
roles, directives or labels. What a role shows is taken from ``mentions.json``, which Sphinx wrote
when it built the book (``book/_ext/course_book/mentions.py``).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

Parts = list[tuple[str, str]]

_FENCE = re.compile(r"^(?P<fence>:{3,}|`{3,})(?:\{(?P<name>[\w-]+)\})?(?P<rest>.*)$")
_LABEL = re.compile(r"^\((?P<label>[\w-]+)\)=\s*$", re.M)
_EQUATION = re.compile(r"^\$\$\n(?P<tex>(?:(?!^\$\$).)*?)\n\$\$ \((?P<label>[\w-]+)\)", re.M | re.S)
# A role, or code, in which nothing is a role.
_ROLE = re.compile(
    r"\{(?P<name>[\w:.-]+)\}`(?P<content>[^`]+)`|(?P<code>(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))",
    re.S,
)
_OPTION = re.compile(r"^:(?P<name>[\w-]+): ?(?P<value>.*)$")


@dataclass(frozen=True)
class Figure:
    """An interactive figure, as its directive describes it."""

    name: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Page:
    """What the converter knows of a page.

    Attributes
    ----------
    mentions : mapping of str to list
        What each role of this page shows: texts and their targets.
    equations, figures : mapping of str to str
        The number of each label of this page.
    glued : mapping of str to str
        The values that its cells handed to the text.
    link : callable
        Takes a target such as ``chapters/losses.html#equation-eq-mse``; returns the address of the
        link, or None if none can be made, and the text stands alone.
    folder : Path
        Where included files are looked for.
    """

    mentions: Mapping[str, Parts]
    equations: Mapping[str, str]
    figures: Mapping[str, str]
    glued: Mapping[str, str] = field(default_factory=dict)
    link: Callable[[str], str | None] = lambda target: target
    folder: Path = Path()


def anchor(name: str) -> str:
    """Return the HTML of a place that a link can lead to.

    Examples
    --------
    >>> anchor("ex-neurons-gate")
    '<a id="ex-neurons-gate"></a>'
    """
    return f'<a id="{name}"></a>'


def blocks(text: str, page: Page) -> list[str | Figure]:
    """Return the text of a cell as Markdown, cut where an interactive figure stands.

    Raises
    ------
    ValueError
        If a directive is not known here.
    RuntimeError
        If one is not closed.
    """
    pieces: list[str | Figure] = [""]
    for part in _split(text):
        if isinstance(part, str):
            done: str | Figure = prose(part, page)
        else:
            done = _directive(*part, page)
        if isinstance(done, str) and isinstance(pieces[-1], str):
            pieces[-1] += done + "\n"
        else:
            pieces.append(done)
    pieces = [piece.strip("\n") if isinstance(piece, str) else piece for piece in pieces]
    return [piece for piece in pieces if piece]


def markdown(text: str, page: Page) -> str:
    """Return a text without interactive figures as Markdown.

    Examples
    --------
    >>> page = Page({":eq:`mse`": [("(6.1)", "#equation-mse")]}, {}, {})
    >>> markdown("see {eq}`mse`, not `{eq}`", page)
    'see [(6.1)](#equation-mse), not `{eq}`'
    >>> print(markdown(":::{dropdown} Hint\\nTry.\\n:::", page))
    <details><summary>Hint</summary>
    <BLANKLINE>
    Try.
    <BLANKLINE>
    </details>
    """
    return "\n".join(piece for piece in blocks(text, page) if isinstance(piece, str))


def _split(text: str) -> Iterator[str | tuple[str, str, list[str], str]]:
    """Yield the prose and the directives of a text: fence, name, lines inside, rest of line one."""
    prose: list[str] = []
    lines = iter(text.split("\n"))
    for line in lines:
        opening = _FENCE.match(line)
        if opening is None:
            prose.append(line)
            continue
        inside = list(iter(partial(next, lines), opening["fence"]))
        if prose:
            yield "\n".join(prose)
        prose = []
        yield opening["fence"], opening["name"] or "", inside, opening["rest"].strip()
    if prose:
        yield "\n".join(prose)


def _directive(fence: str, name: str, lines: list[str], argument: str, page: Page) -> str | Figure:
    """Return what one directive, or one block of code, becomes."""
    if not name:
        return "\n".join([fence + argument, *lines, fence])
    options = {}
    while lines and (found := _OPTION.match(lines[0])):
        options[found["name"]] = found["value"]
        lines = lines[1:]
    inside = "\n".join(lines).strip("\n")
    if name == "interactive":
        return Figure(argument, prose(options["caption"], page), options["alt"])
    if name == "literalinclude":
        code = (page.folder / argument).read_text("utf-8").rstrip("\n")
        return f"```{options.get('language', '')}\n{code}\n```"
    if name == "dropdown":
        return folded(argument, markdown(inside, page))
    if name == "admonition":
        return quoted(f"**{prose(argument, page)}**\n\n{markdown(inside, page)}")
    if name == "tab-set":
        return markdown(inside, page)
    if name == "tab-item":
        return f"*{argument}*\n\n{markdown(inside, page)}\n"
    if name == "glossary":
        return _glossary(inside, page)
    raise ValueError(f"no notebook can show the directive {name!r}: tools/notebooks/markup.py")


def folded(title: str, inside: str) -> str:
    """Return a closed fold; the empty lines let Markdown be read inside."""
    return f"<details><summary>{title}</summary>\n\n{inside}\n\n</details>"


def quoted(text: str) -> str:
    """Return a text as a quotation, which every program sets off from the rest."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _glossary(text: str, page: Page) -> str:
    """Return the entries of a glossary: the word in bold, and its meaning."""
    entries = []
    for entry in re.split(r"\n\n(?=\S)", text):
        word, _, meaning = entry.partition("\n")
        place = anchor("term-" + re.sub(r"[^\w]+", "-", word).strip("-"))
        entries.append(f"{place}**{word}**: {markdown(textwrap.dedent(meaning), page)}")
    return "\n\n".join(entries)


def prose(text: str, page: Page) -> str:
    """Return text without directives as Markdown: numbered formulas, places, links, values."""

    def equation(found: re.Match[str]) -> str:
        name = f"equation-{found['label']}"
        tag = f"\\tag{{{page.equations[name]}}}"
        return f"{anchor(name)}\n\n$$\n{found['tex']} {tag}\n$$"

    def role(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        content = " ".join(found["content"].split())
        if found["name"] == "glue:text":
            return page.glued[content]
        parts = page.mentions[f":{found['name']}:`{content}`"]
        return "".join(_shown(text, target, page) for text, target in parts)

    text = _LABEL.sub(lambda found: anchor(found["label"]) + "\n", text)
    return _ROLE.sub(role, _EQUATION.sub(equation, text))


def _shown(text: str, target: str, page: Page) -> str:
    address = page.link(target) if target else None
    return f"[{text}]({address})" if address else text
