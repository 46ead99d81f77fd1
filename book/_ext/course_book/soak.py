"""What came out of the soak, ``reference/soak.json``, as Markdown."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

_SAME, _ERROR, _NOT_MADE = "same bits", "error, then same bits", "no fault"

_KINDS = {
    "process": "a process ends",
    "stillness": "it stands still",
    "room": "no room",
    "scheduler": "the scheduler",
    "driver": "the driver",
    "messages": "messages",
    "code": "the user's code",
}


def load(book: Path) -> dict[str, Any]:
    """Return the result that is committed."""
    result: dict[str, Any] = json.loads((book / "reference/soak.json").read_text(encoding="utf-8"))
    return result


def summary(book: Path) -> str:
    """Return in sentences when and where it ran, and how many faults ended how."""
    data = load(book)
    made = _made(data)
    count = Counter(job["verdict"] for job in made)
    bad = {name: n for name, n in count.items() if name not in (_SAME, _ERROR)}
    text = (
        f"The last run, of {data['date']}, took {data['seconds'] / 60:.0f} minutes "
        f"({data['machine']}). It made **{len(made)} faults**: {count[_SAME]} trainings ended "
        f"by themselves with the bits of the quiet run, and {count[_ERROR]} ended with an error "
        "that says what had happened, and with these bits when they were called again. "
    )
    rest = ", ".join(f"{n} × {name}" for name, n in bad.items())
    text += f"The others: {rest}." if bad else "**No hang, no wrong bit, no leak.**"
    late = len(data["jobs"]) - len(made)
    text += f" In {late} trainings the fault came too late and is not counted." * bool(late)
    if data["left_out"]:
        text += f" Left out on this machine: {', '.join(data['left_out'])}."
    return text


def by_fault(book: Path) -> str:
    """Return a table with a line for each fault."""
    data = load(book)
    lines = [
        "| fault | what is done | times | same bits | error first | seconds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, fault in data["faults"].items():
        found = [job for job in _made(data) if job["fault"] == name]
        count = Counter(job["verdict"] for job in found)
        seconds = f"{median(job['seconds'] for job in found):.0f}" if found else ""
        lines.append(
            f"| {name} | {fault['what']} | {len(found)} | {count[_SAME]} | {count[_ERROR]} "
            f"| {seconds} |"
        )
    return "\n".join(lines)


def by_program(book: Path) -> str:
    """Return a table of strategies against kinds of faults."""
    data = load(book)
    kind_of = {name: fault["kind"] for name, fault in data["faults"].items()}
    count = Counter((job["program"], kind_of[job["fault"]]) for job in _made(data))
    return _table("training", count, _KINDS)


def by_channel(book: Path) -> str:
    """Return a table of channels against kinds of faults."""
    data = load(book)
    kind_of = {name: fault["kind"] for name, fault in data["faults"].items()}
    count = Counter((job["channel"], kind_of[job["fault"]]) for job in _made(data))
    return _table("channel", count, _KINDS)


def _made(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [job for job in data["jobs"] if job["verdict"] != _NOT_MADE]


def _table(title: str, count: Counter[tuple[str, str]], columns: dict[str, str]) -> str:
    lines = [f"| {title} | {' | '.join(columns.values())} |", "|---" + "|---:" * len(columns) + "|"]
    for row in sorted({row for row, _ in count}):
        cells = " | ".join(str(count[row, column] or "") for column in columns)
        lines.append(f"| `{row}` | {cells} |")
    return "\n".join(lines)
