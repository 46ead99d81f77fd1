"""Processes of this machine as ranks, without a cluster: what benchmarks and small runs need.

The process that started the ranks hears when one of them ends, and stops the others.

Chapter: data parallelism.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from course_lib.arrays import check_integer
from course_lib.parallel.collectives import barrier
from course_lib.parallel.comm import Comm, Counters, Pipes
from course_lib.parallel.comm.interface import Report
from course_lib.parallel.comm.outcome import Outcome, Supervisor
from course_lib.parallel.comm.pipes import limit
from course_lib.parallel.comm.warned import Warned, warn_once
from course_lib.parallel.doors import check_timeout
from course_lib.parallel.errors import CommTimeout, ParallelError, WorkerLost
from course_lib.parallel.launch.spawning import check_can_start, interrupts_held, known_start_method

# Seconds; only the system itself, in the middle of an operation, can hold a killed process.
_KILLED = 10.0


def run_processes(
    size: int,
    fn: Callable[..., Any],
    *args: Any,
    timeout: float = 60.0,
    on_report: Report | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Run ``fn(comm, *args, **kwargs)`` as `size` ranks, each a new process of this machine.

    Parameters
    ----------
    size : int
        The number of ranks.
    fn : callable
        The program of a rank: a function of a module, because the processes import it from
        there. A script must do its work under ``if __name__ == "__main__"``. What it warns of, the
        caller is warned of, once.
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
    """
    check_integer(size, where="run_processes", name="size", at_least=1)
    timeout = check_timeout(timeout, where="run_processes")
    check_can_start()
    try:
        program = pickle.dumps((Warned(fn), args, kwargs))
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
            with known_start_method(), interrupts_held():
                process.start()
            limit(ours, socket.SO_RCVTIMEO, timeout)
            drivers.append(ours)
            processes.append(process)
            # Our copies must go, or nobody would ever see that the other end is closed.
            for pipe in (theirs, *pipes[rank].values()):
                pipe.close()
        return _watch(processes, drivers, timeout, warn_once(on_report))
    finally:
        for process in processes:
            process.kill()
            process.join(_KILLED)
            with suppress(ValueError):  # the system still holds it
                process.close()


def _main(
    rank: int, peers: Mapping[int, Connection], driver: Connection, timeout: float, program: bytes
) -> None:
    """Run one rank; what it raises is sent to the driver."""
    comm = Pipes(rank, peers, driver, timeout)
    try:
        handshake(comm)
        comm.tell("started")
        fn, args, kwargs = pickle.loads(program)  # nosec B301 # from our own driver, by a pipe
        outcome = Outcome(rank, value=fn(comm, *args, **kwargs))
        message = pickle.dumps(("outcome", outcome))
    except BaseException as error:
        outcome = Outcome(rank, error=error, step=comm.step, worker=f"process {os.getpid()}")
        message = pickle.dumps(("outcome", outcome.portable()))
    comm.tell_bytes(message)
    comm.leave()


def handshake(comm: Comm) -> None:
    """Wait until all ranks have started; what follows then measures the program only."""
    timeout, comm.timeout = comm.timeout, 2 * comm.timeout  # the driver gives up first
    barrier(comm)
    comm.timeout, comm.counters = timeout, Counters()


def _watch(
    processes: Sequence[BaseProcess], drivers: Sequence[Connection], timeout: float,
    on_report: Report | None,
) -> list[Any]:  # fmt: skip
    """Wait until every rank has ended; return the values by rank, or raise the first cause."""

    def stop(reason: str) -> None:
        for pipe in drivers:
            with suppress(OSError):  # that one has ended
                pipe.send(reason)

    rank_of = {pipe: rank for rank, pipe in enumerate(drivers)}
    ranks = Supervisor(len(processes), stop)
    ranks.limit(timeout)
    asked: set[int] = set()
    while rank_of:
        left = ranks.left()
        ready = wait(list(rank_of), timeout if left is None else left)
        if not ready and ranks.failed:
            break  # some rank computes on and on; the failure that stopped the others is the news
        if not ready and left is None:
            # Nothing was heard for long: a frozen process breaks no connection.
            for rank in asked:
                ranks.end(_frozen(rank, timeout))
            asked = set(rank_of.values()) - ranks.outcomes.keys()
            for rank in asked:
                with suppress(OSError):
                    drivers[rank].send(None)
            continue
        if not ready:
            raise CommTimeout(
                f"the {len(processes)} processes did not start within {timeout:g} s; on a machine "
                "that is busy, or imports slowly, pass a larger timeout."
            )
        for pipe in ready:
            rank = rank_of[pipe]  # type: ignore[index]
            try:
                kind, content = drivers[rank].recv()
            except BlockingIOError:  # it stopped in the middle of a message
                kind, content = "outcome", _frozen(rank, timeout)
            except (EOFError, OSError):
                kind, content = "outcome", _lost(rank, processes[rank])
            asked.discard(rank)
            if kind == "outcome":
                ranks.end(content)
                del rank_of[pipe]  # type: ignore[arg-type]
            elif kind == "started":
                ranks.started()
            elif kind == "abort":
                stop(content)
            elif kind == "report" and on_report is not None:
                on_report(content)
    return ranks.values()


def _frozen(rank: int, timeout: float) -> Outcome:
    error = CommTimeout(
        f"the process of rank {rank} did not answer for {timeout:g} s: it is stopped, or has no "
        "time to run.",
        rank=rank,
    )
    return Outcome(rank, error=error)


def _lost(rank: int, process: BaseProcess) -> Outcome:
    process.join(1.0)
    code = process.exitcode
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited ({code})"
    error: ParallelError = WorkerLost(
        f"the process of rank {rank} {how} before its function had returned. If it did not even "
        'start: a script must do its work under `if __name__ == "__main__"`, because each '
        "process imports it.",
        rank=rank,
    )
    return Outcome(rank, error=error)
