"""Which exercises were solved on this machine: one small file for each, and nothing sent anywhere.

Nothing is remembered unless a notebook asks for it, in its first cell::

    exercises.keep_progress("neurons")

From then on, whatever passes its check in that process and belongs to that chapter is remembered.
So nothing is written where the pages of the book and of the solutions are run, in which checks
pass too, nor by a script, nor by the tests; and ``course-lib grade``, which runs notebooks that
ask, switches it off.

The files are in the user's folder for data: ``$XDG_DATA_HOME/course_lib/solved``, by default below
``~/.local/share``; on macOS below ``~/Library/Application Support``, on Windows below
``%LOCALAPPDATA%``. The environment variable ``COURSE_LIB_PROGRESS`` names another folder; if it is
``off`` or empty, nothing is read or written. ``course-lib progress`` lists what is there, and with
``--forget`` deletes it.

Chapter: none; this file serves the exercises of all chapters.
"""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import date
from pathlib import Path

from course_lib.atomic import write_bytes
from course_lib.exercises.exercise import find, last, listen, names, of_chapter
from course_lib.exercises.verdict import Verdict

VARIABLE = "COURSE_LIB_PROGRESS"
"""The environment variable that names the folder, or says ``off``."""

# An entry, or what an interrupted write has left of one (course_lib.atomic).
_FILE = re.compile(r"(?P<name>\w+\.\w+)\.json|\.(?P<part>\w+\.\w+)\.json-[0-9a-f]{16}")

_CHAPTERS: set[str] = set()  # those whose notebook has asked, in this process

_FAILURES: list[str] = []  # why the last entry could not be written; empty if it was


def folder() -> Path | None:
    """Return where the entries are, or None if that is switched off, or the user has no home.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, COURSE_LIB_PROGRESS="off"):
    ...     print(folder())
    None
    """
    given = os.environ.get(VARIABLE)
    if given is not None and given.strip().lower() in ("", "off"):
        return None
    try:
        if given is not None:
            return Path(given).expanduser()
        return _data_folder() / "course_lib" / "solved"
    except RuntimeError:  # what pathlib raises without a home
        return None


def solved() -> frozenset[str]:
    """Return the names of the exercises that are remembered as solved.

    What cannot be read counts as not there.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, COURSE_LIB_PROGRESS="off"):
    ...     solved()
    frozenset()
    """
    return frozenset(path.stem for path in _files() if _is_entry(path))


def remember(name: str) -> None:
    """Remember an exercise as solved today; one that is remembered already keeps its day.

    Each entry is a file that appears whole or not at all, so however many notebooks write at the
    same time, none loses what another wrote.

    Parameters
    ----------
    name : str
        The exercise, as in the book.

    Raises
    ------
    ValueError
        If there is no such exercise.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from unittest.mock import patch
    >>> with (
    ...     tempfile.TemporaryDirectory() as place,
    ...     patch.dict(os.environ, COURSE_LIB_PROGRESS=place),
    ... ):
    ...     remember("activations.elu")
    ...     solved()
    frozenset({'activations.elu'})
    """
    find(name)
    place = folder()
    if place is None or _is_entry(path := place / f"{name}.json"):
        return
    place.mkdir(parents=True, exist_ok=True)
    entry = {"name": name, "date": date.today().isoformat()}
    write_bytes(path, f"{json.dumps(entry)}\n".encode())


def forget() -> int:
    """Delete all entries, also broken ones, and nothing else; return how many there were.

    Raises
    ------
    OSError
        If one cannot be deleted.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, COURSE_LIB_PROGRESS="off"):
    ...     forget()
    0
    """
    known, gone, place = names(), 0, folder()
    for path in _files():
        match = _FILE.fullmatch(path.name)
        assert match is not None
        if (match["name"] or match["part"]) in known or _is_entry(path):
            path.unlink(missing_ok=True)
            gone += match["name"] is not None
    if place is not None and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    return gone


def keep_progress(chapter: str) -> None:
    """Remember from now on, in this process, what is solved of a chapter; print nothing.

    This stands in the first cell of a learner's notebook. If an entry cannot be written, the
    check goes on as if nothing were the matter, and :func:`show_progress` says why.

    Parameters
    ----------
    chapter : str
        As in the names of its exercises: ``"activations"``.

    Raises
    ------
    ValueError
        If there is no such chapter.

    Examples
    --------
    >>> keep_progress("activation")
    Traceback (most recent call last):
    ...
    ValueError: unknown chapter 'activation'; the closest are activations
    """
    of_chapter(chapter)
    _CHAPTERS.add(chapter)
    listen(_hear)


def show_progress(chapter: str) -> None:
    """Print how much of a chapter is solved and what comes next, in one line.

    This stands in the last cell of a learner's notebook. What has passed in this process counts
    too, so the line is also right where nothing is remembered.

    Parameters
    ----------
    chapter : str
        As in the names of its exercises: ``"activations"``.

    Raises
    ------
    ValueError
        If there is no such chapter.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, COURSE_LIB_PROGRESS="off"):
    ...     show_progress("losses")  # doctest: +ELLIPSIS
    Solved in this chapter: ... of 4. ...
    """
    tasks = of_chapter(chapter)
    done = solved() | {verdict.name for verdict in last() if verdict.passed}
    left = [task for task in tasks if task.name not in done]
    line = f"Solved in this chapter: {len(tasks) - len(left)} of {len(tasks)}."
    if left:
        line += f" Next: {left[0].name} ({left[0].level}, {left[0].minutes} minutes)."
    else:
        line += " That is all of them."
    if _FAILURES:
        line += f"\nThis could not be remembered for the next time: {_FAILURES[0]}."
    print(line)


def _hear(verdict: Verdict) -> None:
    if verdict.passed and verdict.name.partition(".")[0] in _CHAPTERS:
        try:
            remember(verdict.name)
        except OSError as error:
            _FAILURES[:] = [str(error)]
        else:
            _FAILURES.clear()


def _data_folder() -> Path:
    """Return where this system keeps a user's data of programs."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    given = os.environ.get("XDG_DATA_HOME", "")
    # The specification says of a relative path that it is to be ignored.
    return Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share"


def _files() -> list[Path]:
    """Return what is named as entries are; in a folder that the user named, there may be more."""
    place = folder()
    try:
        found = [] if place is None else sorted(place.iterdir())
    except OSError:
        return []
    return [path for path in found if _FILE.fullmatch(path.name)]


def _is_entry(path: Path) -> bool:
    """Tell whether a file is a whole entry of the exercise that it is named after."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("name") == path.stem and path.suffix == ".json"
