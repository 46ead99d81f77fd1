"""The index of the search: the places of a page, what stands there, and formulas as plain text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.book.book_files import BOOK, built_book, contents, extension

_CHAPTER = r"""<html><nav>menu</nav><article class="bd-article"><section id="losses">
<h1><span class="section-number">6. </span>Losses<a class="headerlink" href="#losses">#</a></h1>
<p class="times">Reading: about 35 minutes.</p>
<div class="run-here-place top"><button>Run this chapter</button><div>Type make lab.</div></div>
<p>How wrong, <strong>in one number</strong>: <span class="math">\(\ell_i\)</span>, as
in <code>losses</code>.</p>
<section id="must"><h2><span class="section-number">6.1. </span>What it must do</h2>
<div class="math" id="equation-a"><span class="eqno">(6.1)</span>
\[L = \frac{1}{N} \sum_i \ell_i\]</div>
<div class="cell"><div class="cell_input"><pre><span class="k">def</span> <span>f</span>():
    <span>pass</span>
</pre></div><div class="cell_output"><pre>0.5
</pre></div></div>
<div class="cell tag_hide-input"><details class="hide above-input"><summary>Show code</summary>
<div class="cell_input"><pre>plot()</pre></div></details>
<div class="cell_output"><pre>seen</pre></div></div>
<div class="cell tag_hide-input"><details class="hide below-figure"><summary>Code</summary>
<div class="cell_input"><pre>plot()</pre></div></details></div>
<table><tr><th>a</th><th>b</th></tr></table>
<div class="cell tag_exercise"><div class="cell_output"><pre>not yet</pre></div></div>
</section>
<section id="summary"><h2>Summary</h2><p>Over<!-- no text -->.</p></section></section></article>
<footer>foot</footer></html>"""
_GLOSSARY = """<article><section id="glossary"><h1>Glossary</h1><p class="letters"><a>L</a></p>
<section id="l"><h2>L</h2><dl class="glossary">
<dt id="term-loss">loss<a class="headerlink">#</a></dt><dd><p>How wrong. → <a
href="../chapters/losses.html"><span class="doc">Losses</span></a></p></dd></dl>
</section></section></article>"""
_API = """<article><section id="losses"><h1>Losses</h1><section id="id1"><h2>losses</h2>
<dl class="py class"><dt class="sig sig-object py" id="lib.Loss"><span class="sig-prename
descclassname">lib.</span><span class="sig-name descname">Loss</span>(f)<a
href="#"><span class="viewcode-link">[source]</span></a></dt><dd><p>A loss.</p>
<dl class="py method"><dt class="sig sig-object py" id="lib.Loss.check">check()</dt><dd><p>Say.</p>
</dd></dl></dd></dl></section></section></article>"""
_SOURCES = """<article><section id="bibliography"><h1>Bibliography</h1><div id="id1"><div
class="citation" id="id7"><span class="label">[1]</span><p>A. Author. <em>A long title of a work
that never ends</em>. Journal, 2000.</p><p
class="cited-in">Cited in <a href="#">Losses</a>.</p></div></div></section></article>"""
_PAGES = {
    "chapters/losses": _CHAPTER,
    "reference/glossary": _GLOSSARY,
    "reference/api/losses": _API,
    "reference/bibliography": _SOURCES,
}


def _index(folder: Path) -> dict[str, list[list[object]]]:
    for name, html in _PAGES.items():
        (folder / f"{name}.html").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    pages = tuple(map(extension("contents").Page, _PAGES))
    found: dict[str, list[list[object]]] = extension("search").index(folder, pages)
    return found


def test_each_section_term_name_and_source_is_a_place(tmp_path: Path) -> None:
    """With what stands there and nothing of what stands around it, written down by hand."""
    found = _index(tmp_path)
    assert found["pages"] == [
        ["chapters/losses.html", "Losses", "6"],
        ["reference/glossary.html", "Glossary", ""],
        ["reference/api/losses.html", "Losses", ""],
        ["reference/bibliography.html", "Bibliography", ""],
    ]
    losses = "How wrong, in one number: ℓ_i, as in losses."
    must = "L = 1/N ∑_i ℓ_i a | b"
    source = "A. Author. A long title of a work that never ends. Journal, 2000."
    assert found["places"] == [
        [0, "chapter", "losses", "Losses", "in one number", losses, "", []],
        [0, "chapter", "must", "What it must do", "", must, "def f():\n    pass\n0.5\nseen", []],
        [0, "aside", "summary", "Summary", "", "Over.", "", []],
        [1, "glossary", "glossary", "Glossary", "", "", "", []],
        [1, "glossary", "term-loss", "loss", "", "How wrong. → Losses", "", [0]],
        [2, "api", "losses", "Losses", "", "", "", []],
        [2, "api", "id1", "losses", "", "", "", []],
        [2, "api", "lib.Loss", "lib.Loss", "", "lib.Loss(f). A loss.", "", []],
        [2, "api", "lib.Loss.check", "lib.Loss.check", "", "check(). Say.", "", []],
        [3, "bibliography", "bibliography", "Bibliography", "", "", "", []],
        [3, "bibliography", "id7", source, "", source, "", []],
    ]


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\(p - y\)", "p - y"),
        (r"\hat y = W^\top x + b", "ŷ = Wᵀ x + b"),
        (r"\frac{1}{N} \sum_{i=1}^{N} \ell_i", "1/N ∑_(i=1)^N ℓ_i"),
        (r"\frac{a + b}{c}", "(a + b)/c"),
        (r"\sqrt{2/n}", "√(2/n)"),
        (r"10^{-7}", "10⁻⁷"),
        (r"x^2 \le \log(1 + e^{-z})", "x² ≤ log(1 + e^(-z))"),
        (r"\theta \in \{0, 1\}", "θ ∈ {0, 1}"),
        (r"\text{loss} \times 2", "loss × 2"),
        (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", "…"),
        (r"\underbrace{a + b}_{c}", "…"),
        ("x + " * 20 + "x", "…"),
        ("", "…"),
    ],
)
def test_a_formula_is_written_as_a_reader_would_type_it(tex: str, text: str) -> None:
    """Or left out, where that cannot be done in a few signs."""
    assert extension("plain_math").plain(tex) == text


def test_the_synonyms_are_groups_of_words_each_once() -> None:
    """A word in two groups would be in the last alone."""
    found = extension("search").synonyms(BOOK)
    words = [word for group in found["same"] for word in group]
    assert len(words) == len(set(map(str.lower, words)))
    assert all(len(group) > 1 for group in found["same"])
    assert sorted(found) == ["same", "see"]


# The built book


def test_the_index_has_every_page_of_the_contents_and_no_tex() -> None:
    """And is not larger than a page may be."""
    file = built_book() / "_static" / "search" / "index.js"
    text = file.read_text("utf-8")
    found = json.loads(text.removeprefix("window.searchIndex = ").removesuffix(";\n"))
    assert [page[0] for page in found["pages"]] == [f"{name}.html" for name in contents()]
    assert {place[0] for place in found["places"]} == set(range(len(contents())))
    tex = [
        place[2] for place in found["places"] for t in (r"\(", r"\frac", r"\sum") if t in place[5]
    ]
    assert tex == []
    assert file.stat().st_size < 2_500_000


def test_only_the_search_page_loads_the_search() -> None:
    """And what Sphinx would load in its place is not there."""
    html = built_book()
    loads = re.compile(r'(?:src|href)="[^"]*_static/search/')
    pages = {name: (html / f"{name}.html").read_text("utf-8") for name in [*contents(), "search"]}
    assert [name for name, text in pages.items() if loads.search(text)] == ["search"]
    gone = ("searchindex.js", "searchtools.js", "language_data.js", "sphinx_highlight.js")
    assert [name for name, text in pages.items() if any(file in text for file in gone)] == []
    assert [path.name for path in html.rglob("*.js") if path.name in gone] == []
