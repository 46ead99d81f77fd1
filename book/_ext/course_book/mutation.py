"""What became of bugs planted on purpose: ``reference/mutation.json`` as tables, by folder."""

from __future__ import annotations

import json
import math
import re
from itertools import groupby
from pathlib import Path
from typing import Any

DATA = Path("reference/mutation.json")
EQUIVALENT = "equivalent"
# What a line says to the formatter, the linter and the type checker alone.
_TO_TOOLS = re.compile(r" +# (fmt|noqa|nosec|type)\b.*")


def load(book: Path) -> dict[str, Any]:
    """Return the data of the page."""
    found: dict[str, Any] = json.loads((book / DATA).read_text("utf-8"))
    return found


def interval(killed: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of 95 % for the share of which `killed` of `n` is a sample."""
    z, share = 1.96, killed / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def folders(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return, by folder, how many were tried, found at first and now, and are equivalent."""
    total: dict[str, dict[str, int]] = {}
    for file, numbers in data["files"].items():
        into = total.setdefault(
            _folder(file), dict.fromkeys(("tried", "first", "killed", EQUIVALENT), 0)
        )
        for key in ("tried", "first", "killed"):
            into[key] += numbers[key]
    for survivor in data["survivors"]:
        if survivor["reason"].startswith(EQUIVALENT):
            total[_folder(survivor["file"])][EQUIVALENT] += 1
    return total


def summary(book: Path) -> str:
    """Return a table with a line per folder."""
    rows = folders(load(book))
    everything = {key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    lines = [
        "| folder | tried | equivalent | found at first | found now | score |",
        "|---|---:|---:|---:|---:|---:|",
        *(_line(f"`{folder}`", row) for folder, row in rows.items()),
        _line("all", everything),
    ]
    return "\n".join(lines)


def files(book: Path) -> str:
    """Return, by folder, a table of its files, and the list of survivors."""
    data = load(book)
    text = ""
    for folder, members in groupby(sorted(data["files"], key=_folder), key=_folder):
        text += f"### `{folder}`\n\n| file | places | tried | found |\n|---|---:|---:|---:|\n"
        for file in members:
            n = data["files"][file]
            name = Path(file).name
            text += f"| `{name}` | {n['places'] or '?'} | {n['tried']} | {n['killed']} |\n"
        left = [s for s in data["survivors"] if _folder(s["file"]) == folder]
        if left:
            text += "\n:::{dropdown} Those that lived\n"
            text += "".join(map(_survivor, left)) + ":::\n"
        text += "\n"
    return text


def _line(name: str, row: dict[str, int]) -> str:
    n = row["tried"] - row[EQUIVALENT]
    if n == 0:
        return f"| {name} | {row['tried']} | {row[EQUIVALENT]} | | | |"
    low, high = interval(row["first"], n)
    return (
        f"| {name} | {row['tried']} | {row[EQUIVALENT]} | {row['first']}, {low:.0%} to {high:.0%} "
        f"| {row['killed']} | {row['killed'] / n:.1%} |"
    )


def _survivor(survivor: dict[str, str]) -> str:
    after = survivor["after"] or "(nothing)"
    lines = _TO_TOOLS.sub("", f"{survivor['before']}\n{after}").replace("\n", "\n  ")
    name = Path(survivor["file"]).name
    return f"- `{name}`: {survivor['reason']}.\n\n  ```text\n  {lines}\n  ```\n\n"


def _folder(file: str) -> str:
    return str(Path(file).parent)
