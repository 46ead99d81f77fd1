"""Writes the book's errata page from book/reference/errata.toml and the tests that prove it.

To be run (`make errata`) after an entry or a test of it was changed. A test compares what this
would write with what is there.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("book/reference/errata.toml")
PAGE = Path("book/reference/errata.md")
TESTS = Path("tests/book/test_errata.py")

_OPENING = """# Errata

The course started from a published article. Reading it closely, we found the faults below. Each is
told in our own words and has a correction, a chapter that teaches it, and a test. Where the fault
can be run, the test makes it happen and shows that the correction cures it. The tests are in
`tests/book/test_errata.py`, and run whenever the project is tested. They measure the numbers on
this page again, too. Their names are the sentences that stand here in italics.

The page is made from `book/reference/errata.toml`, so other programs can read it too.

## The listing of section 4.1, measured

The article's network in NumPy, rebuilt with a switch for each fault: 64-32-10, 200 epochs with
the whole data set as one batch, all 1,797 digits of scikit-learn. The result is the accuracy on
these digits, from the lowest to the highest of five starts. Guessing gives 0.1. A dead unit is off
for every image.

| variant | learning rate | result |
|---|---|---|
{variants}

The last two lines are the lesson. A missing derivative, and the accuracy does not show it; the
{{doc}}`gradient check </chapters/gradient_checking>` does, at once.

## Every fault
"""

_FAULT = """
(erratum-{number})=
### {number}. {title}

In the article: {section}
: {claim}

What happens
: {happens}
{note}
Correction
: {correction}

Taught in
: {chapters}

Tested by
: {tests}
"""

_REFERENCES = """
## The references, corrected

| reference | what is wrong in it | correct |
|---|---|---|
{rows}

The other references agree with what we checked. All sources of the course are in the
{{doc}}`bibliography`.

## Errata of this book

None is known. A fault that is reported becomes an entry here, together with a test that fails
without the correction; {{doc}}`contributing` says how to report one.
"""


def load(root: Path) -> dict[str, Any]:
    """Return the data of the page."""
    return tomllib.loads((root / DATA).read_text(encoding="utf-8"))


def tests_of(source: str) -> dict[int, list[str]]:
    """Return the names of the tests marked ``@pytest.mark.erratum(n)``, for each n."""
    found: dict[int, list[str]] = {}
    for node in ast.walk(ast.parse(source)):
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.erratum":
                for number in mark.args:
                    found.setdefault(ast.literal_eval(number), []).append(node.name)
    return found


def _span(low: float, high: float) -> str:
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def _outcome(variant: dict[str, Any]) -> str:
    if "not_finite_at_epoch" in variant:
        first, last = variant["not_finite_at_epoch"]
        return f"diverges: not finite at epoch {first if first == last else f'{first} to {last}'}"
    text = f"accuracy {_span(*variant['accuracy'])}"
    return text + (", every hidden unit dead" if variant.get("every_unit_dead") else "")


def _fill(text: str, measured: dict[str, Any]) -> str:
    """Put the measured numbers where the text names them; other braces are LaTeX."""
    return re.sub(
        r"\{(\w+)\}", lambda m: measured[m[1]]["value"] if m[1] in measured else m[0], text
    )


def page(root: Path) -> str:
    """Return the text of the page."""
    data = load(root)
    tests = tests_of((root / TESTS).read_text(encoding="utf-8"))
    lines = [f"| {v['what']} | {v['rate']:g} | {_outcome(v)} |" for v in data["variant"]]
    text = _OPENING.format(variants="\n".join(lines))
    for fault in data["fault"]:
        text += _FAULT.format(
            **{k: fault[k] for k in ("number", "section", "title", "claim", "correction")},
            happens=_fill(fault["happens"], data["measured"]),
            note=f"\nNot run\n: {fault['not_run']}\n" if "not_run" in fault else "",
            chapters=", ".join(f"{{doc}}`/chapters/{name}`" for name in fault["chapters"]),
            # As sentences: a name in code style does not break, and runs off a narrow page.
            tests="; ".join(
                f"*{name.removeprefix('test_').replace('_', ' ')}*"
                for name in tests.get(fault["number"], [])
            ),
        )
    rows = [f"| {r['number']} | {r['wrong']} | {{cite:t}}`{r['key']}` |" for r in data["reference"]]
    return text + _REFERENCES.format(rows="\n".join(rows))


def main() -> None:
    """Write the page."""
    (ROOT / PAGE).write_text(page(ROOT), encoding="utf-8")


if __name__ == "__main__":
    main()
