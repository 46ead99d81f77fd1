"""Run a command, and when it ends or is told to, leave none of its processes behind.

``course-lib grade`` starts each kernel so. A process that a notebook starts may go into a session
of its own and lose its parent; on Linux it then becomes a child of this one, which is what makes it
possible to find it. On other systems those that have lost their parent are not found.

Chapter: none; this file serves the page on teaching.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]

_SECONDS = 2.0  # for processes that start others as fast as they are ended

_PARENT_DEATH, _SUBREAPER = 1, 36  # options of prctl(2)


def main(command: Sequence[str]) -> int:
    """Run a command to its end, or until SIGTERM; return its exit code."""
    _prctl(_SUBREAPER, 1)
    _prctl(_PARENT_DEATH, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # An interrupt goes to the whole group. A function, unlike SIG_IGN, is not inherited.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.Popen(command, preexec_fn=_die_with_parent).wait()
    finally:
        signal.signal(signal.SIGTERM, lambda *_: None)
        _end_all()


def _end_all() -> None:
    end = time.monotonic() + _SECONDS
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < end:
        for process in left:
            try:
                process.kill()
            except psutil.Error:  # it has ended meanwhile, or belongs to somebody else
                pass
        psutil.wait_procs(left, timeout=0.2)


def _die_with_parent() -> None:
    _prctl(_PARENT_DEATH, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # A command that a signal has ended is ended by it for who asks, too.
    os._exit(code if code >= 0 else 128 - code)
