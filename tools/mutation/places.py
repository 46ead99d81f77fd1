"""Which bugs can be planted into a file: what Cosmic Ray's operators would change, and where.

One operator of our own is added, which leaves a statement out. A random one is drawn for each
place, so a sum that could be made into eleven other operations counts no more than a condition.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import parso

_STATEMENTS = ("return_stmt", "raise_stmt", "del_stmt", "yield_expr")
# Whether equal numbers are one object is chance, so `is` takes the place of `is not` only.
_IDENTITY = re.compile(r"_(?!Is)\w+_Is(Not)?$|_Is(Not)?_(?!Is)\w+$")


class RemoveStatement:
    """Leaves out a call, a raise, a return or an assignment to what exists already."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the place of a statement in a function that can be left out."""
        line = node.parent
        if line is None or line.type != "simple_stmt" or _function(node) is None:
            return
        call = node.type in ("atom_expr", "power") and node.children[-1].type == "trailer"
        changes = node.type == "expr_stmt" and (
            node.children[1].type == "operator"
            and (node.children[1].value != "=" or node.children[0].type in ("atom_expr", "power"))
        )
        if call or changes or node.type in _STATEMENTS:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put ``pass`` there."""
        first = node.get_first_leaf()
        return parso.python.tree.Keyword("pass", node.start_pos, first.prefix)


class Mutant(NamedTuple):
    """One bug: what stood in the line, what stands there now, and how it is made."""

    line: int
    before: str
    after: str
    operator: str
    occurrence: int


def mutants(source: str, n: int | None, seed: str) -> tuple[int, list[Mutant]]:
    """Return how many places a file has, and a mutant at `n` of them; at all of them for None."""
    from cosmic_ray.ast import ast_nodes, get_ast

    tree = get_ast(source)
    at: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    for name, operator in _operators():
        found = (
            (node, start)
            for node in ast_nodes(tree)
            for start, _ in operator.mutation_positions(node)
        )
        for occurrence, (node, start) in enumerate(found):
            if not _noise(node, name):
                at[start].append((name, occurrence))
    rng, chosen = random.Random(seed), []
    places = sorted(at)
    rng.shuffle(places)
    for place in places:
        if n is not None and len(chosen) == n:
            break
        rng.shuffle(at[place])
        chosen += [m for name, k in at[place][:1] if (m := _mutant(source, place[0], name, k))]
    return len(places), sorted(chosen)


def mutate(source: str, mutant: Mutant) -> str:
    """Return the source with the bug in it."""
    from cosmic_ray.mutating import mutate_code

    return str(mutate_code(source, dict(_operators())[mutant.operator], mutant.occurrence))


def again(source: str, tried: dict[str, Any]) -> Mutant | None:
    """Return a mutant that was tried before, wherever it is now; None if the line has gone."""
    from cosmic_ray.ast import ast_nodes, get_ast

    operator = dict(_operators())[tried["operator"]]
    found = [
        start[0]
        for node in ast_nodes(get_ast(source))
        for start, _ in operator.mutation_positions(node)
    ]
    lines = source.splitlines()
    like = [k for k, line in enumerate(found) if lines[line - 1].strip() == tried["before"]]
    for k in sorted(like, key=lambda k: abs(k - tried["occurrence"])):
        mutant = _mutant(source, found[k], tried["operator"], k)
        if mutant and mutant.after == tried["after"]:
            return mutant
    return None


def _operators() -> list[tuple[str, Any]]:
    import cosmic_ray.plugins

    names = [n for n in cosmic_ray.plugins.operator_names() if not _IDENTITY.search(n)]
    found = [(name, cosmic_ray.plugins.get_operator(name)) for name in names]
    known = [(name.partition("/")[2], cls()) for name, cls in found if not cls.arguments()]
    return [*known, ("RemoveStatement", RemoveStatement())]


def _mutant(source: str, line: int, operator: str, occurrence: int) -> Mutant | None:
    """Make a mutant, or None if it is no Python."""
    changed = mutate(source, Mutant(line, "", "", operator, occurrence))
    try:
        compile(changed, "mutant", "exec")
    except (SyntaxError, ValueError):
        return None
    old, new = source.splitlines(), changed.splitlines()
    if old == new:
        return None
    if operator == "RemoveDecorator":
        return Mutant(line, old[line - 1].strip(), "", operator, occurrence)
    first = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    return Mutant(first + 1, old[first].strip(), new[first].strip(), operator, occurrence)


def _noise(node: Any, operator: str) -> bool:
    """Whether it is an annotation, only for type checkers, or in the text of an error."""
    if node.type == "if_stmt" and "TYPE_CHECKING" in node.children[1].get_code():
        return True
    inner = node
    while (parent := inner.parent) is not None:
        if parent.type == "raise_stmt" and operator != "RemoveStatement":
            return True
        if parent.type == "parameters" and inner.type == "operator":  # the star of f(*, x)
            return True
        if parent.type in ("annassign", "tfpdef", "tname") and inner is parent.children[1]:
            return True
        if parent.type in ("tfpdef", "tname") and inner is parent.children[-1]:
            return True
        if parent.type == "funcdef" and inner is parent.annotation:
            return True
        if parent.type == "if_stmt" and "TYPE_CHECKING" in parent.children[1].get_code():
            return True
        inner = parent
    return False


def _function(node: Any) -> Any:
    return parso.tree.search_ancestor(node, "funcdef")
