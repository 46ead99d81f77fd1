"""What the process that started the ranks does meanwhile: listen, and stop all when one fails.

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from course_lib.parallel.errors import CommTimeout, ParallelError, WorkerLost
from course_lib.parallel.outcome import Outcome, first_cause, results

# Stopped ranks notice at their next message, so a rank may need as long as a step computes.
_GRACE = 10.0


def watch(
    processes: Sequence[BaseProcess],
    drivers: Sequence[Connection],
    timeout: float,
    on_report: Callable[[Mapping[str, Any]], None] | None,
) -> list[Any]:
    """Wait until every rank has ended; return the values by rank, or raise the first cause.

    Parameters
    ----------
    processes : sequence of Process
        By rank.
    drivers : sequence of Connection
        A pipe to each.
    timeout : float
        Seconds that the ranks have to start.
    on_report : callable or None
        Called with each message that a rank reports.
    """
    rank_of = {pipe: rank for rank, pipe in enumerate(drivers)}
    outcomes: dict[int, Outcome] = {}
    deadline: float | None = time.monotonic() + timeout
    stopped = False
    while rank_of:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = wait(list(rank_of), left)
        if not ready and stopped:
            break  # some rank computes on and on; the failure that stopped the others is the news
        if not ready:
            raise CommTimeout(
                f"the {len(processes)} processes did not start within {timeout:g} s; on a machine "
                "that is busy, or imports slowly, pass a larger timeout."
            )
        for pipe in ready:
            rank = rank_of[pipe]  # type: ignore[index]
            try:
                kind, content = drivers[rank].recv()
            except (EOFError, OSError):
                outcomes.setdefault(rank, _lost(rank, processes[rank]))
                kind, content = "outcome", outcomes[rank]
            if kind == "outcome":
                outcomes.setdefault(rank, content)
                del rank_of[pipe]  # type: ignore[arg-type]
            elif kind == "started" and not stopped:
                deadline = None
            elif kind == "abort":
                _stop(drivers, content)
            elif kind == "report" and on_report is not None:
                on_report(content)
        if not stopped and (error := first_cause(list(outcomes.values()))):
            stopped, deadline = True, time.monotonic() + _GRACE
            _stop(drivers, str(error))
    return results(list(outcomes.values()))


def _stop(drivers: Sequence[Connection], reason: str) -> None:
    for pipe in drivers:
        with suppress(OSError):  # that one has ended
            pipe.send(reason)


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
