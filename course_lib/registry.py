"""Everything that can be chosen by name is found here, and a misspelt name gets a helpful answer.

A registry is a plain dictionary from name to object; :func:`lookup` is the one way in.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(what: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``, or say which names there are.

    Parameters
    ----------
    what : str
        What is being looked up, for the error sentence: ``"activation"``.
    name : str
        The name asked for.
    table : Mapping[str, T]
        The names there are.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no such name; the message lists all names and the nearest one.

    Examples
    --------
    >>> lookup("fruit", "aple", {"apple": 1, "pear": 2})
    Traceback (most recent call last):
    ...
    ValueError: unknown fruit 'aple'; did you mean 'apple'? Known: apple, pear.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"{what}: expected a name (one of {', '.join(table)}), got {type(name).__name__}."
        )
    if name in table:
        return table[name]
    import difflib  # here, because only a misspelt name needs it

    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"unknown {what} {name!r}{hint} Known: {', '.join(table)}.")
