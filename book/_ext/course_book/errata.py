"""The errata: what ``reference/errata.toml`` and the tests that prove it say, as Markdown."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

DATA = Path("reference/errata.toml")
TESTS = Path("tests/book/test_errata.py")

_FAULT = """
{{#erratum-{number}}}
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


def load(book: Path) -> dict[str, Any]:
    """Return the data of the page."""
    return tomllib.loads((book / DATA).read_text(encoding="utf-8"))


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


def variants(book: Path) -> str:
    """Return the table of what the article's listing does with and without its faults."""
    rows = [f"| {v['what']} | {v['rate']:g} | {_outcome(v)} |" for v in load(book)["variant"]]
    return "\n".join(["| variant | learning rate | result |", "|---|---|---|", *rows])


def faults(book: Path) -> str:
    """Return a section for every fault."""
    data = load(book)
    tests = tests_of((book.parent / TESTS).read_text(encoding="utf-8"))
    text = ""
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
    return text


def references(book: Path) -> str:
    """Return the table of the references that are wrong, with the right ones."""
    rows = [
        f"| {r['number']} | {r['wrong']} | {{cite:t}}`{r['key']}` |"
        for r in load(book)["reference"]
    ]
    return "\n".join(["| reference | what is wrong in it | correct |", "|---|---|---|", *rows])
