"""Every door with every wrong value: what the tests of the doors share.

A door is a public function, method or class: one valid call, and for each argument which of the
values in POOL have a meaning there. Every other value of the pool has to be refused by a sentence
of ours, which names the argument and says what came.
"""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib import pyplot

import course_lib
from course_lib.optimizers import Adam

PACKAGE = str(Path(course_lib.__file__).parent)


class Something:
    """An object that nothing here has a use for."""

    def __repr__(self) -> str:
        return "Something()"


POOL: dict[str, Any] = {
    "None": None,
    "text": "seven",
    "no text": "",
    "bytes": b"7",
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "-1": -1,
    "0": 0,
    "half": 0.5,
    "True": True,
    "1j": 1j,
    "empty": [],
    "numbers": [1, 2, 3, 4, 5],
    "ragged": [[1.0], [2.0, 3.0]],
    "texts": np.array(["a", "b"]),
    "objects": np.array([None, {}], dtype=object),
    "complex": np.array([1j, 2j]),
    "cube": np.ones((2, 2, 2, 2)),
    "nan array": np.array([[np.nan, 1.0]]),
    "dict": {"a": 1},
    "class": Adam,
    "object": Something(),
    "function": lambda one, two, three, four, five: None,  # of more than anybody calls with
}

# What has a meaning where; each name is a sentence about the argument.
WHOLE = frozenset[str]()  # at least 1: nothing in the pool is one
WHOLE0 = frozenset({"0"})
POSITIVE = frozenset({"half"})
NUMBER0 = frozenset({"0", "half"})
NUMBER = frozenset({"-1", "0", "half"})
INTEGER = frozenset({"-1", "0"})
FLAG = frozenset({"True"})
TEXT = frozenset({"text", "no text"})
NAME = frozenset[str]()  # one of a few: the pool has none of them
ONLY = frozenset[str]()  # an object of one kind, which is not in the pool
REALS = frozenset({"nan", "inf", "-inf", "-1", "0", "half", "True", "numbers", "cube", "nan array"})
ANYTHING = frozenset(POOL)
OPTIONAL = frozenset({"None"})
EMPTY = frozenset({"empty"})


class Argument(NamedTuple):
    """A valid value, what else is valid, and by which words an error may call the argument."""

    value: Any
    accepts: frozenset[str]
    words: str = ""


class Door(NamedTuple):
    """A valid call: each argument by name."""

    name: str
    call: Callable[..., Any]
    arguments: Mapping[str, Argument]
    errors: tuple[type[Exception], ...] = (ValueError, TypeError)

    def run(self, **wrong: Any) -> Any:
        """Call it with the valid arguments, and those that are given instead."""
        values = {name: a.value for name, a in self.arguments.items()} | wrong
        parameters = inspect.signature(self.call).parameters.values()
        plain = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.name in values]
        return self.call(*(values.pop(name) for name in plain), **values)


def door(
    call: Callable[..., Any], /, *, called: str = "", raises: type[Exception] = ValueError,
    **arguments: tuple[Any, ...],
) -> Door:  # fmt: skip
    """Write a door down: ``epochs=(1, WHOLE)`` says a valid value, and what else is valid."""
    name = called or call.__qualname__
    table = {key: Argument(*given) for key, given in arguments.items()}
    return Door(name, call, table, (ValueError, TypeError, raises))


def places(doors: list[Door]) -> Iterator[tuple[str, Door, str]]:
    """List all arguments of all doors, each with a name for its test."""
    for entry in doors:
        for name in entry.arguments:
            yield f"{entry.name}-{name}", entry, name


def verdict(entry: Door, name: str, what: str) -> str | None:
    """Say what is wrong with how a door takes one value of the pool; None if all is well."""
    argument = entry.arguments[name]
    try:
        entry.run(**{name: POOL[what]})
    except Exception as error:
        if what in argument.accepts:
            return f"{what}: has a meaning, but raised {type(error).__name__}: {error}"
        return _fault_of(error, entry.errors, name, what, argument.words)
    return None if what in argument.accepts else f"{what}: accepted, though it means nothing"


def _fault_of(
    error: Exception, errors: tuple[type[Exception], ...], name: str, what: str, words: str
) -> str | None:
    text, told = str(error), f"{what}: {type(error).__name__}: {error}"
    if not isinstance(error, errors):
        return f"{told}\n    is none of {errors}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    code = trace.tb_frame.f_code
    raised = dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    if not (raised and code.co_filename.startswith(PACKAGE)):
        return f"{told}\n    came from the depth: {code.co_filename}:{trace.tb_lineno}"
    if not re.search(rf"\b({words or re.escape(name)})\b", text):
        return f"{told}\n    does not name the argument {name}"
    if not re.search(r"\bgot\b|unknown|is not a", text) or not text.endswith((".", "}")):
        return f"{told}\n    does not say what came, in a sentence"
    return None


def check_all(entry: Door, name: str) -> None:
    """Make the valid call, and then one with each wrong value of an argument."""
    entry.run()
    pyplot.close("all")  # what is drawn stays open otherwise
    with np.errstate(all="ignore"):
        faults = list(filter(None, (verdict(entry, name, what) for what in POOL)))
    assert not faults, "\n".join(faults[:4])


def every_argument(doors: list[Door]) -> pytest.MarkDecorator:
    """Make one test of each argument of each door."""
    cases = [pytest.param(e, n, id=i) for i, e, n in places(doors)]
    return pytest.mark.parametrize(("entry", "name"), cases)


def left_out(doors: list[Door]) -> set[str]:
    """List the arguments that stand in no entry of their door."""
    missing = set()
    for call in {id(entry.call): entry.call for entry in doors}.values():
        known = {name for entry in doors if entry.call is call for name in entry.arguments}
        for name, parameter in inspect.signature(call).parameters.items():
            options = parameter.kind is parameter.VAR_KEYWORD
            if not (name in known or name.startswith("_") or options):
                missing.add(f"{getattr(call, '__qualname__', call)}({name})")
    return missing
