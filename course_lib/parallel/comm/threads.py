"""Threads of this process as ranks: the channel for lessons and tests, with nothing to install.

NumPy releases Python's global lock inside large operations, so threads do compute in parallel,
but what they are good for here is that everything about a parallel run can be seen and counted
without a cluster.

Chapter: data parallelism.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from course_lib.arrays import Array, check_integer
from course_lib.parallel.comm.interface import Comm, Report, Tag
from course_lib.parallel.comm.mailbox import Mailbox, MailboxComm
from course_lib.parallel.comm.outcome import GRACE, Outcome, Supervisor
from course_lib.parallel.doors import check_timeout
from course_lib.parallel.faults import Courier, Faults, RankFaults

T = TypeVar("T")


class InProcess(MailboxComm):
    """A rank that is a thread; made by :func:`run_threads`."""

    def __init__(
        self,
        rank: int,
        mailboxes: Sequence[Mailbox],
        timeout: float,
        report: Report,
        faults: RankFaults | None = None,
        courier: Courier | None = None,
    ) -> None:
        super().__init__(rank, len(mailboxes), mailboxes[rank], timeout)
        self._mailboxes = mailboxes
        self._report = report
        self._faults = faults
        self._courier = courier

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """See :meth:`Comm.recv <course_lib.parallel.comm.Comm.recv>`."""
        if self._faults is not None:
            self._faults.operate()
        return super().recv(src, tag, timeout=timeout)

    def _deliver(self, dst: int, tag: Tag, array: Array) -> bool:
        put = partial(self._mailboxes[dst].put, self.rank, tag, array.copy())
        if self._faults is None or self._courier is None:
            return put()
        self._faults.operate()
        self._courier.take((self.rank, dst, tag), self._faults.delay(), put)
        return True

    def report(self, message: Mapping[str, Any]) -> None:
        """Hand a small dictionary to the caller of :func:`run_threads`."""
        self._report(dict(message))

    def abort(self, reason: str) -> None:
        """Stop all ranks at their present or next wait."""
        for mailbox in self._mailboxes:
            mailbox.abort(reason)


def run_threads(
    size: int,
    fn: Callable[[Comm], T],
    *,
    timeout: float = 10.0,
    on_report: Report | None = None,
    faults: Faults | None = None,
) -> list[T]:
    """Run ``fn(comm)`` as `size` ranks in threads of this process.

    Parameters
    ----------
    size : int
        The number of ranks.
    fn : callable
        The program of a rank; ``comm.rank`` tells it which one it is.
    timeout : float
        Seconds that one wait of a rank may take; also what the others get to stop after a
        failure. The whole run may take longer.
    on_report : callable, optional
        Called, in the caller's thread, with each message that a rank reports.
    faults : Faults, optional
        What is to go wrong: late messages, ranks that die.

    Returns
    -------
    list
        What `fn` returned, by rank.

    Raises
    ------
    RankFailed
        If `fn` raised; its exception is the cause. Other ranks are stopped.
    CommTimeout
        If a rank waited in vain.
    WorkerLost
        If a rank died, as `faults` said.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.collectives import all_reduce
    >>> run_threads(3, lambda comm: all_reduce(comm, np.array([comm.rank + 1.0])))
    [array([6.]), array([6.]), array([6.])]
    """
    check_integer(size, where="run_threads", name="size", at_least=1)
    timeout = check_timeout(timeout, where="run_threads")
    events: queue.SimpleQueue[Outcome | Mapping[str, Any]] = queue.SimpleQueue()
    mailboxes = [Mailbox() for _ in range(size)]

    def main(comm: InProcess) -> None:
        try:
            outcome = Outcome(comm.rank, value=fn(comm))
        except BaseException as error:
            outcome = Outcome(comm.rank, error=error, step=comm.step)
        mailboxes[comm.rank].close()
        events.put(outcome)

    courier = None if faults is None else Courier()
    wrong = [None if faults is None else faults.for_rank(rank) for rank in range(size)]
    comms = [InProcess(r, mailboxes, timeout, events.put, wrong[r], courier) for r in range(size)]
    # daemon: a rank that never ends must not keep Python from ending.
    threads = [
        threading.Thread(target=main, args=(comm,), name=f"rank-{comm.rank}", daemon=True)
        for comm in comms
    ]
    ranks = Supervisor(size, comms[0].abort, grace=timeout)
    for thread in threads:
        thread.start()
    try:
        while not ranks.done:
            event = events.get(timeout=ranks.left())
            if isinstance(event, Outcome):
                ranks.end(event)
            elif on_report is not None:
                on_report(event)
    except queue.Empty:
        pass  # some rank computes on and on; the failure that stopped the others is the news
    except BaseException:
        comms[0].abort("the run was interrupted")
        ranks.limit(GRACE)
        raise
    finally:
        for thread in threads:  # ended or ending, but for those that were given up
            left = ranks.left()
            thread.join(GRACE if left is None else left)
        if courier is not None:
            courier.close()
    return ranks.values()
