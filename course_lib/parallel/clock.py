"""Where a rank's time goes, and how long a call may take that has no limit of its own.

Only clocks that run forward: that of the wall may be set back, and a wait of a minute would be one
of an hour.

Chapter: data parallelism.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from course_lib.parallel.errors import StorageTimeout

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by name, each stretch between two laps; `now` tells the time in seconds.

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


def within(seconds: float, call: Callable[[], T], late: str = "") -> T:
    """Return what a call returns, or raise TimeoutError; for a call that has no limit.

    It goes on in a thread of its own, which keeps nothing from ending.

    Examples
    --------
    >>> within(1.0, lambda: 6 * 7)
    42
    >>> within(0.01, threading.Event().wait, "nobody sets it")
    Traceback (most recent call last):
    ...
    TimeoutError: nobody sets it
    """
    made: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            made.put((call(), None))
        except BaseException as error:
            made.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = made.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(late) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def stored_within(seconds: float, what: str, call: Callable[[], T]) -> T:
    """Return what a call returns that reads or writes files, which a network may keep for ever.

    Examples
    --------
    >>> stored_within(0.01, "reading run/", threading.Event().wait)
    Traceback (most recent call last):
    ...
    course_lib.parallel.errors.StorageTimeout: reading run/ took longer than 0.01 s: its disk or \
network is slow or frozen. Look at it, or raise timeout=.
    """
    try:
        return within(seconds, call)
    except TimeoutError:
        raise StorageTimeout(
            f"{what} took longer than {seconds:g} s: its disk or network is slow or frozen. Look "
            "at it, or raise timeout=."
        ) from None
