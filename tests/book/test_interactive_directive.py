"""The directive `interactive` in a page, alone, in print, and when it is written wrongly."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from tests.book.book_files import BOOK

pytest.importorskip("myst_parser", reason="the book's tools are not installed")

PAGE = """# Title

```{interactive} dots
:caption: Some *dots*, see {numref}`fig-interactive-dots`.
:alt: Dots & "lines".
```
"""
OTHER = "# Other\n\nNothing moves here.\n"


def built(
    folder: Path, builder: str, page: str = PAGE, *, picture: bool = True
) -> tuple[dict[str, str], str]:
    """Build a book of two pages; return the text of all files, and the warnings."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    source = folder / "source"
    scripts = source / "_static" / "interactive"
    scripts.mkdir(parents=True)
    for name in ("dots", "two_dots"):
        (scripts / f"{name}.js").write_text("// Dots.\n")
    if picture:
        (scripts / "snapshots").mkdir()
        (scripts / "snapshots" / "dots.png").write_bytes(b"")
    (source / "index.md").write_text(page + "\n```{toctree}\nother\n```\n")
    (source / "other.md").write_text(OTHER)
    conf = (
        f"import sys; sys.path.insert(0, {str(BOOK / '_ext')!r})\n"
        "extensions = ['myst_parser', 'course_book.interactive', 'course_book.figure_pages']\n"
        "numfig = True\nproject = 'p'\nversion = '1'\nhtml_static_path = ['_static']\n"
        # As the book's tool does with every file of _static:
        "html_js_files = ['interactive/dots.js', 'a.js']\n"
        "html_css_files = ['interactive/interactive.css']\n"
    )
    (source / "conf.py").write_text(conf)
    warnings = io.StringIO()
    out = folder / "out"
    with docutils_namespace():
        app = Sphinx(source, source, out, folder / "trees", builder, status=None, warning=warnings)
        app.build()
    texts = {
        p.relative_to(out).as_posix(): p.read_text("utf-8")
        for p in [*out.glob("*"), *out.glob("figures/*")]
        if p.suffix in (".html", ".tex", ".xhtml", ".txt")
    }
    return texts, warnings.getvalue()


def scripts_of(page: str) -> list[str]:
    """Return the files of the figures that a page loads, in order."""
    return re.findall(r"_static/interactive/(\w+\.\w+)", page)


def test_a_page_has_the_place_the_caption_and_a_picture_for_no_script(tmp_path: Path) -> None:
    """Numbered and named like every figure; the picture says what it shows."""
    texts, warnings = built(tmp_path, "html")
    page = texts["index.html"]
    assert 'data-figure="dots"' in page and 'id="fig-interactive-dots"' in page
    without = re.search(r"<noscript>.*</noscript>", page, re.S)[0]
    assert 'src="_static/interactive/snapshots/dots.png"' in without
    assert 'alt="Dots &amp; &quot;lines&quot;."' in without
    assert "<em>dots</em>" in page and page.count("Fig. 1") == 2
    assert warnings == ""


def test_a_figure_on_a_second_page_is_referred_to_by_its_label(tmp_path: Path) -> None:
    """It is the same figure, in a place of its own."""
    second = PAGE.replace(":alt:", ":label: fig-again\n:alt:").replace(
        "-interactive-dots", "-again"
    )
    texts, warnings = built(tmp_path, "html", PAGE + "\n" + second.removeprefix("# Title\n"))
    page = texts["index.html"]
    assert page.count('data-figure="dots"') == 2 and 'id="fig-again"' in page
    assert 'href="#fig-again"' in page and 'href="#fig-interactive-dots"' in page
    assert warnings == ""


def test_a_figure_without_a_picture_yet_has_its_words(tmp_path: Path) -> None:
    """The picture is taken from the built figure, so the first build is without."""
    texts, warnings = built(tmp_path, "html", picture=False)
    for page in (texts["index.html"], texts["figures/dots.html"]):
        without = re.search(r"<noscript>.*</noscript>", page, re.S)[0]
        assert "<img" not in without and "<p>Dots &amp; &quot;lines&quot;.</p>" in without
    assert warnings == ""


def test_a_figure_has_a_page_of_its_own(tmp_path: Path) -> None:
    """One folder down; with its number and caption, in which nothing is a link but that back."""
    page = built(tmp_path, "html")[0]["figures/dots.html"]
    assert scripts_of(page) == [
        "interactive.css", "alone.css", "alone.js", "drawing.js", "figure.js", "dots.js",
    ]  # fmt: skip
    assert "<title>Title: a figure to try</title>" in page
    assert 'src="../_static/interactive/snapshots/dots.png"' in page
    assert re.findall(r'href="([^"]*#[^"]*)"', page) == ["../index.html#fig-interactive-dots"]
    assert "Fig. 1" in page and "<em>dots</em>" in page and "mathjax" not in page


def test_a_caption_with_a_formula_brings_mathematics(tmp_path: Path) -> None:
    """And only such a one."""
    conf = "```{interactive} dots\n:caption: Of {math}`x^2`.\n:alt: Dots.\n```\n"
    page = built(tmp_path, "html", f"# Title\n\n{conf}")[0]["figures/dots.html"]
    assert r"\(x^2\)" in page and "mathjax" in page


def test_only_pages_with_a_figure_load_scripts(tmp_path: Path) -> None:
    """In the order in which they need each other; another script of the book stays."""
    texts, _ = built(tmp_path, "html")
    expected = ["interactive.css", "drawing.js", "figure.js", "dots.js"]
    assert scripts_of(texts["index.html"]) == expected
    assert scripts_of(texts["other.html"]) == []
    assert "_static/a.js" in texts["other.html"]


def test_the_anchor_is_the_label(tmp_path: Path) -> None:
    """Also of a name with an underscore, in place of which both have a hyphen."""
    page = PAGE.replace("interactive} dots", "interactive} two_dots").replace("-dots", "-two-dots")
    texts, warnings = built(tmp_path, "html", page)
    assert 'id="fig-interactive-two-dots"' in texts["index.html"]
    assert 'href="#fig-interactive-two-dots"' in texts["index.html"] and warnings == ""


@pytest.mark.parametrize("builder", ["latex", "text", "epub"])
def test_elsewhere_the_alt_text_stands_for_the_figure(tmp_path: Path, builder: str) -> None:
    """In print, in plain text and in an e-book nothing moves."""
    texts, warnings = built(tmp_path, builder)
    whole = "\n".join(texts.values())
    assert re.search(r"Dots (&amp;|\\&|&) ", whole)
    assert "data-figure" not in whole and scripts_of(whole) == []
    assert "interactive" not in warnings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PAGE.replace("} dots", "} lines"), "there is no _static/interactive/lines.js"),
        (re.sub(r":alt: .*\n", "", PAGE), "dots needs the option alt"),
        (re.sub(r":caption: .*\n", "", PAGE), "dots needs the option caption"),
    ],
)
def test_a_mistake_is_a_warning_that_says_what_is_missing(
    tmp_path: Path, wrong: str, message: str
) -> None:
    """And a warning fails the build of the book."""
    assert message in built(tmp_path, "html", wrong)[1]
