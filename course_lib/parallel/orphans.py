"""Ranks whose driver has gone stop, instead of training on for nobody.

When a driver is killed, its scheduler forgets its tasks and tells the workers; but Dask does not
stop a task that runs. This plugin closes the rank's mailbox, so that it stops at its next message,
and the worker is free for the driver that resumes the training.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

from typing import Any

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from course_lib.parallel.dask_comm import Mailboxes

# A task that ends by itself goes from one of the first to "memory" or "error".
_RUNNING, _UNWANTED = ("executing", "long-running"), ("released", "cancelled", "forgotten")


class Orphans(WorkerPlugin):
    """Watches for ranks of this worker that were cancelled while they run."""

    name = "course-lib-orphans"

    def setup(self, worker: Worker) -> None:
        """Remember the worker."""
        self._worker = worker

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Hear of a task's change of state; the key of a rank names its run."""
        if start in _RUNNING and finish in _UNWANTED and str(key).startswith("rank-"):
            generation = str(key).split("-")[1]
            Mailboxes.of(self._worker).leave(
                generation, "the driver has cancelled this rank, or has gone away"
            )
