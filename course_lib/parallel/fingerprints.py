"""What tells one training from another: its settings in words, its data by a digest.

Chapter: when workers die.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

# Rows that are hashed at once: an array that is not contiguous is copied piece by piece.
_ROWS = 4096

# Where a schedule is asked; two that agree at all of them, in 9 digits, differ in their code.
_STEPS = (0, *(2**i for i in range(21)))


def digest(*arrays: Any) -> str:
    """Return the shapes of arrays, and a SHA-256 sum of all their numbers.

    Parameters
    ----------
    *arrays : array, or anything with ``shape``, ``dtype`` and ``fingerprint()``
        Of what cannot be read through (rows that lie in files), ``fingerprint()`` returns the bytes
        that stand for it.

    Examples
    --------
    >>> x = np.zeros((10_000, 4))
    >>> before = digest(x)
    >>> x[5001, 2] = 1e-300
    >>> before.partition(",")[0], digest(x) == before
    ('(10000', False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.dtype).encode())
        if hasattr(array, "fingerprint"):
            found.update(array.fingerprint())
            continue
        rows = np.atleast_1d(array)
        for start in range(0, len(rows), _ROWS):
            found.update(np.ascontiguousarray(rows[start : start + _ROWS]).data)
    shapes = " and ".join(str(tuple(array.shape)) for array in arrays)
    if any(hasattr(array, "fingerprint") for array in arrays):
        shapes += " (of files their size, the time of writing and some rows; of dask some blocks)"
    return f"{shapes}, sha256 {found.hexdigest()[:16]}"


def words(thing: Any) -> str:
    """Say what a setting is: its ``repr`` and, if there is more to it, a digest of the rest.

    The rest are functions (by their names, their code, their defaults and what they closed over;
    those of this package by their names), arrays, attributes that the ``repr`` does not
    show, and of a schedule ``lr`` the values at the steps 0, 1, 2, 4, 8, ..., 1,048,576. Of what
    else a function reads, such as global variables, nothing is known.

    Parameters
    ----------
    thing : object
        An optimizer, a network, a strategy, a loss, ....

    Examples
    --------
    >>> from course_lib import SGD
    >>> words(SGD(0.1))
    'SGD(lr=0.1, momentum=0.0, weight_decay=0.0)'
    >>> schedule = words(SGD(lambda t: 0.1 * 0.9**t))
    >>> schedule.partition(", sha256")[0]
    'SGD(lr=<function <lambda>>, momentum=0.0, weight_decay=0.0)'
    """
    found = hashlib.sha256()
    hidden = list(_hidden(thing, {}))
    for text in hidden:
        found.update(f"{len(text)} {text}".encode())
    return _plain(thing) + (f", sha256 {found.hexdigest()[:16]}" if hidden else "")


def _plain(thing: Any) -> str:
    # Where something lies in memory is no part of what it does.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))


def _hidden(thing: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield what the ``repr`` of something does not show; each thing once, as there are circles."""
    if isinstance(thing, str | bytes | type | ModuleType) or id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, np.ndarray):
        yield digest(thing)
    elif hasattr(thing, "detach"):  # a tensor of PyTorch
        yield digest(np.asarray(thing.detach().cpu().double()))
    elif isinstance(thing, FunctionType):
        yield f"{thing.__module__}.{thing.__qualname__}"
        if not _ours(thing):
            yield from _code(thing.__code__)
        closed = dict(zip(thing.__code__.co_freevars, _closed(thing), strict=True))
        given: dict[str, Any] = {"defaults": thing.__defaults__, "keywords": thing.__kwdefaults__}
        yield from _all(given | closed, "", seen)
    elif isinstance(thing, MethodType):
        yield from _all({"function": thing.__func__, "self": thing.__self__}, "", seen)
    elif isinstance(thing, partial):
        given = {"function": thing.func, "arguments": thing.args, "keywords": thing.keywords}
        yield from _all(given, "", seen)
    elif isinstance(thing, Mapping | list | tuple | set | frozenset):
        for part in thing.values() if isinstance(thing, Mapping) else thing:
            yield from _hidden(part, seen)
    elif is_dataclass(thing):
        yield from _all(_settings(thing), _plain(thing), seen)
    elif hasattr(thing, "__dict__"):
        own = {name: part for name, part in vars(thing).items() if not name.startswith("_")}
        if hasattr(thing, "state_dict"):  # a module of PyTorch, which hides its tensors
            own["state"] = thing.state_dict()
        yield from _all(own, _plain(thing), seen)


def _settings(thing: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, but for the options, behind the ``*``, that are not set.

    So an option that comes with a later version parts no training from its checkpoints.
    """
    own = {field.name: getattr(thing, field.name) for field in fields(thing) if field.compare}
    unset = {
        f.name for f in fields(thing) if f.kw_only and repr(f.default) == repr(own.get(f.name))
    }
    return {name: value for name, value in own.items() if name not in unset}


def _ours(thing: Any) -> bool:
    return str(thing.__module__).startswith("course_lib.")


def _closed(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet bound
            yield None


def _all(parts: Mapping[str, Any], shown: str, seen: dict[int, Any]) -> Iterator[str]:
    for name, part in parts.items():
        if not isinstance(part, FunctionType) and f"{name}={_plain(part)}" not in shown:
            yield f"{name}={_plain(part)}"
        if name == "lr" and callable(part) and not _ours(part):
            yield from (_value(part, step) for step in _STEPS)
        yield from _hidden(part, seen)


def _value(schedule: Any, step: int) -> str:
    try:
        return f"{float(schedule(step)):.9g}"
    except Exception as error:  # a table that ends, say
        return type(error).__name__


def _code(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_freevars}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:  # the order of a set changes from process to process
            parts = sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
            yield repr(parts)
