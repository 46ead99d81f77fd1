"""The tool that plants bugs at random: what it leaves out, and what it writes for the book."""

from __future__ import annotations

import parso

from tools.mutation.places import RemoveStatement, _noise
from tools.mutation.table import merged

SOURCE = """
import os

SIZE: int = 3 + 4

def walk(path: str | None, step: int = 1) -> int | None:
    '''Doc.'''
    if step < 0:
        raise ValueError(f"{step + 1} is too small" + "!")
    total = 2 * step
    total += 1
    os.environ["a"] = "b"
    os.getcwd()
    return total
"""


def leaves(node):
    """All nodes, the inner ones too."""
    yield node
    for child in getattr(node, "children", ()):
        yield from leaves(child)


def test_a_statement_that_is_left_out_is_one_whose_loss_is_not_seen_at_once():
    """Not one that makes a name: without it, the next line fails."""
    found = [
        node.get_code().strip()
        for node in leaves(parso.parse(SOURCE))
        for _ in RemoveStatement().mutation_positions(node)
    ]
    assert found == [
        'raise ValueError(f"{step + 1} is too small" + "!")',
        "total += 1",
        'os.environ["a"] = "b"',
        "os.getcwd()",
        "return total",
    ]


def test_types_and_texts_of_errors_are_left_alone():
    operators = [
        (node.get_code().strip(), node.start_pos[0])
        for node in leaves(parso.parse(SOURCE))
        if node.type == "operator" and node.value in "+*|<" and not _noise(node, "Replace")
    ]
    assert operators == [("+", 4), ("<", 8), ("*", 10)]


def test_reasons_are_kept_until_the_bug_is_found():
    def session(*outcomes):
        mutants = [
            {"before": f"a{i}", "after": "b", "outcome": outcome, "first": "survived"}
            for i, outcome in enumerate(outcomes)
        ]
        return {"x.py": {"mutants": mutants, "places": 9, "commit": "abc"}}

    first = merged([session("survived", "survived", "killed")], {})
    assert [s["reason"] for s in first["survivors"]] == ["", ""]
    first["survivors"][0]["reason"] = "equivalent: always so"
    other = {"y.py": {"mutants": [], "places": 1}}
    again = merged([session("survived", "killed", "killed"), other], first)
    assert again["survivors"] == [
        {"file": "x.py", "before": "a0", "after": "b", "reason": "equivalent: always so"}
    ]
    assert again["files"] == {
        "x.py": {"places": 9, "tried": 3, "first": 0, "killed": 2, "commit": "abc"}
    }
    assert merged([], again) == again
