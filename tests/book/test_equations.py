"""Every numbered equation of the book is computed, in a second way, by a test that names it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

from tests.book.book_files import markdown, pages

_LABEL = re.compile(r"\$\$\s*\(([\w:.-]+)\)|^:label:\s*(?!fig-)(\S+)", re.MULTILINE)


def labels(text: str) -> list[str]:
    """Return the labels of the equations in a MyST text."""
    return [first or second for first, second in _LABEL.findall(text)]


def marked(source: str) -> list[str]:
    """Return what stands in ``@pytest.mark.equation(...)`` anywhere in a Python source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.equation":
            found += [ast.literal_eval(argument) for argument in node.args]
    return found


def _in_book() -> list[str]:
    return [x for path in pages(".ipynb") + pages(".md") for x in labels(markdown(path))]


def _in_tests(root: Path) -> set[str]:
    return {x for path in (root / "tests").rglob("*.py") for x in marked(path.read_text("utf-8"))}


def test_every_label_is_used_once_and_starts_with_eq() -> None:
    """A label that exists twice numbers only one of the two equations."""
    count = Counter(_in_book())
    assert [label for label, n in count.items() if n > 1 or not label.startswith("eq-")] == []


def test_every_equation_has_a_test(root: Path) -> None:
    """Mark the test with ``@pytest.mark.equation("eq-...")``."""
    without = sorted(set(_in_book()) - _in_tests(root))
    assert not without, f"no test names {', '.join(without)}"


def test_every_marked_test_has_its_equation(root: Path) -> None:
    """A test that names an equation which is not in the book proves nothing about the book."""
    unknown = sorted(_in_tests(root) - set(_in_book()))
    assert not unknown, f"no equation is labelled {', '.join(unknown)}"


def test_both_sides_are_found_in_a_small_example() -> None:
    """The forms that MyST and pytest allow."""
    text = "$$\nz\n$$ (eq-a)\n\n$$ y $$ (eq-b)\n\n$$ x $$\n\n```{math}\n:label: eq-c\nx\n```"
    assert labels(text) == ["eq-a", "eq-b", "eq-c"]
    source = (
        "@pytest.mark.equation('x-a')\ndef test(): ...\n"
        "p = pytest.param(1, marks=pytest.mark.equation('x-b'))"
    )
    assert marked(source) == ["x-a", "x-b"]
