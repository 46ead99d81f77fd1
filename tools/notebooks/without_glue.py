"""Takes out of a cell what only the book needs: the calls that hand values to the text."""

from __future__ import annotations

import ast
from collections.abc import Iterable


def without_glue(source: str) -> str:
    """Return the code of a cell without ``glue(...)`` and its import.

    A loop that does nothing else goes with it.

    Examples
    --------
    >>> print(without_glue("from myst_nb import glue\\nx = 1\\nglue('x', x)\\nprint(x)"))
    x = 1
    print(x)
    """
    if "glue" not in source:
        return source
    lines = source.split("\n")
    gone: set[int] = set()
    for statement in _only_glue(ast.parse(source).body):
        gone |= set(range(statement.lineno - 1, statement.end_lineno or statement.lineno))
    return "\n".join(line for n, line in enumerate(lines) if n not in gone).strip("\n")


def _only_glue(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Return the statements that hand values to the text and do nothing else."""
    found: list[ast.stmt] = []
    for statement in body:
        inside = getattr(statement, "body", [])
        below = _only_glue(inside)
        if _hands_on(statement) or (inside and len(below) == len(inside)):
            found.append(statement)
        else:
            found += below
    return found


def _hands_on(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "myst_nb"
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "id", "") == "glue"


def defined(source: str) -> set[str]:
    """Return the names that a cell gives a value, a function or a class to."""
    tree = ast.parse(source)
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and _stored(n)}
    return names | {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def imported(source: str) -> set[str]:
    """Return the names that a cell imports."""
    imports = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom))
    return {(name.asname or name.name) for statement in imports for name in statement.names}


def used(source: str) -> set[str]:
    """Return the names that a cell reads."""
    tree = ast.parse(source)
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not _stored(n)}


def _stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)
