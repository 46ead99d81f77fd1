"""What helps a reader beside the text: times, previews, links to other projects, the card."""

from __future__ import annotations

import ast
import importlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_equations import labels

from tests.book.book_files import BOOK, chapters, extension, markdown

CHAPTERS = [BOOK / "chapters" / f"{stem}.ipynb" for stem in chapters()]
TIMES = json.loads((BOOK / "reference" / "running_times.json").read_text("utf-8"))


# Times


def test_every_chapter_has_its_running_time_and_no_other_page_has() -> None:
    """After a chapter was added: `python -m tools.notebooks.running_times activations`."""
    assert list(TIMES["seconds"]) == list(chapters())


def test_the_limit_for_one_cell_covers_a_whole_chapter(root: Path) -> None:
    """So a chapter that is stopped by it takes several times as long as the page says."""
    makefile = (root / "Makefile").read_text("utf-8")
    (limit,) = set(re.findall(r"--nbval-cell-timeout=(\d+)", makefile))
    assert max(TIMES["seconds"].values()) <= int(limit) / 2
    assert all(seconds % 5 == 0 and seconds > 0 for seconds in TIMES["seconds"].values())


def test_reading_time_counts_words_code_and_formulas() -> None:
    """By hand: 1000 words are 5 minutes, 40 lines are 2, a formula is a quarter; in fives."""
    times = extension("chapters")
    text = {"cell_type": "markdown", "source": ["word " * 1000, "\n\n$$\nx = 1\n$$\n"]}
    code = {"cell_type": "code", "source": "x = 1\n\n" * 40}
    assert times.reading_minutes({"cells": [text]}) == 10  # 5 + 1/4
    assert times.reading_minutes({"cells": [text, code]}) == 10  # 5 + 1/4 + 2
    assert times.reading_minutes({"cells": [code]}) == 5
    assert [times.duration(s) for s in (5, 85, 90, 600)] == [
        "5 seconds",
        "85 seconds",
        "2 minutes",
        "10 minutes",
    ]


# Previews

