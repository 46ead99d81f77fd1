"""The examples under module constants run too: doctest itself looks only at functions, classes."""

import ast
import doctest
import importlib
from itertools import pairwise
from pathlib import Path

import pytest

import course_lib

ROOT = Path(course_lib.__file__).parent


def constants_with_docstrings() -> list[tuple[str, str, str]]:
    """All (module, name, docstring) where a string follows an assignment to a name."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(["course_lib", *path.relative_to(ROOT).with_suffix("").parts])
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for before, after in pairwise(body):
            match before, after:
                case (
                    ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)),
                    ast.Expr(ast.Constant(str(text))),
                ):
                    found.append((module, name, text))
    return found


CONSTANTS = constants_with_docstrings()


def test_the_activations_and_losses_are_found_with_examples() -> None:
    with_examples = {name for _, name, text in CONSTANTS if ">>>" in text}
    assert {*course_lib.activations.ALL, *course_lib.losses.ALL} <= with_examples


@pytest.mark.parametrize(("module", "name", "text"), CONSTANTS, ids=[c[1] for c in CONSTANTS])
def test_examples_run(module: str, name: str, text: str) -> None:
    names = dict(vars(importlib.import_module(module)))
    example = doctest.DocTestParser().get_doctest(text, names, f"{module}.{name}", None, None)
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.failed == 0, f"see the output of doctest for {module}.{name}"
