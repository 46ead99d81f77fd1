"""What the command line writes: to streams that may be closed, and never what moves a cursor.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import TextIO

# Controls, what hides or turns text round, line ends of other scripts, and halves of characters.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str, *, keep: str = "") -> str:
    r"""Return a text in which what a terminal would obey instead of show is written out.

    Examples
    --------
    >>> print(visible("a" + chr(27) + "[2Kb" + chr(0x202E)))
    a\x1b[2Kb\u202e
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNSEEN and character not in keep
        else character
        for character in text
    )


def say(text: str) -> None:
    """Write a line to the standard output.

    Raises
    ------
    OSError
        If it is closed, or what it leads to takes no more.
    """
    if sys.stdout is None:
        raise OSError("the standard output is closed; what came out cannot be printed.")
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        _give_up(sys.stdout)
        raise
    except OSError as error:
        _give_up(sys.stdout)
        raise OSError(f"the standard output takes no more: {error.strerror}.") from error


def complain(text: str) -> None:
    """Write lines to the standard error, if there is one."""
    if sys.stderr is None:
        return
    try:
        _write(sys.stderr, visible(text, keep="\n"))
    except OSError:
        _give_up(sys.stderr)


def _write(stream: TextIO, text: str) -> None:
    """Write a line, in which letters that the stream has not are written out."""
    code = stream.encoding or "utf-8"
    stream.write(text.encode(code, "backslashreplace").decode(code) + "\n")
    stream.flush()


def _give_up(stream: TextIO) -> None:
    """Let what is left in a stream go nowhere, or Python would complain of it at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # it has no file, as in a test
        pass
