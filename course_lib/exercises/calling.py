"""Call the learner's code so that nothing it does can harm the check.

Chapter: none; this file serves the exercises of all chapters.
"""

from __future__ import annotations

import copy
import inspect
import linecache
import warnings
from typing import Any

import numpy as np

from course_lib.exercises.verdict import NOT_YET, Mistake

_LONGEST = 1_000  # characters of an error in a hint


def call(answer: Any, *args: Any, **kwargs: Any) -> Any:
    """Return ``answer(*args, **kwargs)``; whatever goes wrong in it becomes a Mistake.

    The answer gets copies of the arrays (also of those in lists and dictionaries) and of the random
    generators among its arguments. Warnings of its code are not shown.

    Examples
    --------
    >>> call(lambda z: 2 * z, np.array([1.0, 2.0]))
    array([2., 4.])
    >>> call(lambda z: z.sum(axis=1), np.array([1.0, 2.0]), alpha=2.0)
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: wrong-arguments: your function cannot be called as the
    task says: got an unexpected keyword argument 'alpha'. Keep the arguments of the starter.
    """
    given, named = _copied(args), _copied(kwargs)
    result = _run(answer, given, named)
    if result is None or result is Ellipsis or result is NotImplemented:
        raise Mistake(NOT_YET, f"let {_name(answer)} return something")
    if not (_equal(args, given) and _equal(kwargs, named)):
        hint = f"{_name(answer)} changes an array that it was given. Others may still need it:"
        raise Mistake("input-changed", f"{hint} compute into a new one.")
    return result


def kind_of(value: Any) -> str:
    """Return what kind of thing a value is, for a sentence.

    Examples
    --------
    >>> kind_of(3), kind_of([])
    ('an int', 'a list')
    """
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _name(answer: Any) -> str:
    name = getattr(answer, "__name__", "your function")
    return "your function" if name == "<lambda>" else str(name)


def _run(answer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not callable(answer):
        raise Mistake("not-a-function", f"Give the check a function, not {kind_of(answer)}.")
    try:
        inspect.signature(answer).bind(*args, **kwargs)
    except TypeError as error:
        hint = f"{_name(answer)} cannot be called as the task says: {error}."
        raise Mistake("wrong-arguments", f"{hint} Keep the arguments of the starter.") from None
    except ValueError:
        pass  # a function written in C may have no signature
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return answer(*args, **kwargs)
    except NotImplementedError:
        raise Mistake(NOT_YET, f"write {_name(answer)}") from None
    except Mistake:
        raise
    except Exception as error:
        text = str(error)[:_LONGEST].rstrip(".") or "no message"
        hint = f"{_place(error)}: {type(error).__name__}: {text}."
        raise Mistake("raises-an-error", hint) from error


def _place(error: Exception) -> str:
    """Say in which line of the learner's code an error was raised."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None  # after our own frame
    if trace is None:
        return "Your function stops"
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    while trace.tb_next is not None:
        trace = trace.tb_next
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
    source = linecache.getline(file, line).strip()
    return f"Your code stops in line {line}" + f", `{source}`" * bool(source)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.random.Generator):
        return copy.deepcopy(value)
    if type(value) in (list, tuple):
        return type(value)(_copied(part) for part in value)
    if type(value) is dict:
        return {key: _copied(part) for key, part in value.items()}
    return value


def _equal(before: Any, after: Any) -> bool:
    """Tell whether what was copied is still the same; of anything else it is taken for granted."""
    if isinstance(before, np.ndarray):
        nan = before.dtype.kind in "fc"
        return before.shape == after.shape and np.array_equal(before, after, equal_nan=nan)
    if type(before) in (list, tuple):
        return len(before) == len(after) and all(map(_equal, before, after))
    if type(before) is dict:
        return before.keys() == after.keys() and all(_equal(before[k], after[k]) for k in before)
    return before is after or isinstance(before, np.random.Generator)
