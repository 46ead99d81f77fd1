"""A mailbox keeps the messages for one rank until it asks for them.

Senders drop messages in from other threads, or from the event loop of a Dask worker; the rank
takes them out by (source, tag), in the order sent. Every wait ends: by the message, by the
timeout, or by :meth:`Mailbox.abort`.

Chapter: data parallelism.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container

from course_lib.arrays import Array
from course_lib.parallel.comm import Tag
from course_lib.parallel.errors import Aborted


class Mailbox:
    """Messages that have arrived for one rank.

    Examples
    --------
    >>> import numpy as np
    >>> box = Mailbox()
    >>> box.put(0, "a", np.array([1.0]))
    True
    >>> box.take(0, "a", timeout=1.0)
    array([1.])
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: dict[tuple[int, Tag], deque[Array]] = {}
        self._aborted: str | None = None
        self._closed = False

    def put(self, source: int, tag: Tag, array: Array) -> bool:
        """Drop a message in; False if the owner has left."""
        with self._changed:
            if not self._closed:
                self._messages.setdefault((source, tag), deque()).append(array)
                self._changed.notify_all()
            return not self._closed

    def take(self, source: int, tag: Tag, timeout: float) -> Array | None:
        """Wait for a message and take it out; None when the time is over."""
        if not self.wait_until(lambda: bool(self._messages.get((source, tag))), timeout):
            return None
        with self._changed:
            # Only the owner takes, so the message seen above is still there. An empty queue is
            # dropped: tags that carry a step number would otherwise pile up.
            queue = self._messages[source, tag]
            array = queue.popleft()
            if not queue:
                del self._messages[source, tag]
            return array

    def first(self, sources: Container[int], tag: Tag, timeout: float) -> int | None:
        """Wait for a message with this tag from any of the sources; return whose came first."""

        def find() -> int | None:
            # A queue is made by its first message and dropped when empty: the oldest stands first.
            return next((s for s, t in self._messages if t == tag and s in sources), None)

        self.wait_until(lambda: find() is not None, timeout)
        with self._changed:
            return find()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait for a condition, looking again after each event; raise Aborted if it says so."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted is not None or condition(), timeout)
            if self._aborted is not None:
                raise Aborted(self._aborted)
            return condition()

    def wake(self) -> None:
        """Make the waiting owner look at its condition again."""
        with self._changed:
            self._changed.notify_all()

    def abort(self, reason: str) -> None:
        """Stop the owner at its present or next wait; the first reason stays."""
        with self._changed:
            self._aborted = self._aborted or reason
            self._changed.notify_all()

    def close(self) -> None:
        """Accept no more messages: the owner leaves."""
        with self._changed:
            self._closed = True
            self._messages.clear()
