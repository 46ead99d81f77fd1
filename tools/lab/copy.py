"""Brings the learner's notebooks up to date, and never overwrites what somebody typed.

What a learner typed is the text of the cells: their kinds, their order and their sources. As long
as that is what the course gave last, a notebook follows the course. Outputs are not typed, but
running took time: a notebook that was run and not changed is refreshed with the outputs of all
cells that are the same in the new version. A notebook whose text was changed is kept as it is, and
a newer version of it is put beside it, once. What the learner deleted or renamed comes again under
its name; what the course no longer has stays.

``.course.json`` in the folder holds for each file what was given. Without it nothing is known of a
file but whether it is the same as in the course, so one that differs counts as changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from course_lib.atomic import write_bytes

MANIFEST = ".course.json"
NOTEBOOK = ".ipynb"


@dataclass(frozen=True)
class Given:
    """What was last written under a name, as hashes: its text, and all of the file.

    ``offered`` is the text of the newest version that was put beside a changed notebook.
    """

    text: str
    file: str
    offered: str = ""


@dataclass
class Report:
    """What was done: how many files of each kind, and the changed ones with what lies beside.

    ``written`` are the files that are now as the course has them, byte for byte.
    """

    done: Counter[str] = field(default_factory=Counter)
    written: list[str] = field(default_factory=list)
    beside: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    forgot: bool = False


def text_of(name: str, content: bytes) -> str | None:
    """Return a hash of what a learner types in a file, or None if it is no notebook any more.

    Examples
    --------
    >>> new = b'{"cells": [{"id": "a", "cell_type": "code", "source": "x", "outputs": []}]}'
    >>> run = b'{"cells": [{"id": "a", "cell_type": "code", "source": ["x"], "outputs": [1]}]}'
    >>> text_of("a.ipynb", run) == text_of("a.ipynb", new), text_of("a.ipynb", b"") is None
    (True, True)
    """
    if not name.endswith(NOTEBOOK):
        return _hash(content)
    try:
        cells = json.loads(content)["cells"]
        typed = [(c.get("id"), c["cell_type"], "".join(c["source"])) for c in cells]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return _hash(json.dumps(typed).encode())


def with_outputs(course: bytes, mine: bytes) -> bytes:
    """Return the course's notebook with the outputs that the learner's has for the same cells."""
    new = json.loads(course)
    old = {cell.get("id"): cell for cell in json.loads(mine)["cells"]}
    for cell in new["cells"]:
        was = old.get(cell.get("id"), {})
        same = "".join(was.get("source", "")) == "".join(cell["source"])
        if cell["cell_type"] == was.get("cell_type") == "code" and same:
            cell |= {key: was[key] for key in ("outputs", "execution_count") if key in was}
    return f"{json.dumps(new, indent=1, ensure_ascii=False)}\n".encode()


def update(folder: Path, course: Path) -> Report:
    """Bring the learner's folder up to date with the folder that the course wrote.

    Raises
    ------
    OSError
        If a file cannot be read or written; all that was done before is whole and remembered.
    """
    given, forgot = _read(folder / MANIFEST)
    report = Report(forgot=forgot)
    before = dict(given)
    try:
        for path in sorted(p for p in course.rglob("*") if p.is_file()):
            name = path.relative_to(course).as_posix()
            kind = _update(folder, name, path.read_bytes(), given, report)
            report.done[kind] += 1
    finally:
        if given != before or forgot:
            folder.mkdir(parents=True, exist_ok=True)
            entries = {name: asdict(entry) for name, entry in sorted(given.items())}
            write_bytes(folder / MANIFEST, f"{json.dumps(entries, indent=1)}\n".encode())
    return report


def _update(folder: Path, name: str, course: bytes, given: dict[str, Given], report: Report) -> str:
    """Do what has to be done with one file, and return what that was."""
    path, new = folder / name, Given(text_of(name, course) or "", _hash(course))
    last = given.get(name)
    if not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, course)
        given[name] = new
        report.written.append(name)
        return "new"
    if not path.is_file():  # a folder, or a link that leads nowhere
        return "kept"
    mine = path.read_bytes()
    text, untouched = text_of(name, mine), last is not None and _hash(mine) == last.file
    if _hash(mine) == new.file or (text == new.text and not untouched):
        given[name] = new
        return "the same"
    if last is not None and text == last.text and _may_be_replaced(path):
        write_bytes(path, course if untouched else with_outputs(course, mine))
        given[name] = new
        report.written += [name] * untouched
        return "refreshed"
    if text is None:
        report.unreadable.append(name)
    known = last or Given("", "")
    if new.text not in (known.offered, known.text if text is not None else ""):
        beside = _free(path, folder, given, new)
        write_bytes(beside, course)
        report.beside[name] = beside.relative_to(folder).as_posix()
        report.written.append(report.beside[name])
        given[report.beside[name]] = new
        given[name] = Given(known.text, known.file, offered=new.text)
    return "kept"


def _may_be_replaced(path: Path) -> bool:
    """Tell whether this is a plain file that nobody protected; root may write to all of them."""
    return not path.is_symlink() and bool(path.stat().st_mode & stat.S_IWUSR)


def _free(path: Path, folder: Path, given: dict[str, Given], new: Given) -> Path:
    """Return the name for a newer version: a free one, or of one that nobody has touched.

    After an interruption the newest one may be there already, and not be remembered.
    """
    for number in count(1):
        mark = "new version" if number == 1 else f"new version {number}"
        beside = path.with_name(f"{path.stem} ({mark}){path.suffix}")
        last = given.get(beside.relative_to(folder).as_posix(), new)
        if not os.path.lexists(beside):
            return beside
        if beside.is_file() and _hash(beside.read_bytes()) in (last.file, new.file):
            return beside
    raise AssertionError("count() does not end")


def _read(path: Path) -> tuple[dict[str, Given], bool]:
    """Return what was given, and whether that could not be read."""
    try:
        entries: dict[str, Any] = json.loads(path.read_bytes())
        given = {name: Given(**entry) for name, entry in entries.items()}
        whole = all(isinstance(value, str) for g in given.values() for value in asdict(g).values())
        return (given, False) if whole else ({}, True)
    except FileNotFoundError:
        return {}, False
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}, True


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def words(report: Report, folder: str) -> str:
    """Return what was done in plain words.

    Examples
    --------
    >>> print(words(Report(Counter({"new": 3})), "learning"))
    Your notebooks are in learning: 3 are new.
    >>> changed = Counter({"the same": 5, "kept": 1})
    >>> print(words(Report(changed, beside={"a.ipynb": "a (new version).ipynb"}), "learning"))
    Your notebooks are in learning: 1 is kept as you changed it, 5 are up to date.
    Of these that you changed there is a newer version, now beside yours:
      a (new version).ipynb
    """
    kinds = [
        ("new", "is new", "are new"),
        ("refreshed", "is refreshed", "are refreshed"),
        ("kept", "is kept as you changed it", "are kept as you changed them"),
        ("the same", "is up to date", "are up to date"),
    ]
    counts = [
        f"{report.done[kind]} {one if report.done[kind] == 1 else many}"
        for kind, one, many in kinds
        if report.done[kind]
    ]
    lines = [f"Your notebooks are in {folder}: {', '.join(counts)}."]
    if report.forgot:
        lines.append(
            f"{folder}/{MANIFEST} was broken, so every notebook that differs from the course's "
            "counts as changed by you. It is written again."
        )
    for name in report.unreadable:
        lines.append(f"{folder}/{name} is not a whole notebook any more; it is kept as it is.")
    if report.beside:
        lines.append("Of these that you changed there is a newer version, now beside yours:")
        lines += [f"  {name}" for name in report.beside.values()]
    return "\n".join(lines)
