"""Where a rank's time goes: each stretch between two laps belongs to one name.

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Stopwatch:
    """Adds up seconds by name; `now` tells the time in seconds.

    Examples
    --------
    >>> watch = Stopwatch(now=iter([0.0, 2.0, 5.0, 6.0]).__next__)
    >>> for name in ("compute", "communication", "compute"):
    ...     watch.lap(name)
    >>> watch.seconds
    {'compute': 3.0, 'communication': 3.0}
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._now = now
        self._last = now()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under `name`."""
        now = self._now()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
