"""MyST becomes Markdown that any notebook program shows; what the book alone needs goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.notebooks.markup import Figure, Page, blocks, markdown
from tools.notebooks.without_glue import defined, imported, used, without_glue

PAGE = Page(
    mentions={
        ":eq:`eq-b`": [("(4.2)", "chapters/b.html#equation-eq-b")],
        ":doc:`b`": [("The *other*", "chapters/b.html")],
        ":cite:t:`a1990`": [("A [", ""), ("1990", "bib#id1"), ("]", "")],
        ":ref:`gone`": [("Gone", "nowhere")],
        ":term:`two words`": [("two words", "words.html#term-two-words")],
    },
    equations={"equation-eq-a": "4.1", "equation-eq-b": "4.2"},
    figures={},
    glued={"share": "90 %"},
    link=lambda target: None if target == "nowhere" else target.replace(".html", ".ipynb"),
)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("by {eq}`eq-b`.", "by [(4.2)](chapters/b.ipynb#equation-eq-b)."),
        ("{doc}`b` says", "[The *other*](chapters/b.ipynb) says"),
        ("{cite:t}`a1990` found", "A [[1990](bib#id1)] found"),
        ("in {glue:text}`share` of", "in 90 % of"),
        ("{ref}`gone`, then", "Gone, then"),
        ("a {term}`two\nwords` b", "a [two words](words.ipynb#term-two-words) b"),
        ("type `{eq}` or ``{eq}`eq-b` ``", "type `{eq}` or ``{eq}`eq-b` ``"),
        ("(a-place)=\n## Title", '<a id="a-place"></a>\n\n## Title'),
        (
            "$$\nx = 1\n$$ (eq-a)",
            '<a id="equation-eq-a"></a>\n\n$$\nx = 1 \\tag{4.1}\n$$',
        ),
        ("$$\nx = 1\n$$", "$$\nx = 1\n$$"),
        ("```python\nf'{x}`y`'\n(a)=\n```", "```python\nf'{x}`y`'\n(a)=\n```"),
        (
            ":::{dropdown} Hint\nSee {eq}`eq-b`.\n:::",
            "<details><summary>Hint</summary>\n\n"
            "See [(4.2)](chapters/b.ipynb#equation-eq-b).\n\n</details>",
        ),
        (
            ":::{admonition} Take `care`\n:class: warning\nOne.\n\nTwo.\n:::",
            "> **Take `care`**\n>\n> One.\n>\n> Two.",
        ),
        (
            "::::{tab-set}\n:::{tab-item} NumPy\n```python\nx\n```\n:::\n"
            ":::{tab-item} Torch\ny\n:::\n::::",
            "*NumPy*\n\n```python\nx\n```\n\n*Torch*\n\ny",
        ),
        (
            "```{glossary}\nbatch\n  Some rows.\n  More.\n\nall-reduce\n  A sum.\n```",
            '<a id="term-batch"></a>**batch**: Some rows.\nMore.\n\n'
            '<a id="term-all-reduce"></a>**all-reduce**: A sum.',
        ),
    ],
)
def test_what_is_written_becomes_what_is_shown(source: str, shown: str) -> None:
    """Each construct of the book's text, and what only looks like one."""
    assert markdown(source, PAGE) == shown


def test_a_formula_without_a_number_keeps_apart_from_the_next_one() -> None:
    """The number goes into the formula that has the label, not into all that stands before it."""
    text = "$$\nx\n$$\n\nand then\n\n$$\ny\n$$ (eq-a)\n\n$$\nz\n$$ (eq-b)"
    assert markdown(text, PAGE) == (
        '$$\nx\n$$\n\nand then\n\n<a id="equation-eq-a"></a>\n\n$$\ny \\tag{4.1}\n$$\n\n'
        '<a id="equation-eq-b"></a>\n\n$$\nz \\tag{4.2}\n$$'
    )


def test_an_interactive_figure_cuts_the_text() -> None:
    """It becomes cells of its own, between what stands before and after it."""
    text = "```{interactive} ring\n:data: x\n:caption: See {eq}`eq-b`.\n:alt: A ring.\n```"
    before, figure, after = blocks(f"before\n\n{text}\nafter", PAGE)
    assert (before, after) == ("before", "after")
    caption = "See [(4.2)](chapters/b.ipynb#equation-eq-b)."
    assert figure == Figure("ring", "fig-interactive-ring", caption, "A ring.")
    (second,) = blocks(text.replace(":data: x", ":label: fig-again"), PAGE)
    assert second == Figure("ring", "fig-again", caption, "A ring.")


def test_a_file_is_included_from_the_folder_of_the_page(tmp_path: Path) -> None:
    """As code in its language."""
    (tmp_path / "x.py").write_text("x = 1\n", "utf-8")
    page = Page({}, {}, {}, folder=tmp_path)
    text = "```{literalinclude} x.py\n:language: python\n```"
    assert markdown(text, page) == "```python\nx = 1\n```"


def test_a_directive_that_no_notebook_can_show_is_refused_by_name() -> None:
    """Rather than shown raw."""
    with pytest.raises(ValueError, match="no notebook can show the directive 'mermaid'"):
        markdown("```{mermaid}\ngraph\n```", PAGE)


@pytest.mark.parametrize("source", ["{eq}`unknown`", "{glue:text}`unknown`"])
def test_a_mention_that_sphinx_did_not_see_is_an_error(source: str) -> None:
    """The book must be built again; a guess would be wrong."""
    with pytest.raises(KeyError):
        markdown(source, PAGE)


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("x = 1\nglue('x', x)", "x = 1"),
        ("glue(\n    'x',\n    1,\n)\ny = 2", "y = 2"),
        ("from myst_nb import glue\nimport math", "import math"),
        ("for k in d:\n    glue(k, d[k])\nprint(1)", "print(1)"),
        ("for k in d:\n    print(k)\n    glue(k, d[k])", "for k in d:\n    print(k)"),
        ("if d:\n    for k in d:\n        glue(k, 1)", ""),
        ("unglued = 1  # glue", "unglued = 1  # glue"),
        ("x = 'glue(1)'", "x = 'glue(1)'"),
    ],
)
def test_what_hands_values_to_the_text_is_taken_out(source: str, left: str) -> None:
    """With the loops that do nothing else; comments and strings stay."""
    assert without_glue(source) == left


def test_names_of_a_cell() -> None:
    """What it defines, reads and imports."""
    source = "from a import b as c\nimport d\n\ndef f(x):\n    return x + y\n\nz = f(c)"
    assert {"f", "z"} <= defined(source)
    assert {"y", "f", "c"} <= used(source) and "z" not in used(source)
    assert imported(source) == {"c", "d"}
