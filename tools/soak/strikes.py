"""What each fault does when its moment has come, and what is put right after it.

A strike is a context: it begins with the fault, and its end puts right what a person would put
right before calling the training again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from course_lib.parallel.comm.dask_comm import DaskComm
from course_lib.parallel.comm.mailbox import MailboxComm
from course_lib.parallel.comm.threads import InProcess
from tools.soak import trainings
from tools.soak.cluster import MEMORY
from tools.soak.place import SHM, filled

if TYPE_CHECKING:
    from tools.soak.lane import Lane
    from tools.soak.plan import Job


def lose_messages(comm: type[MailboxComm]) -> None:
    """Have the sends of this process look at the orders; once for each channel."""
    send: Any = comm._deliver
    if hasattr(send, "faithful"):
        return

    def deliver(self: Any, dst: int, tag: Any, array: Any) -> bool:
        if trainings.ORDERS.get("drop") in (-1, self.rank):
            del trainings.ORDERS["drop"]
            return True
        if trainings.ORDERS.get("delay", 0) > 0:
            time.sleep(trainings.ORDERS.pop("delay"))
        return bool(send(self, dst, tag, array))

    deliver.faithful = send  # type: ignore[attr-defined]
    comm._deliver = deliver  # type: ignore[method-assign]


def _order(name: str, number: float, on_messages: bool = False) -> None:
    if on_messages:
        lose_messages(DaskComm)
    trainings.give(name, number)


@contextmanager
def stutter(pid: int) -> Iterator[None]:
    """Let a process run a quarter of the time, for some seconds."""
    over = threading.Event()

    def run() -> None:
        with suppress(ProcessLookupError):
            for _ in range(20):
                os.kill(pid, signal.SIGSTOP)
                over.wait(0.09)
                os.kill(pid, signal.SIGCONT)
                if over.wait(0.03):
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def frozen(pid: int, seconds: float | None = None) -> Iterator[None]:
    """Stop a process; let it go on after some seconds, or at the end."""

    def wake() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(seconds or 0.0, wake)
    if seconds:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        wake()


@contextmanager
def _struck(act: Callable[[], object]) -> Iterator[None]:
    act()
    yield


def strike(lane: Lane, job: Job) -> Any:
    """Return the context of the job's fault; entering it does the harm."""
    cluster, fault = lane.cluster, job.fault

    def worker() -> str:
        return cluster.victim(job.rank)

    def worker_pid() -> int:
        return cluster.pid(worker())

    def order(name: str, number: float = 0.0, on_messages: bool = False) -> Any:
        if job.channel == "threads":
            if on_messages:
                lose_messages(InProcess)
            return _struck(partial(trainings.give, name, number))
        target = [worker()]
        return _struck(
            lambda: cluster.client.run(_order, name, number, on_messages, workers=target)
        )

    def kill(pid: int) -> Any:
        return _struck(partial(os.kill, pid, signal.SIGKILL))

    match fault:
        case "worker killed":
            return kill(worker_pid())
        case "nanny killed":
            return kill(cluster.nanny(worker_pid()))
        case "process killed":
            return kill(lane.rank_process(job.rank))
        case "worker frozen":
            return frozen(worker_pid())
        case "process frozen":
            return frozen(lane.rank_process(job.rank))
        case "machine frozen":
            return _machine_frozen(lane, worker_pid())
        case "slow rank":
            here = job.channel == "processes"
            return stutter(lane.rank_process(job.rank) if here else worker_pid())
        case "rank exits":
            return order("exit")
        case "late rank":
            return order("slow", 1.5 * lane.timeout)
        case "exception":
            return order("raise")
        case "not a number":
            return order("nan")
        case "message dropped":
            return order("drop", job.rank if job.channel == "threads" else -1, True)
        case "message late":
            return order("delay", 1.0, True)
        case "message too late":
            return order("delay", 1.5 * lane.timeout, True)
        case "worker's memory":
            return order("take memory", 2 * MEMORY)
        case "no memory":
            return _without_memory(worker_pid(), order("no memory"))
        case "shared memory full":
            return filled(SHM)
        case "disk full":
            return filled(lane.disk)
        case "scheduler killed":
            return kill(cluster.scheduler.pid)
        case "scheduler frozen":
            return frozen(cluster.scheduler.pid)
    raise ValueError(f"no strike for {fault!r}")


@contextmanager
def _without_memory(pid: int, order: Any) -> Iterator[None]:
    """Limit a worker's memory; at the end its process is replaced."""
    with order:
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def _machine_frozen(lane: Lane, worker: int) -> Iterator[None]:
    """Stop a worker and its nanny; wake both up a moment after the others have begun anew."""
    pids = [worker, lane.cluster.nanny(worker)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def wake() -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    lane.at_restart = threading.Timer(0.3, wake)
    try:
        yield
    finally:
        lane.at_restart.cancel()
        lane.at_restart = None
        wake()
