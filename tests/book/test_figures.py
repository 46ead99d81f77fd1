"""Figures of the notebooks: vectors in the colours of the book, and what a page makes of them."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from course_lib import plotting
from tests.book.book_files import BOOK, cells, extension, pages
from tools.notebooks.run import compact

matplotlib.use("agg")
figures, colours = extension("figures"), extension("figure_colours")

NOTEBOOKS = pages(".ipynb")
LARGEST = 1_500_000  # bytes
# Maps of one colour for amounts, and what a cell makes itself. For grey there is INK, for signs
# SIGNED, so that neither the polarity nor the meaning of a colour changes between two chapters.
MAPS = {"Blues", "cividis"}


def map_faults(source: str) -> list[str]:
    """Return the colour maps of a code cell that are neither of the book nor in ``MAPS``."""
    faults = []
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and "LinearSegmentedColormap" in ast.unparse(node.func):
            faults.append(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg == "cmap":
            value = node.value
            if isinstance(value, ast.Constant) and value.value not in MAPS:
                faults.append(f"cmap={value.value!r}")
    return faults


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_are_vectors_and_notebooks_of_sane_size(path: Path) -> None:
    """SVG alone: a second format would be shown by nobody, and take as much room again."""
    kinds = [
        kind
        for cell in cells(path, "code")
        for output in cell["outputs"]
        for kind in output.get("data", {})
        if kind.startswith("image/")
    ]
    assert set(kinds) <= {"image/svg+xml"}
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_signs_and_greys_mean_the_same_in_every_chapter(path: Path) -> None:
    """Blue is positive, ink is dark: only ``SIGNED`` and ``INK`` say so."""
    faults = [fault for cell in cells(path, "code") for fault in map_faults(cell["source"])]
    assert faults == []


@pytest.mark.parametrize(
    "source",
    ['ax.imshow(w, cmap="RdBu_r")', 'ax.imshow(x, cmap="gray")', "LinearSegmentedColormap('a', c)"],
)
def test_another_map_is_found(source: str) -> None:
    """So the test above can fail."""
    assert len(map_faults(source)) == 1
    assert map_faults("ax.imshow(w, cmap=plotting.SIGNED)") == []


def test_what_nbval_leaves_out_is_each_figure_and_nothing_else() -> None:
    """Whether a cell draws one is still compared, as is every other output."""
    text = (BOOK.parent / "tests" / "book" / "nbval.cfg").read_text("utf-8")
    ((regex, replace),) = re.findall(r"^regex: (.*)$\n^replace: (.*)$", text, re.MULTILINE)
    seen = 0
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            for output in cell["outputs"]:
                for kind, value in output.get("data", {}).items():
                    left = re.sub(regex, replace, "".join(value))
                    assert (left == replace) == (kind == "image/svg+xml")
                    seen += left == replace
    assert seen > 150


def _svg(draw: Any, size: tuple[float, float] = (4, 3)) -> str:
    with plotting.style():
        figure, ax = pyplot.subplots(figsize=size)
        draw(ax)
        file = io.StringIO()
        figure.savefig(file, format="svg", dpi=200, metadata={"Date": None})
        pyplot.close(figure)
    return compact(file.getvalue())


def _letters(html: str) -> list[str]:
    """Return the colour of each line of letters, as it is written."""
    groups = [
        e for e in ElementTree.fromstring(html).iter("g") if "scale(" in e.get("transform", "")
    ]
    return [re.search("fill:([^;]+)", group.get("style", ""))[1] for group in groups]  # type: ignore[index]


def test_the_smallest_letter_decides_how_narrow_a_figure_may_become() -> None:
    """7 points of 288 must be 9 pixels: the figure keeps 288 * 9 / 7 pixels, rounded up."""
    svg = _svg(lambda ax: ax.text(0.5, 0.5, "small", fontsize=7))
    figure = figures.Figure(svg, "f")
    assert min(figure.sizes) == pytest.approx(7)
    assert sorted(set(np.round(figure.sizes))) == [7, 11]
    assert "min-width:371px" in figure.html("x")


def test_a_figure_has_its_text_and_names_of_its_own() -> None:
    """Two of the same in one page share no identifier, and each refers only to its own."""
    svg = _svg(lambda ax: ax.plot([0, 1], [0, 1], "o-"))
    seen: set[str] = set()
    for name in ("f1-1", "f1-2"):
        html = figures.Figure(svg, name).html('a "rising" line & more')
        drawing = ElementTree.fromstring(html)[0]
        assert drawing.get("aria-label") == 'a "rising" line & more'
        own = {e.get("id") for e in drawing.iter() if e.get("id")}
        used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
        assert used and used | {name} == own and not own & seen
        seen |= own


def test_a_page_gets_its_drawings_in_the_place_of_images() -> None:
    """With the text of the image; other images stay."""
    hashed = "0" * 64
    body = (
        f'<img alt="a &lt; b" src="../_images/{hashed}.svg" /><img alt="c" src="../_static/x.svg">'
    )
    svg = _svg(lambda ax: ax.plot([0, 1]))
    done = figures.inlined(body, "chapters/losses", {f"{hashed}.svg": svg}.__getitem__)
    assert done.startswith('<div class="drawing"><svg') and 'aria-label="a &lt; b"' in done
    assert done.endswith('</svg></div><img alt="c" src="../_static/x.svg">')


def _fills(html: str, dark: bool) -> list[str]:
    """Return what the drawn paths are filled with, in the order in which they are drawn."""
    rules = dict(re.findall(r"(--[\w-]+):(#\w+);", html))
    found = re.findall(r'<path[^>]*?style="[^"]*?fill:([^;"]+)', html)
    return [_value(fill, rules if dark else {}) for fill in found]


def _value(colour: str, rules: dict[str, str]) -> str:
    variable = re.fullmatch(r"var\((--[\w-]+),(#\w+)\)", colour)
    return rules.get(variable[1], variable[2]) if variable else colour


def _contrast(one: str, other: str) -> float:
    """WCAG 2, written down here once more."""
    light = []
    for colour in (one, other):
        c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        light.append(c @ [0.2126, 0.7152, 0.0722])
    return float((max(light) + 0.05) / (min(light) + 0.05))


def test_in_the_light_a_figure_has_the_colours_it_was_drawn_in_and_no_white_ground() -> None:
    """The ground of figure and axes is gone; a white box in it is not."""

    def draw(ax: Any) -> None:
        ax.add_patch(pyplot.Rectangle((0, 0), 0.3, 1, fc="#cfe3f3"))
        ax.add_patch(pyplot.Rectangle((0.5, 0), 0.3, 1, fc="white"))

    html = figures.Figure(_svg(draw), "f").html("x")
    assert [fill for fill in _fills(html, dark=False) if fill != "none"] == ["#cfe3f3", "#ffffff"]
    pale, white = (fill for fill in _fills(html, dark=True) if fill != "none")
    assert white == colours.PAGE
    assert _contrast(pale, colours.LETTERS) > 4.5


@pytest.mark.parametrize("colour", plotting.COLOURS)
def test_every_colour_can_be_seen_in_the_dark(colour: str) -> None:
    """4.5 is what letters need, and some of ours have these colours."""
    assert _contrast(colours.in_the_dark(colour.lower()), colours.PAGE) > 4.5


def test_colours_stay_apart_in_the_dark() -> None:
    """No two of the series become alike."""
    dark = [colours.in_the_dark(colour.lower()) for colour in plotting.COLOURS]
    channels = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in dark]) / 255
    distances = np.linalg.norm(channels[:, None] - channels, axis=-1)
    assert distances[~np.eye(len(dark), dtype=bool)].min() > 0.1


@pytest.mark.parametrize("ground", ["#cfe3f3", "#E69F00", "#0072B2", "#f0f0f0", "#404040"])
def test_letters_can_be_read_on_every_ground_in_the_dark(ground: str) -> None:
    """Black ones, which stood on a box of that colour."""

    def draw(ax: Any) -> None:
        ax.add_patch(pyplot.Rectangle((0, 0), 1, 1, fc=ground))
        ax.text(0.5, 0.5, "letters", ha="center")
        ax.axis("off")

    html = figures.Figure(_svg(draw), "f").html("x")
    rules = dict(re.findall(r"(--[\w-]+):(#\w+);", html))
    (letters,) = _letters(html)
    (box,) = (fill for fill in _fills(html, dark=True) if fill != "none")
    assert _contrast(_value(letters, rules), box) > 4.5


def test_letters_do_not_take_other_letters_for_their_ground() -> None:
    """All of them, also those whose shapes stand at an earlier place, have the page's colour."""

    def draw(ax: Any) -> None:
        for y in np.linspace(0.1, 0.9, 5):
            ax.text(0.5, y, "again")

    seen = set(_letters(figures.Figure(_svg(draw), "f").html("x")))
    assert {letter.partition(",")[0] for letter in seen} == {f"var(--000000-{colours.LETTERS[1:]}"}


