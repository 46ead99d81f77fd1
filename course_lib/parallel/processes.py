"""Processes of this machine as ranks, without a cluster: what benchmarks and small runs need.

Each pair of ranks has a pipe; a thread per pipe puts what comes into the rank's mailbox, so a send
never has to wait for the receiver to ask. The process that started the ranks hears when one of
them ends, and stops the others.

Chapter: data parallelism.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from course_lib.arrays import Array, check_integer
from course_lib.parallel.collectives import barrier
from course_lib.parallel.comm import Comm, Counters, Tag
from course_lib.parallel.errors import CommTimeout
from course_lib.parallel.mailbox import Mailbox, MailboxComm
from course_lib.parallel.outcome import Outcome
from course_lib.parallel.processes_watch import watch


class Pipes(MailboxComm):
    """A rank that is a process; made by :func:`run_processes`.

    Parameters
    ----------
    rank : int
        Which rank this is.
    peers : mapping of int to Connection
        A pipe to each other rank.
    driver : Connection
        A pipe to the process that started the ranks.
    timeout : float
        Seconds that a wait may take.
    """

    def __init__(
        self, rank: int, peers: Mapping[int, Connection], driver: Connection, timeout: float
    ) -> None:
        super().__init__(rank, len(peers) + 1, Mailbox(), timeout)
        self._peers = dict(peers)
        self._driver = driver
        self._left: set[int] = set()
        for pipe in peers.values():
            _limit_sending(pipe, timeout)
        for listen, source in [(self._hear_driver, -1), *((self._hear, peer) for peer in peers)]:
            threading.Thread(target=listen, args=(source,), daemon=True).start()

    def _deliver(self, dst: int, tag: Tag, array: Array) -> bool:
        if dst in self._left:
            return False
        try:
            self._peers[dst].send((tag, array))
        except BlockingIOError:
            raise CommTimeout(
                f"rank {self.rank} could not hand {tag!r} to rank {dst} within "
                f"{self.timeout:g} s{self._at}: its process does not read.",
                rank=dst,
                step=self.step,
            ) from None
        except OSError:
            return False
        return True

    def report(self, message: Mapping[str, Any]) -> None:
        """Hand a small dictionary to the caller of :func:`run_processes`."""
        self._driver.send(("report", dict(message)))

    def abort(self, reason: str) -> None:
        """Stop all ranks at their present or next wait."""
        self._mailbox.abort(reason)
        self._driver.send(("abort", reason))

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
            self._mailbox.abort(self._driver.recv())
        except (EOFError, OSError):
            self._mailbox.abort("the process that started the ranks is gone")


def run_processes(
    size: int,
    fn: Callable[..., Any],
    *args: Any,
    timeout: float = 60.0,
    on_report: Callable[[Mapping[str, Any]], None] | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Run ``fn(comm, *args, **kwargs)`` as `size` ranks, each a new process of this machine.

    Parameters
    ----------
    size : int
        The number of ranks.
    fn : callable
        The program of a rank: a function of a module, because the processes import it from
        there. A script must do its work under ``if __name__ == "__main__"``.
    *args, **kwargs
        Sent to each process.
    timeout : float
        Seconds that one wait may take: for the processes to start, for a message. The whole run
        may take longer.
    on_report : callable, optional
        Called, in the caller's thread, with each message that a rank reports.

    Returns
    -------
    list
        What `fn` returned, by rank.

    Raises
    ------
    RankFailed
        If `fn` raised; its exception is the cause. Other ranks are stopped.
    WorkerLost
        If a process was killed.
    CommTimeout
        If a rank waited in vain.
    TypeError
        If `fn` or an argument can not be sent to another process.

    Examples
    --------
    >>> from course_lib.parallel.collectives import all_agree
    >>> run_processes(2, all_agree, True)
    [True, True]

    Notes
    -----
    Chapter: data parallelism.
    """
    check_integer(size, where="run_processes", name="size", at_least=1)
    try:
        program = pickle.dumps((fn, args, kwargs))
    except Exception as error:
        raise TypeError(
            f"run_processes: {fn!r} or an argument can not be sent to another process ({error}); "
            "pass a function defined at the top of a module, and plain data."
        ) from error
    # Not forked: a copy of a process with threads (PyTorch's, NumPy's) may hang at once.
    context = multiprocessing.get_context("spawn")
    pipes: list[dict[int, Connection]] = [{} for _ in range(size)]
    for a in range(size):
        for b in range(a + 1, size):
            pipes[a][b], pipes[b][a] = context.Pipe()
    drivers, processes = [], []
    try:
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_main, args=(rank, pipes[rank], theirs, timeout, program), daemon=True
            )
            process.start()
            drivers.append(ours)
            processes.append(process)
            # Our copies must go, or nobody would ever see that the other end is closed.
            for pipe in (theirs, *pipes[rank].values()):
                pipe.close()
        return watch(processes, drivers, timeout, on_report)
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()


def _main(
    rank: int, peers: Mapping[int, Connection], driver: Connection, timeout: float, program: bytes
) -> None:
    """Run one rank; what it raises is sent to the driver."""
    comm = Pipes(rank, peers, driver, timeout)
    try:
        _handshake(comm)
        driver.send(("started", None))
        fn, args, kwargs = pickle.loads(program)
        outcome = Outcome(rank, value=fn(comm, *args, **kwargs))
        message = pickle.dumps(("outcome", outcome))
    except BaseException as error:
        outcome = Outcome(
            rank, error=error, step=comm.step, worker=f"process {os.getpid()}"
        ).portable()
        message = pickle.dumps(("outcome", outcome))
    driver.send_bytes(message)
    comm.leave()


def _handshake(comm: Comm) -> None:
    """Wait until all ranks have started; what follows then measures the program only."""
    timeout, comm.timeout = comm.timeout, 2 * comm.timeout  # the driver gives up first
    barrier(comm)
    comm.timeout, comm.counters = timeout, Counters()


def _limit_sending(pipe: Connection, seconds: float) -> None:
    """Let a send fail when the other end does not read for so long: a stopped process."""
    limit = struct.pack("@ll", int(seconds), int(1e6 * (seconds % 1)))
    with _socket(pipe) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _socket(pipe: Connection) -> socket.socket:
    """Return the pair of sockets' end that a two-way pipe is, to be closed without closing it."""
    return socket.socket(fileno=os.dup(pipe.fileno()))
