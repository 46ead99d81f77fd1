"""Finds the numbers in the text of a page that look measured, and whether a cell backs them."""

from __future__ import annotations

import re

# Taken out before: code, formulas, roles (a {glue:text} is filled from a cell), links, HTML.
_NOT_PROSE = re.compile(
    r"""
    ^(?P<fence>`{3,}).*?^(?P=fence)`*\s*$   # fenced code
    | \$\$.*?\$\$ | \$[^$\n]+\$             # formulas
    | \{[\w:-]+\}`[^`]*`                    # roles
    | ``.+?`` | `[^`\n]+`                   # code
    | \]\([^)]*\)                           # addresses of links
    | <[^>\n]+>                             # HTML
    | ^:[\w-]+:.*$                          # options of directives
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
# What measurements are given in. Years, counts and sizes are none of these.
_MEASURED = re.compile(
    r"""
    (?<![\w.,])(?P<number>\d[\d,]*(?:\.\d+)?)
    (?: (?<=\.\d)(?=\b) | (?<=\.\d\d)(?=\b) | (?<=\.\d{3})(?=\b) | (?<=\.\d{4})(?=\b)  # a decimal
      | \s?(?:%|percent\b|ms\b|µs\b|us\b|ns\b|seconds?\b|s\b|GB/s\b|MB/s\b|GFLOP)      # a unit
      | \s+times\s+(?:as\s+\w+|\w+er)\b )                                            # a ratio
    (?![\d.]*\d)
    """,
    re.VERBOSE,
)


def paragraphs(text: str) -> list[str]:
    """Split a text at empty lines and list items, so that a source stands by what it backs."""
    return [part for part in re.split(r"\n\s*\n|\n(?=\s*[-*|] ?)", text) if part.strip()]


def measured(text: str) -> list[tuple[str, str]]:
    """Return (number, sentence around it) for every number in a text that looks measured.

    Examples
    --------
    >>> [number for number, _ in measured("It takes 3.5 ms, `0.1` and $0.2$ aside, since 1986.")]
    ['3.5']
    """
    found = []
    for part in paragraphs(text):
        if "{cite" in part:
            continue
        prose = _NOT_PROSE.sub(" ", part)
        for match in _MEASURED.finditer(prose):
            around = prose[max(0, match.start() - 60) : match.end() + 40].replace("\n", " ")
            found.append((match["number"], around))
    return found
