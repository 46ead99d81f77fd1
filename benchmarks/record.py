"""What every benchmark does around its measurement: set the threads, write the numbers down."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any


def set_threads(count: int) -> None:
    """Say how many threads BLAS may use; before NumPy is imported, or it is too late."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)


def write(path: Path | None, versions: dict[str, str], **numbers: Any) -> None:
    """Write numbers as JSON, with the day and the machine; without a path, do nothing.

    Parameters
    ----------
    path : Path or None
        The file; its folder is made if needed.
    versions : dict of str
        The version of each library that was measured.
    **numbers
        What was measured, and how.
    """
    if path is None:
        return
    machine = [platform.machine(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]
    machine += [f"{library} {version}" for library, version in versions.items()]
    result = {"date": date.today().isoformat(), "machine": ", ".join(machine), **numbers}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
