"""The trials of a search in threads of this process: nothing to install, nothing to start.

Chapter: search.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor

from course_lib.parallel.trials import Objective, Trial, TrialResult, run_trial


class ThreadPool:
    """Runs trials in threads of this process; to be used in a ``with`` statement.

    Parameters
    ----------
    objective : callable
        What to run.
    workers : int
        How many at a time. With one, they run in the order in which they were submitted.

    Examples
    --------
    >>> with ThreadPool(lambda trial: trial.index + 0.5, workers=1) as pool:
    ...     pool.submit(Trial(7, {}, seed=0, budget=1))
    ...     pool.wait()[1].score
    7.5
    """

    def __init__(self, objective: Objective, *, workers: int) -> None:
        self._objective = objective
        self._executor = ThreadPoolExecutor(workers)
        self._ended: queue.SimpleQueue[tuple[Trial, TrialResult]] = queue.SimpleQueue()

    def submit(self, trial: Trial) -> None:
        """Take a trial to be run."""
        self._executor.submit(lambda: self._ended.put((trial, run_trial(self._objective, trial))))

    def wait(self) -> tuple[Trial, TrialResult]:
        """Return one that has ended."""
        return self._ended.get()

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)
