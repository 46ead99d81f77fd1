"""What a process has to see to before it starts others: each of them imports its main script.

Chapter: data parallelism.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

from course_lib.parallel.errors import ParallelError

GUARD = (
    "The main script starts worker processes, and each of them runs the script again to learn its "
    "functions. Put the part that starts the training under\n\n"
    '    if __name__ == "__main__":\n        main()\n\n'
    "so that only the first process runs it."
)
"""What to do about a script that starts itself again."""


def check_can_start() -> None:
    """Raise if processes that this one starts would fail, or run the training again."""
    process = multiprocessing.current_process()
    if process.daemon:
        raise ParallelError(
            f"this process ({process.name}) is one that must not start others: a worker of a "
            "multiprocessing.Pool, or of a Dask cluster. Start the training from the main program, "
            "pass client= with a cluster that is there, or use comm='inprocess'."
        )
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)  # a notebook has none
    if script and getattr(main, "__spec__", None) is None and not os.path.exists(script):
        raise ParallelError(
            f"the worker processes would have to import the main script, and {script!r} is no "
            "file: it was read from the standard input, or has been removed. Save the script, and "
            "start it as `python script.py`; or use comm='inprocess'."
        )
    # A new process imports the main script first. While it does, the standard library has marked
    # it as inheriting; starting further processes from there would go on for ever.
    text = ""
    with contextlib.suppress(OSError, TypeError):
        text = Path(script or "").read_text(encoding="utf-8", errors="ignore")
    if getattr(process, "_inheriting", False) or (text and "__main__" not in text):
        raise ParallelError(GUARD)


@contextlib.contextmanager
def known_start_method() -> Iterator[None]:
    """Let new processes know the way in which they were started: joblib's own one they do not."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None or method in multiprocessing.get_all_start_methods():
        yield
        return
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(method, force=True)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Start threads or processes that Ctrl-C does not reach; this thread hears of it at the end.

    A terminal sends it to all processes. The one that started the others ends them in good order,
    where each of them would die with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its first start would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
