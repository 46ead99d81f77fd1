"""What is typed on the command line, read: numbers, sizes, ranges of workers, seconds, places.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

_LONGEST = 1e9
"""The longest wait, in seconds; a clock of the system holds no more than ten times this."""


def whole(least: int = 1) -> Callable[[str], int]:
    """Return what reads a whole number of at least so much.

    Examples
    --------
    >>> whole(0)("0")
    0
    >>> whole(1)("0")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected a whole number of at least 1, got '0'.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            _refuse(f"a whole number of at least {least}", text)
        return value

    return read


def number(text: str) -> float:
    """Read a finite number.

    Examples
    --------
    >>> number("1e-3")
    0.001
    """
    value = _float(text)
    if not math.isfinite(value):
        _refuse("a finite number", text)
    return value


def seconds(text: str) -> float:
    """Read how long to wait.

    Examples
    --------
    >>> seconds("0.5")
    0.5
    >>> seconds("inf")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected seconds above 0 and up to 1e+09, got 'inf'.
    """
    value = _float(text)
    if not 0 < value <= _LONGEST:
        _refuse(f"seconds above 0 and up to {_LONGEST:g}", text)
    return value


def place(text: str) -> str:
    """Read a name or an address; an empty one is most often a variable that is not set.

    Examples
    --------
    >>> place("saved")
    'saved'
    """
    if not text.strip() or "\0" in text:
        _refuse("a name, not an empty one", text)
    return text


def sizes(text: str) -> list[int]:
    """Read the layers' widths.

    Examples
    --------
    >>> sizes("64,32,10")
    [64, 32, 10]
    """
    try:
        found = [whole()(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        found = []
    if len(found) < 2:
        _refuse("widths such as 64,32,10", text)
    return found


def workers(text: str) -> int | tuple[int, int]:
    """Read how many workers.

    Examples
    --------
    >>> workers("4"), workers("2:8")
    (4, (2, 8))
    """
    try:
        low, *high = (whole()(part) for part in text.split(":"))
    except argparse.ArgumentTypeError:
        low, high = 0, []
    if low < 1 or len(high) > 1:
        _refuse("a number such as 4, or LEAST:MOST such as 2:8", text)
    return (low, high[0]) if high else low


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _refuse(expected: str, text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}.")
