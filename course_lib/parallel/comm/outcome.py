"""What became of each rank, which failure was the cause of the others, and who stops them.

When one rank fails, its peers fail too: they time out, or are stopped. Only the first cause helps
the reader, so errors are ranked: an exception of the user's function, then a lost worker, then a
wait in vain, then being stopped.

Chapter: data parallelism.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from course_lib.checkpoint import CheckpointError
from course_lib.parallel.errors import (
    Aborted,
    CheckpointFailed,
    ParallelError,
    PeerLeft,
    RankFailed,
    WorkerLost,
)


@dataclass(frozen=True)
class Outcome:
    """How the function ended on one rank: what it returned, or what it raised, where and when."""

    rank: int
    value: Any = None
    error: BaseException | None = None
    step: int | None = None
    worker: str | None = None

    def portable(self) -> Outcome:
        """Return this outcome in a form that can be pickled, with the traceback as a note."""
        if self.error is None:
            return self
        text = "".join(traceback.format_exception(self.error))
        # Tracebacks hold all that the rank had in its hands, and Dask's survive pickling.
        chain: BaseException | None = self.error
        while chain is not None:
            chain.__traceback__ = None
            chain = chain.__cause__ or chain.__context__
        error: BaseException = self.error
        try:
            error = pickle.loads(pickle.dumps(error))  # nosec B301 # our own, just pickled
            error.add_note(f"On rank {self.rank}, worker {self.worker}:\n{text}")
        except Exception:
            error = RuntimeError(f"{type(self.error).__name__}: {self.error}\n{text}")
        return replace(self, error=error)


def _weight(outcome: Outcome) -> int:
    error = outcome.error
    if not isinstance(error, ParallelError):
        return 0
    if isinstance(error, WorkerLost):
        return 1
    return 3 if isinstance(error, Aborted | PeerLeft) else 2


def first_cause(outcomes: Sequence[Outcome]) -> ParallelError | None:
    """Return the error to report, or None if no rank failed; outcomes come in order of arrival.

    Examples
    --------
    >>> aborted = Outcome(0, error=Aborted("rank 1 failed"))
    >>> failed = Outcome(1, error=ZeroDivisionError("division by zero"), step=7)
    >>> first_cause([aborted, failed])
    RankFailed('rank 1 failed in step 7: ZeroDivisionError: division by zero')
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return None
    first = min(failed, key=_weight)
    error = first.error
    if isinstance(error, ParallelError):
        return error
    where = "" if first.worker is None else f" on worker {first.worker}"
    when = "" if first.step is None or first.step < 0 else f" in step {first.step}"
    kind: type[ParallelError] = RankFailed
    text = f"failed{when}: {type(error).__name__}: {error}"
    if isinstance(error, CheckpointError):  # a sentence about a folder, not about the program
        kind, text = CheckpointFailed, f"stopped{when}: {error}"
    cause = kind(
        f"rank {first.rank}{where} {text}", rank=first.rank, worker=first.worker, step=first.step
    )
    cause.__cause__ = error
    return cause


# Stopped ranks notice at their next message, so a rank may need as long as a step computes.
GRACE = 10.0


class Supervisor:
    """Hears how each rank ends; at the first failure, has the others stopped and waits no longer.

    Threads, processes and Dask workers are supervised alike. Whoever starts the ranks passes on
    what it hears, one event after the other, until :attr:`done` or until :meth:`left` is over.
    """

    def __init__(self, size: int, stop: Callable[[str], None], grace: float | None = None) -> None:
        self._size, self._stop = size, stop
        self.grace = GRACE if grace is None else grace  # seconds that stopped ranks get
        self._deadline: float | None = None
        self.outcomes: dict[int, Outcome] = {}  # by rank, in the order in which they ended
        self.failed = False

    @property
    def done(self) -> bool:
        """Whether every rank has ended."""
        return len(self.outcomes) == self._size

    def left(self) -> float | None:
        """Return the seconds that the next event may take; None: as long as it likes."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def limit(self, timeout: float) -> None:
        """Give the ranks so many seconds, to start or to stop."""
        self._deadline = time.monotonic() + timeout

    def started(self) -> None:
        """Hear that all ranks have started; from now on they may take as long as they like."""
        if not self.failed:
            self._deadline = None

    def end(self, outcome: Outcome) -> None:
        """Hear how a rank has ended; what was heard of it first counts."""
        self.outcomes.setdefault(outcome.rank, outcome)
        cause = first_cause(list(self.outcomes.values()))
        if cause is not None and not self.failed:
            self.failed = True
            self._stop(str(cause))
            self._deadline = time.monotonic() + self.grace

    def values(self) -> list[Any]:
        """Return what the ranks returned, by rank, or raise the first cause."""
        if cause := first_cause(list(self.outcomes.values())):
            raise cause
        return [self.outcomes[rank].value for rank in range(self._size)]
