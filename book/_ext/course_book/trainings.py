"""The arguments of the trainings side by side, read from their code: it need not be imported."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

# In which order they stand in the table, and where each is written.
TRAININGS = {
    "fit": "course_lib/training.py",
    "fit_torch": "course_lib/torch_mlp/training.py",
    "parallel.train": "course_lib/parallel/training/driver.py",
    "torch_ddp.train": "course_lib/parallel/torch_ddp/training.py",
}
_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:, \w+)*)(?: : (?P<kind>.+))?")


class Argument(NamedTuple):
    """What the code says of an argument: its default ("" if it must be given), and its meaning."""

    default: str
    meaning: str


def trainings(root: Path) -> dict[str, dict[str, Argument]]:
    """Return the arguments of each training, by name."""
    found: dict[str, dict[str, Argument]] = {}
    for name, file in TRAININGS.items():
        tree = ast.parse((root / file).read_text("utf-8"))
        wanted = name.rpartition(".")[2]
        function = next(
            node for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == wanted
        )  # fmt: skip
        told = _told(ast.get_docstring(function) or "")
        found[name] = {
            argument: Argument(default, told.get(argument, ""))
            for argument, default in _defaults(function.args).items()
        }
    for arguments in found.values():  # "As for fit" is what stands there
        for word, argument in arguments.items():
            if other := re.match(r"(?:As for|See) :func:`~[\w.]+?\.(fit|run)`", argument.meaning):
                there = found.get(other[1], {}).get(word)
                if there is not None:
                    arguments[word] = argument._replace(meaning=there.meaning)
    return found


def first_clause(text: str) -> str:
    """Return what stands before the first full stop, semicolon or colon of an explanation."""
    return re.split(r"[.;:](?:\s|$)", text, maxsplit=1)[0]


def table(book: Path) -> str:
    """Return which training takes which argument, and what it means."""
    found = trainings(book.parent)
    words = list(dict.fromkeys(word for arguments in found.values() for word in arguments))
    words.sort(key=lambda word: -sum(word in arguments for arguments in found.values()))
    lines = [
        # Not as code, which would be cut anywhere to fit the narrow columns.
        f"| argument | {' | '.join(name.removesuffix('.train') for name in found)} | it means |",
        f"|---|{':-:|' * len(found)}---|",
    ]
    for word in words:
        has = ["●" if word in arguments else "" for arguments in found.values()]
        meaning = next(a[word].meaning for a in found.values() if word in a and a[word].meaning)
        lines.append(f"| `{word}` | {' | '.join(has)} | {_plain(first_clause(meaning))} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return reStructuredText as Markdown: names as code, and no column of a table in it."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"``?([^`]+)``?", r"`\1`", text).replace("|", "or")


def _defaults(arguments: ast.arguments) -> dict[str, str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    given: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*given, *arguments.defaults], strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        argument.arg: "" if default is None else ast.unparse(default) for argument, default in pairs
    }


def _told(docstring: str) -> dict[str, str]:
    """Return what the section on parameters says of each."""
    lines = docstring.partition("Parameters\n----------\n")[2].splitlines()
    told: dict[str, str] = {}
    names: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following.startswith("---"):
            break
        if line.startswith(" "):
            for name in names:
                told[name] = f"{told.get(name, '')} {line.strip()}".strip()
        elif entry := _ENTRY.fullmatch(line):
            names = entry["names"].split(", ")
    return told
