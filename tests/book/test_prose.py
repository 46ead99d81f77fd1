"""A number in the text is not taken on trust: a cell of the page shows it, or it is worked out."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.book.book_files import cells, markdown, pages
from tests.book.prose import measured

GIVEN = "given"  # part of a question or a story: nothing has been measured

# Numbers that are worked out by hand in the text: page -> number -> the same in Python.
BY_HAND: dict[str, dict[str, str]] = {
    "chapters/concepts": {"2.001": GIVEN},
    "chapters/activations": {
        "1.5": GIVEN,
        "2.718": "exp(1)",
        "7.389": "exp(2)",
        "11.107": "1+e+e**2",
    },
    "chapters/losses": {"34.5": "-log(1e-15)", "2.30": "log(10)"},
    "chapters/gradient_descent": {
        "4.8": "4*(2.2-1)",
        "2.88": "4*(1.72-1)",
        "0.72": "1.72-1",
        "0.432": "0.6**3*2",
        "2.303": "log(10)",
    },
    "chapters/optimizers": {"0.980": "(100-1)/(100+1)", "0.818": "(10-1)/(10+1)"},
    "chapters/batches_validation": {
        "3.5": "(1+6)/2",
        "63": "100*357/569",
        "97": GIVEN,
        "0.73": "0.7+0.3/10",
        "0.952": "0.97-2*sqrt(0.97*0.03/359)",
        "0.988": "0.97+2*sqrt(0.97*0.03/359)",
    },
    "chapters/initialisation": {"95": GIVEN},
    "chapters/numpy_network": {"2.3": "log(10)"},
    "chapters/bug_museum": {"1.46": "log(e+9)-1"},
    "chapters/async_local_compressed": {"0.309": "sin(pi/10)"},
    "chapters/sharded_optimizers": {"7.5": GIVEN, "0.03": "1/32"},
    "chapters/when_workers_die": {"7.3": "2*365/100"},
    "chapters/search": {"0.002": GIVEN, "95": "100*(1-0.95**60)"},
    "reference/faq": {"99": GIVEN},
    "solutions/dask": {"99": GIVEN},
    "solutions/when_workers_die": {"1.4": "sqrt(2)"},
}


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def worked_out(number: str, formula: str) -> bool:
    """Tell whether a formula gives a number, at the digits with which it is printed."""
    digits = len(number.partition(".")[2])
    names = {name: getattr(math, name) for name in ("exp", "log", "sin", "sqrt", "e", "pi")}
    return f"{eval(formula, {'__builtins__': {}}, names):.{digits}f}" == number


def shown(path: Path) -> set[str]:
    """Return the numbers that the cells of a page contain or print."""
    found: set[str] = set()
    for cell in cells(path, "code") if path.suffix == ".ipynb" else []:
        outputs = ["".join(o.get("text", "")) for o in cell["outputs"]]
        outputs += ["".join(o.get("data", {}).get("text/plain", "")) for o in cell["outputs"]]
        found.update(re.findall(r"\d+(?:\.\d+)?", " ".join([cell["source"], *outputs])))
    return found


def bare(path: Path) -> list[tuple[str, str]]:
    """Return the numbers in the text of a page that look measured, and that nothing backs."""
    backed = shown(path) | set(BY_HAND.get(_name(path), {}))
    return [
        (number, around)
        for number, around in measured(markdown(path))
        if not {number, number.replace(",", ""), number.rstrip("0").rstrip(".")} & backed
    ]


@pytest.mark.parametrize("path", pages(".ipynb"), ids=_name)
def test_a_number_in_the_text_stands_in_a_cell_too(path: Path) -> None:
    """Use {glue:text}, print it, or cite who measured it; see CONTRIBUTING.md."""
    assert bare(path) == []


@pytest.mark.parametrize("page", BY_HAND)
def test_numbers_worked_out_by_hand_are_right(page: str) -> None:
    """And they are still there: an entry too many would excuse another number one day."""
    (path,) = (p for p in pages(".ipynb") if _name(p) == page)
    there = {number for number, _ in measured(markdown(path))}
    for number, formula in BY_HAND[page].items():
        assert number in there
        assert formula == GIVEN or worked_out(number, formula), (number, formula)


@pytest.mark.parametrize(
    "text",
    [
        "The accuracy is 0.973 after ten epochs.",
        "Two workers are 1.9 times as fast.",
        "It takes 12 ms.",
        "The test error is 3 %.",
        "They trained 40 times faster.",
    ],
)
def test_a_measured_number_in_a_text_is_found(text: str) -> None:
    """In each of the ways in which people write one."""
    assert len(measured(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "In 1986, with 3 layers and 64 inputs.",
        "The accuracy is {glue:text}`page_accuracy`.",
        "With $\\eta = 0.1$ and `lr=0.05`.",
        "They reached 84.7 % {cite:p}`krizhevsky2012`.",
        "```\n0.973\n```",
        "In section 2 of version 1.0.4.",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    """Years, counts, settings in code, formulas, and what others measured and is cited."""
    assert measured(text) == []
