"""What is typed on the command line, read: sizes, and ranges of workers.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse


def sizes(text: str) -> list[int]:
    """Read the layers' widths.

    Examples
    --------
    >>> sizes("64,32,10")
    [64, 32, 10]
    """
    try:
        return [_positive(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected widths such as 64,32,10, got {text!r}."
        ) from error


def workers(text: str) -> int | tuple[int, int]:
    """Read how many workers.

    Examples
    --------
    >>> workers("4"), workers("2:8")
    (4, (2, 8))
    """
    try:
        low, *high = (_positive(part) for part in text.split(":"))
        if len(high) > 1:
            raise ValueError
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected a number such as 4, or LEAST:MOST such as 2:8, got {text!r}."
        ) from error
    return (low, high[0]) if high else low


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{text} is below 1.")
    return value