_LINKS = [
    "#equation-x", "../reference/glossary.html#term-t", "../reference/bibliography.html#id1",
    "../reference/bibliography.html#id9", "../reference/api/l.html#course_lib.l.f",
    "../reference/api/l.html#module-course_lib.l", "#fig-1", "#ex-1", "b.html", "b.html#list",
    "../solutions/b.html#sol-1", "../_modules/course_lib/l.html#f", "b.html#id3",
    "https://example.org/c.html",
]  # fmt: skip
_FIGURE = (
    '<figure class="align-default" id="fig-1"><img alt="A line." class="only-light" '
    'src="../_images/1.svg" width="9"/><div class="drawing"><svg id="a-1" viewBox="0 0 9 5"><path '
    'id="a-1-p"/></svg></div><figcaption><p>Fig. 1 A line.<a class="headerlink">#</a></p>'
    "</figcaption></figure>"
)
_BOOK = {
    "chapters/a.html": '<a class="reference internal" href="c.html">a menu</a>'
    "<article>" + "".join(f'<a class="reference internal" href="{x}">x</a>' for x in _LINKS) + ""
    '<div id="equation-x"><span class="eqno">(1)<a class="headerlink">#</a></span>\\[x\\]</div>'
    f'{_FIGURE}<section id="exercise"><span id="ex-1"></span><h3>Exercise: X<a class="headerlink">'
    "#</a></h3>\n<p><em>easy, 5 minutes</em></p>\n<p>Compute x.</p><p>More.</p></section>"
    "</article>",
    "chapters/b.html": '<h1>B in a menu</h1><article><section id="b"><h1>2. B</h1>'
    '<p class="times">Reading: 5 minutes.</p><p>It begins with <a href="x.html">this</a>, which '
    'says enough about what it is and does.</p><p>Second.</p><section id="list"><h2>List</h2><ul>'
    '<li><p>one</p></li></ul></section><span id="id3">C, 2000</span></section></article>',
    "chapters/c.html": "<article><h1>C</h1><p>Only in a menu.</p></article>",
    "solutions/b.html": '<article><section id="sol-1"><h2>S</h2><p>x is 2.</p></section></article>',
    "reference/glossary.html": '<article><dt id="term-t">t<a class="headerlink">#</a></dt>'
    '<dd><p>A <a href="x.html">word</a>. →\n<a href="../chapters/a.html">'
    '<span class="doc">A</span></a></p></dd><dt id="term-u">u</dt><dd></dd></article>',
    "reference/bibliography.html": '<div class="citation" id="id1"><span class="label">[1]</span>'
    '<p>A. Book.</p><p class="cited-in">Cited in <a href="../chapters/a.html#id1">A</a>.</p></div>',
    "reference/api/l.html": '<article><p id="module-course_lib.l">Lines.</p><dl><dt class="sig" '
    'id="course_lib.l.f"><span class="pre">course_lib.l.</span><span>f</span>(<em>a</em>, '
    '<em>b</em>)<a href="../../_modules/course_lib/l.html#f"><span>[source]</span></a></dt><dd>'
    '<p>Return <code class="x"><span class="pre">a</span></code>.</p><p>More.</p></dd></dl>'
    '<dt id="course_lib.l.g">g</dt><dd><p>G.</p></dd></article>',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small book, as Sphinx writes it."""
    for name, html in _BOOK.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(html, encoding="utf-8")
    return tmp_path


def test_previews_hold_what_the_text_links_to_and_nothing_else(folder: Path) -> None:
    """Without numbers, anchors and links, for a preview cannot be entered; and no solution."""
    assert extension("previews").collect(folder) == {
        "chapters/a.html#equation-x": "<div>\\[x\\]</div>",
        "chapters/a.html#ex-1": "<strong>Exercise: X</strong><p><em>easy, 5 minutes</em></p>"
        "<p>Compute x.</p>",
        "chapters/a.html#fig-1": '<img alt="A line." class="only-light" '
        'data-src="_images/1.svg"/><svg data-drawing="a-1" viewBox="0 0 9 5" aria-hidden="true">'
        "</svg><p>Fig. 1 A line.</p>",
        "chapters/b.html#": "<strong>2. B</strong><p>It begins with <span>this</span>, which "
        "says enough about what it is and does.</p>",
        "reference/api/l.html#course_lib.l.f": "<code>course_lib.l.f(a, b)</code>"
        "<p>Return <code>a</code>.</p>",
        "reference/api/l.html#module-course_lib.l": "<code>course_lib.l</code><p>Lines.</p>",
        "reference/bibliography.html#id1": '<div class="citation"><p>A. Book.</p></div>',
        "reference/glossary.html#term-t": "<strong>t</strong><p>A <span>word</span>.</p>",
    }


def test_a_target_that_is_not_there_has_no_preview() -> None:
    """The link checker reports the link; here it is only left out."""
    assert extension("previews").excerpt("<p>x</p>", "y") is None
    assert extension("previews").excerpt("<p>no title</p>", "") is None


# Names of other projects


def _value(name: str) -> Any:
    """Import what a full name stands for."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    return getattr(importlib.import_module("builtins"), name)


EXTERNAL = extension("external_names")


@pytest.mark.parametrize("name", EXTERNAL.ADDRESSES)
def test_a_name_of_the_table_exists(name: str) -> None:
    """In the version that is installed here; a renamed function would be a dead link."""
    assert _value(name) is not None


def test_names_are_found_as_the_text_writes_them() -> None:
    """With the short name of NumPy, with brackets, without a package."""
    for name, full in {"np.argsort": "numpy.argsort", **EXTERNAL.ALIASES}.items():
        assert EXTERNAL.address(f"{name}()") == EXTERNAL.ADDRESSES[full]
    assert EXTERNAL.address("np.no_such_function") is None
    assert np.ufunc.at is _value(EXTERNAL.ALIASES["np.add.at"])
    assert math.inf == _value("math.inf")


# Links between chapters and the API


def _tested(stem: str, root: Path) -> set[str]:
    """Return the names of the package that the tests of a chapter's equations import."""
    path = root / "tests" / "book" / "equations" / f"test_eq_{stem}.py"
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course_lib")
        for alias in node.names
    }
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _linked(text: str) -> Iterator[str]:
    for target in re.findall(r"\{py:\w+\}`[^`]*?([\w.]+)(?:\(\))?>?`", text):
        yield from target.split(".")[1:]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_with_equations_links_to_what_computes_them(path: Path, root: Path) -> None:
    """At least to one of the functions that the tests of its equations use."""
    text = markdown(path)
    if labels(text):
        assert set(_linked(text)) & _tested(path.stem, root)


# The card of a link


def test_the_card_has_the_size_that_is_asked_for() -> None:
    """1200 x 630, read from the header of the PNG."""
    header = (BOOK / "_static" / "card.png").read_bytes()[:24]
    assert [int.from_bytes(header[i : i + 4], "big") for i in (16, 20)] == [1200, 630]


def test_a_page_says_its_title_and_escapes_it() -> None:
    """No address is named where the book has none."""
    lines = extension("identity").tags('"A" & B', "text", "", "../card.png").splitlines()
    assert lines[0] == '<meta property="og:title" content="&quot;A&quot; &amp; B" />'
    assert '<meta name="description" content="text" />' in lines
    assert not any("og:url" in line for line in lines)
