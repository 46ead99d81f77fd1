"""What became of each rank, and which of several failures was the cause of the others.

When one rank fails, its peers fail too: they time out, or are stopped. Only the first cause helps
the reader, so errors are ranked: an exception of the user's function, then a lost worker, then a
wait in vain, then being stopped.

Chapter: data parallelism.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from course_lib.parallel.errors import Aborted, ParallelError, PeerLeft, RankFailed, WorkerLost


@dataclass(frozen=True)
class Outcome:
    """How the function ended on one rank.

    Parameters
    ----------
    rank : int
        Which rank.
    value : object
        What it returned.
    error : BaseException, optional
        What it raised instead.
    step : int, optional
        The training step in which it raised.
    worker : str, optional
        The address of its worker.
    """

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
        error: BaseException = self.error
        try:
            error = pickle.loads(pickle.dumps(error))
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
    """Return the error to report, or None if no rank failed.

    Parameters
    ----------
    outcomes : sequence of Outcome
        In order of arrival.

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
    when = "" if first.step is None else f" in step {first.step}"
    cause = RankFailed(
        f"rank {first.rank}{where} failed{when}: {type(error).__name__}: {error}",
        rank=first.rank,
        worker=first.worker,
        step=first.step,
    )
    cause.__cause__ = error
    return cause


def results(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return the values in rank order, or raise the first cause."""
    error = first_cause(outcomes)
    if error is not None:
        raise error
    return [outcome.value for outcome in sorted(outcomes, key=lambda o: o.rank)]
