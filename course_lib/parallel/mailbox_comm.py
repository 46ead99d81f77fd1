"""What all channels have in common whose messages wait in mailboxes: checks, counts, errors.

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.comm import Counters, Tag
from course_lib.parallel.errors import CommTimeout, PeerLeft
from course_lib.parallel.mailbox import Mailbox


class MailboxComm(ABC):
    """A communicator whose messages wait in mailboxes; channels differ in how they get there.

    Parameters
    ----------
    rank, size : int
        Who this is, and how many there are.
    mailbox : Mailbox
        This rank's own.
    timeout : float
        Seconds that a wait may take.
    """

    def __init__(self, rank: int, size: int, mailbox: Mailbox, timeout: float) -> None:
        self.rank = rank
        self.size = size
        self.timeout = timeout
        self.step: int | None = None
        self.counters = Counters()
        self._mailbox = mailbox

    @abstractmethod
    def _deliver(self, dst: int, tag: Tag, array: Array) -> bool:
        """Get a message into the mailbox of `dst`; False if that rank has left."""

    @abstractmethod
    def report(self, message: Mapping[str, Any]) -> None:
        """See :meth:`Comm.report <course_lib.parallel.comm.Comm.report>`."""

    @abstractmethod
    def abort(self, reason: str) -> None:
        """See :meth:`Comm.abort <course_lib.parallel.comm.Comm.abort>`."""

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
        if not self._deliver(dst, tag, array):
            raise PeerLeft(
                f"rank {self.rank} sent {tag!r} to rank {dst}, which had already left{self._at}; "
                "every rank must execute the same sends, receives and collectives.",
                rank=dst,
                step=self.step,
            )
        self.counters.messages += 1
        self.counters.bytes += array.nbytes

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """See :meth:`Comm.recv <course_lib.parallel.comm.Comm.recv>`."""
        self._check_peer(src, "receive from")
        timeout = self.timeout if timeout is None else timeout
        start = time.perf_counter()
        array = self._mailbox.take(src, tag, timeout)
        self.counters.waiting += time.perf_counter() - start
        if array is None:
            raise self._in_vain(tag, timeout, f"rank {src}", src)
        return array

    def recv_any(
        self, sources: Container[int], tag: Tag, *, timeout: float | None = None
    ) -> tuple[int, Array]:
        """See :meth:`Comm.recv_any <course_lib.parallel.comm.Comm.recv_any>`."""
        timeout = self.timeout if timeout is None else timeout
        start = time.perf_counter()
        source = self._mailbox.first(sources, tag, timeout)
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

    @property
    def _at(self) -> str:
        return "" if self.step is None else f" (step {self.step})"

    def _in_vain(self, tag: Tag, timeout: float, who: str, src: int | None = None) -> CommTimeout:
        return CommTimeout(
            f"rank {self.rank} waited {timeout:g} s for {tag!r} from {who}, and nothing "
            f"came{self._at}. Either {who} is stuck or does not execute the same "
            "collectives, or it needs longer: then pass a larger timeout.",
            rank=src,
            step=self.step,
        )

    def _check_peer(self, peer: int, what: str) -> None:
        if not 0 <= peer < self.size or peer == self.rank:
            raise ValueError(
                f"rank {self.rank} of {self.size} cannot {what} rank {peer}: expected another "
                f"rank in 0..{self.size - 1}."
            )
