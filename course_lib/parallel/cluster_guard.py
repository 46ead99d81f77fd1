"""From where a parallel run can not be started: a Dask task, or a script that starts itself again.

Chapter: data parallelism.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from pathlib import Path

from distributed import get_worker

from course_lib.parallel.errors import ParallelError

GUARD = (
    "The main script starts worker processes, and each of them runs the script again to learn its "
    "functions. Put the part that starts the training under\n\n"
    '    if __name__ == "__main__":\n        main()\n\n'
    "so that only the first process runs it."
)
"""What to do about a script that starts itself again."""


def check_main_script() -> None:
    """Raise if the worker processes would run the training again instead of starting.

    A new process imports the main script first. While it does, the standard library has marked
    it as inheriting; starting further processes from there would go on for ever.
    """
    inheriting = getattr(multiprocessing.current_process(), "_inheriting", False)
    script = getattr(sys.modules["__main__"], "__file__", None)  # a notebook has none
    text = ""
    with contextlib.suppress(OSError, TypeError):
        text = Path(script or "").read_text(encoding="utf-8", errors="ignore")
    if inheriting or (text and "__main__" not in text):
        raise ParallelError(GUARD)


def refuse_inside_task() -> None:
    """Raise if this is a Dask task: it would wait for workers while it blocks one."""
    try:
        worker = get_worker()
    except ValueError:
        return
    raise ParallelError(
        f"a parallel run cannot be started from inside a Dask task (on {worker.address}): the "
        "task would wait for workers while it blocks one. Start it from the main program."
    )
