"""Questions to workers that may never answer: a process can be frozen without being gone.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from distributed import Client

T = TypeVar("T")

# Seconds; a worker's event loop answers at once, even while its ranks compute.
_PATIENCE = 3.0


def ask(
    client: Client,
    workers: Sequence[str],
    op: str,
    *,
    patience: float | None = None,
    **message: str,
) -> dict[str, Any]:
    """Call an operation of some workers; return the answers, or none if one needs too long."""
    scheduler: Any = client.scheduler
    with suppress(Exception):
        answered: dict[str, Any] = client.sync(
            scheduler.broadcast,
            msg={"op": op, **message},
            workers=list(workers),
            on_error="ignore",
            callback_timeout=_PATIENCE if patience is None else patience,
        )
        return answered
    return {}


def answers(client: Client, worker: str, patience: float | None = None) -> bool:
    """Whether a worker answers within so many seconds."""
    return worker in ask(client, [worker], "echo", patience=patience, data="")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, or raise TimeoutError; for calls of Dask that have no limit."""
    made: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            made.put(call())
        except Exception as error:
            made.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = made.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result
