"""Limits of time that hold on a machine with other things to do."""

from __future__ import annotations

import os
from pathlib import Path


def patient(seconds: float) -> float:
    """Return how long may take what takes less than ``seconds`` on a quiet machine.

    As many times longer as processes share a core: those of the last minute, which are still in
    the way, or those of this moment, which the mean over a minute does not show yet.
    """
    wanting = os.getloadavg()[0]
    now = Path("/proc/loadavg")
    if now.exists():
        wanting = max(wanting, int(now.read_text().split()[3].partition("/")[0]))
    return seconds * max(1.0, wanting / (os.cpu_count() or 1))