def test_letters_below_a_bar_that_is_cut_off_stand_on_the_page() -> None:
    """A bar on a logarithmic axis reaches down to minus infinity, but not as it is seen."""

    def draw(ax: Any) -> None:
        ax.bar([0], [1], color="#56B4E9")
        ax.set(yscale="log", ylim=(0.1, 1), xlabel="x")

    written = _letters(figures.Figure(_svg(draw), "f").html("x"))
    assert {letter.partition(",")[0] for letter in written} == {
        f"var(--000000-{colours.LETTERS[1:]}"
    }


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_many_marks_say_their_colour_once(alpha: float) -> None:
    """And all of them, if they can be seen through: opacity is not inherited."""
    html = figures.Figure(_svg(lambda ax: ax.plot(range(50), "o", alpha=alpha)), "f").html("x")
    groups = ElementTree.fromstring(html).iter("g")
    ((group, marks),) = [(g, list(g)) for g in groups if len(g) == 50]
    for mark in marks:
        style = mark.get("style", group.get("style"))
        assert style is not None and "0072b2" in style and ("opacity" in style) == (alpha < 1)
    assert sum("style" in mark.attrib for mark in marks) in (0, 50)


@pytest.mark.parametrize("alpha", [1, 0.25])
def test_what_lies_on_an_opaque_image_keeps_its_colours(alpha: float) -> None:
    """As the image does; where the page shines through, they follow the page."""

    def draw(ax: Any) -> None:
        ax.imshow(np.eye(4), cmap=plotting.INK, alpha=alpha)
        ax.text(1, 1, "x", color="#404040")
        ax.plot([0, 3], [0, 3], color="#404040")
        ax.set_xlabel("around", color="#404040")

    html = figures.Figure(_svg(draw), "f").html("x")
    line = re.search(r'style="fill:none;stroke:([^;"]+);stroke-width:1.8', html)
    around = [letter for letter in _letters(html) if "404040" in letter]
    assert line is not None and len(around) == 2
    kept = {letter for letter in (line[1], *around) if letter.startswith("#")}
    assert (kept == {"#404040"}) == (alpha == 1)
    assert sum(letter.startswith("var") for letter in around) == (1 if alpha == 1 else 2)


def test_a_committed_figure_is_small_and_looks_the_same() -> None:
    """A line per element, and no coordinate moved by more than half a hundredth of a point."""
    with plotting.style():
        figure, ax = pyplot.subplots()
        ax.plot(np.linspace(0, 1, 300), np.random.default_rng(0).random(300))
        ax.imshow(np.eye(3))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    before, after = file.getvalue(), compact(file.getvalue())
    assert len(after) < 0.8 * len(before) and compact(after) == after
    number = r"-?\d+(?:\.\d+)?"
    old, new = (
        [float(n) for n in re.findall(number, " ".join(re.findall(r' d="([^"]*)"', text)))]
        for text in (before, after)
    )
    np.testing.assert_allclose(new, old, atol=0.005001)
    assert re.findall(r"matrix\([^)]*\)", after) == re.findall(r"matrix\([^)]*\)", before)
    assert re.findall(r"base64,[^\"]*", after) == re.findall(r"base64,[^\"]*", before)
