"""Measures how long the notebooks of the chapters run, for the line under each title.

Without arguments all chapters, otherwise those that are named, such as activations. The outputs
are thrown away: nothing but the file of times is written. Wants a machine that does nothing else.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tools.book_source import BOOK, chapters, notebook_of
from tools.notebooks.run import execute

TIMES = BOOK / "reference" / "running_times.json"
STEP = 5  # seconds; finer steps would change with the weather


def seconds(path: Path) -> float:
    """Return how long a fresh kernel takes for one notebook, its start included."""
    start = time.perf_counter()
    execute(path)
    return time.perf_counter() - start


def machine() -> str:
    """Return the class of this machine: how many cores it has, and what it is."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def main() -> None:
    """Measure, and write each time as it is known."""
    order = list(chapters(BOOK))
    named = [stem for stem in order if stem in sys.argv[1:]]
    times = json.loads(TIMES.read_text("utf-8"))["seconds"] if TIMES.is_file() else {}
    for stem in named or order:
        took = seconds(notebook_of(BOOK, stem))
        times[stem] = STEP * math.ceil(took / STEP)
        print(f"{stem}: {took:.1f} s", flush=True)
        found = {
            "month": f"{datetime.now(UTC):%B %Y}",
            "machine": machine(),
            "seconds": {stem: times[stem] for stem in order if stem in times},
        }
        TIMES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
