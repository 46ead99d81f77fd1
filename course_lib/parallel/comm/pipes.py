"""Processes of one machine talk through pipes, one between each two of them.

A thread per pipe puts what comes into the rank's mailbox, so a send never has to wait for the
receiver to ask.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from course_lib.arrays import Array
from course_lib.parallel.comm.interface import Tag
from course_lib.parallel.comm.mailbox import Mailbox, MailboxComm
from course_lib.parallel.errors import CommTimeout, at_step


class Pipes(MailboxComm):
    """A rank that is a process; made by :func:`~course_lib.parallel.launch.run_processes`."""

    def __init__(
        self, rank: int, peers: Mapping[int, Connection], driver: Connection, timeout: float
    ) -> None:
        super().__init__(rank, len(peers) + 1, Mailbox(), timeout)
        self._peers = dict(peers)
        self._driver = driver
        self._left: set[int] = set()
        self._telling = threading.Lock()
        for pipe in peers.values():
            limit(pipe, socket.SO_SNDTIMEO, timeout)
        for listen, source in [(self._hear_driver, -1), *((self._hear, peer) for peer in peers)]:
            threading.Thread(target=listen, args=(source,), daemon=True).start()

    def _deliver(self, dst: int, tag: Tag, array: Array) -> bool:
        if dst in self._left:
            return False
        try:
            self._peers[dst].send((tag, array))
        except BlockingIOError:
            raise CommTimeout(
                f"rank {self.rank} could not hand {tag} to rank {dst} within "
                f"{self.timeout:g} s{at_step(self.step)}: its process does not read.",
                rank=dst,
                step=self.step,
            ) from None
        except OSError:
            return False
        return True

    def report(self, message: Mapping[str, Any]) -> None:
        """Hand a small dictionary to whoever started the ranks."""
        self.tell("report", dict(message))

    def abort(self, reason: str) -> None:
        """Stop all ranks at their present or next wait."""
        self._mailbox.abort(reason)
        self.tell("abort", reason)

    def tell(self, kind: str, content: Any = None) -> None:
        """Send something to whoever started the ranks."""
        self.tell_bytes(pickle.dumps((kind, content)))

    def tell_bytes(self, message: bytes) -> None:
        """Send what :meth:`tell` would, pickled already."""
        with self._telling:  # this rank's own thread, and the one that answers for it
            self._driver.send_bytes(message)

    def leave(self) -> None:
        """Accept no more messages; those sent before still arrive."""
        for pipe in self._peers.values():
            with _socket(pipe) as end, suppress(OSError):  # the other end may be gone
                end.shutdown(socket.SHUT_RDWR)

    def _hear(self, peer: int) -> None:
        try:
            while True:
                tag, array = self._peers[peer].recv()
                self._mailbox.put(peer, tag, array)
        except (EOFError, OSError):
            self._left.add(peer)

    def _hear_driver(self, _: int) -> None:
        try:
            while (reason := self._driver.recv()) is None:
                self.tell("alive")  # the driver has not heard of this rank for long
            self._mailbox.abort(reason)
        except (EOFError, OSError):
            self._mailbox.abort("the process that started the ranks is gone")


def limit(pipe: Connection, option: int, seconds: float) -> None:
    """Let a send, or a receive, fail when the other end is still for so long: a stopped process."""
    value = struct.pack("@ll", int(seconds), int(1e6 * (seconds % 1)))
    with _socket(pipe) as end:
        end.setsockopt(socket.SOL_SOCKET, option, value)


def _socket(pipe: Connection) -> socket.socket:
    """Return the pair of sockets' end that a two-way pipe is, to be closed without closing it."""
    return socket.socket(fileno=os.dup(pipe.fileno()))
