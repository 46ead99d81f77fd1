"""What Python warns of on a rank in another process is a warning of the driver, once.

Chapter: data parallelism.
"""

from __future__ import annotations

import builtins
import os
import threading
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from course_lib.parallel.comm.interface import Comm, Report

_TOKEN = uuid.uuid4().hex

# Among the messages that a program reports, which are its own.
_KEY = "course_lib warning"


def process_name() -> str:
    """Return what this process alone is called, on all machines."""
    # Not the number alone, which another machine may use too; nor the token, as copies have it.
    return f"{os.getpid()} {_TOKEN}"


# Who hears the warnings of a thread; a worker may run ranks of several runs.
_listeners: dict[int, Callable[..., None]] = {}
_usual = warnings.showwarning


def _show(*args: Any, **kwargs: Any) -> None:
    # A thread that the only rank here has started, such as one that reads a file, is of that rank.
    heard_by = _listeners.get(threading.get_ident())
    if heard_by is None:
        heard_by = next(iter(_listeners.values())) if len(_listeners) == 1 else _usual
    heard_by(*args, **kwargs)


@dataclass(frozen=True)
class Warned:
    """A program of a rank, ``fn(comm, ...)``, whose warnings are reported, each of them once."""

    fn: Callable[..., Any]
    driver: str = field(default_factory=process_name)

    def __call__(self, comm: Comm, *args: Any, **kwargs: Any) -> Any:
        """Run the program; in the driver's own process, its warnings need no report."""
        if self.driver == process_name():
            return self.fn(comm, *args, **kwargs)
        told = set()

        def tell(
            message: Any, category: type, file: str, line: int, *_: object, **__: object
        ) -> None:
            found = (category.__name__, str(message), file, line)
            if found not in told:
                told.add(found)
                comm.report({_KEY: found, "rank": comm.rank})

        global _usual
        if warnings.showwarning is not _show:
            _usual, warnings.showwarning = warnings.showwarning, _show
        with warnings.catch_warnings():
            pass  # by which Python forgets which ones it has shown, here in an earlier run
        thread = threading.get_ident()
        _listeners[thread] = tell
        try:
            return self.fn(comm, *args, **kwargs)
        finally:
            del _listeners[thread]


def warn_once(on_report: Report | None) -> Report:
    """Return what hears all reports of a run: warns of the warnings, and passes the others on."""
    told = set()

    def hear(message: Mapping[str, Any]) -> None:
        if _KEY not in message:
            if on_report is not None:
                on_report(message)
            return
        name, text, file, line = found = tuple(message[_KEY])
        if found not in told:
            told.add(found)
            known: Any = getattr(builtins, name, None)  # not one of somebody's own
            kind = known if isinstance(known, type) and issubclass(known, Warning) else UserWarning
            warnings.warn_explicit(f"{text} (on rank {message['rank']})", kind, file, line)

    return hear
