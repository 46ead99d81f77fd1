"""What all channels have in common whose messages wait in mailboxes: checks, counts, errors.

Chapter: data parallelism.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Container
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.comm.interface import Counters, Tag
from course_lib.parallel.errors import Aborted, CommTimeout, in_vain, left


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

    def first(self, wanted: Callable[[int, Tag], bool], timeout: float) -> int | None:
        """Wait for a message whose source and tag are wanted; return whose came first."""

        def find() -> int | None:
            # A queue is made by its first message and dropped when empty: the oldest stands first.
            return next((source for source, tag in self._messages if wanted(source, tag)), None)

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


class MailboxComm(ABC):
    """A communicator whose messages wait in mailboxes; channels differ in how they get there.

    Messages with the same tag are numbered, and only the next one is taken. If one is lost, the
    wait for it is in vain; otherwise the one after it would be taken for it, and where shapes agree
    nobody would notice. One that comes twice is not taken again.
    """

    def __init__(self, rank: int, size: int, mailbox: Mailbox, timeout: float) -> None:
        self.rank = rank
        self.size = size
        self.timeout = timeout
        self.step: int | None = None
        self.counters = Counters()
        self._mailbox = mailbox
        self._sent: Counter[tuple[int, Tag]] = Counter()
        self._taken: Counter[tuple[int, Tag]] = Counter()

    @abstractmethod
    def _deliver(self, dst: int, tag: Tag, array: Array) -> bool:
        """Get a message into the mailbox of `dst`; False if that rank has left.

        The tag has its number behind it.
        """

    def send(self, dst: int, tag: Tag, array: Array) -> None:
        """See :meth:`Comm.send <course_lib.parallel.comm.Comm.send>`."""
        self._check_peer(dst, "send to")
        array = np.asarray(array, order="C")
        if array.dtype.kind not in "biufc":
            raise TypeError(
                f"rank {self.rank}: send takes an array of numbers, got dtype {array.dtype} for "
                f"tag {tag!r}; send the numbers in it as arrays."
            )
        self.check()  # an aborted rank must not go on sending
        if not self._deliver(dst, _numbered(tag, self._sent[dst, tag]), array):
            raise left(f"rank {self.rank} sent {tag!r} to", dst, self.step)
        self._sent[dst, tag] += 1
        self.counters.messages += 1
        self.counters.bytes += array.nbytes

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """See :meth:`Comm.recv <course_lib.parallel.comm.Comm.recv>`."""
        self._check_peer(src, "receive from")
        timeout = self.timeout if timeout is None else timeout
        start = time.perf_counter()
        array = self._mailbox.take(src, _numbered(tag, self._taken[src, tag]), timeout)
        self.counters.waiting += time.perf_counter() - start
        if array is None:
            raise self._in_vain(tag, timeout, f"rank {src}", src)
        self._taken[src, tag] += 1
        return array

    def recv_any(
        self, sources: Container[int], tag: Tag, *, timeout: float | None = None
    ) -> tuple[int, Array]:
        """See :meth:`Comm.recv_any <course_lib.parallel.comm.Comm.recv_any>`."""
        timeout = self.timeout if timeout is None else timeout
        start = time.perf_counter()
        source = self._mailbox.first(
            lambda src, found: src in sources and found == _numbered(tag, self._taken[src, tag]),
            timeout,
        )
        self.counters.waiting += time.perf_counter() - start
        if source is None:
            raise self._in_vain(tag, timeout, "a peer")
        return source, self.recv(source, tag)

    def check(self) -> None:
        """See :meth:`Comm.check <course_lib.parallel.comm.Comm.check>`."""
        self._mailbox.wait_until(lambda: True, 0.0)

    def buffer(self, n: int, dtype: Any) -> Array:
        """See :meth:`Comm.buffer <course_lib.parallel.comm.Comm.buffer>`."""
        return np.zeros(n, dtype)

    def _in_vain(self, tag: Tag, timeout: float, who: str, src: int | None = None) -> CommTimeout:
        what = f"{tag!r} from {who}, and nothing came"
        return in_vain(self.rank, timeout, what, who, peer=src, step=self.step)

    def _check_peer(self, peer: int, what: str) -> None:
        if not 0 <= peer < self.size or peer == self.rank:
            raise ValueError(
                f"rank {self.rank} of {self.size} cannot {what} rank {peer}: expected another "
                f"rank in 0..{self.size - 1}."
            )


def _numbered(tag: Tag, number: int) -> str:
    return f"{tag!r} no. {number}"
