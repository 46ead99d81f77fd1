"""Failures and restarts: all ranks start again, within one budget.

Never one rank alone: its peers hold sums that it has not seen. The driver is the only one to
decide, and what it starts again is simply the same program, which finds where to go on.

Chapter: when workers die.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from typing import TypeVar

from course_lib.parallel.errors import (
    CommTimeout,
    MoreWorkers,
    ParallelError,
    SchedulerLost,
    WorkerLost,
    WorkersBusy,
)

T = TypeVar("T")


class interruptible(ContextDecorator):
    """Lets Ctrl-C end a run with a sentence, in place of all that the driver was just doing.

    Examples
    --------
    >>> try:
    ...     with interruptible("train"):
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt as interrupt:
    ...     print(interrupt)
    train: interrupted; its ranks were stopped.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say it."""
        if kind is KeyboardInterrupt:
            raise KeyboardInterrupt(f"{self._what}: interrupted; its ranks were stopped.") from None


def run_with_restarts(
    attempt: Callable[[], T],
    *,
    max_restarts: int,
    again: Callable[[str, ParallelError | None], None],
    repair: Callable[[ParallelError], None] | None = None,
    lost: Callable[[ParallelError], None] | None = None,
    hopeless: str = "",
) -> tuple[T, int]:
    """Run all ranks, again whenever a worker is lost or silent; return also how often that was.

    `again` hears, before each further attempt, a sentence and the failure, None if ranks have only
    stopped to go on with more workers; `lost` hears of every failure, also of the last. `hopeless`
    says why nothing must be run again. Once the budget is spent, the last failure is raised, with
    the first as its cause.

    Examples
    --------
    >>> failures = [WorkerLost("worker 1 was lost")]
    >>> def attempt():
    ...     if failures:
    ...         raise failures.pop()
    ...     return "trained"
    >>> run_with_restarts(attempt, max_restarts=2, again=print)
    restart 1 of 2 worker 1 was lost
    ('trained', 1)
    """
    first: ParallelError | None = None
    restarts, begun = 0, False
    while True:
        try:
            return attempt(), restarts
        except MoreWorkers:
            again("restart with more workers", None)
            begun = True
            continue
        except (WorkerLost, CommTimeout, WorkersBusy, SchedulerLost) as error:
            if isinstance(error, WorkersBusy) and not begun:
                raise  # nothing was lost: the workers were never ours
            if hopeless:
                error.add_note(hopeless)
                raise
            if lost is not None:
                lost(error)
            if restarts == max_restarts:
                error.add_note(f"The budget of {max_restarts} restarts is spent.")
                if first is None:
                    raise
                error.add_note(f"The first failure was: {first}")
                raise error from first
            first, failed = first or error, error
        except ParallelError as error:
            if first is not None:  # too few workers are left, or the scheduler is not back
                error.add_note(f"The first failure was: {first}")
                raise error from first
            raise
        restarts, begun = restarts + 1, True
        if repair is not None:
            repair(failed)
        again(f"restart {restarts} of {max_restarts}", failed)
