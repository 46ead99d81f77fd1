"""The trials of a search on the workers of a Dask cluster.

Trials are independent, so unlike the ranks of a gang each may run wherever there is room, and be
run again elsewhere if its worker is lost.

Chapter: search.
"""

from __future__ import annotations

import queue
import time
from collections import Counter, deque
from contextlib import suppress
from types import TracebackType
from typing import Any

from dask import config
from distributed import Future, KilledWorker
from distributed.client import ClosedClientError
from distributed.protocol import pickle

from course_lib.parallel.errors import (
    ClusterUnreachable,
    NotEnoughWorkers,
    ParallelError,
    WorkersBusy,
)
from course_lib.parallel.launch.client import LimitedClient
from course_lib.parallel.launch.workers import held_workers
from course_lib.parallel.search.trials import Objective, Trial, TrialResult, run_trial


class DaskPool:
    """Runs trials as Dask tasks, `at_once` at a time or as many as the cluster has threads."""

    def __init__(
        self,
        client: LimitedClient,
        objective: Objective,
        *,
        at_once: int | None,
        retries: int,
        timeout: float,
    ) -> None:
        self._client = client
        self._objective = _pickled(objective)
        self._at_once, self._retries, self._timeout = at_once, retries, timeout
        self._shared: Future[Any] | None = None
        self._waiting: deque[Trial] = deque()
        self._running: dict[Any, tuple[Future[Any], Trial, str]] = {}
        self._lost: Counter[tuple[int, int]] = Counter()
        # Callbacks come from Dask's threads; everything is decided in the caller's.
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def submit(self, trial: Trial) -> None:
        """Take a trial to be run."""
        self._waiting.append(trial)

    def wait(self) -> tuple[Trial, TrialResult]:
        """Return one that has ended; trials whose worker was lost are started again meanwhile."""
        deadline = None
        while True:
            self._fill()
            try:
                future = self._ended.get(timeout=0.5)
            except queue.Empty:
                # Workers may come and go without any trial ending.
                deadline = self._check_workers(deadline)
                continue
            _, trial, _ = self._running.pop(future.key)
            result = self._result_of(future, trial)
            if result is not None:
                return trial, result
            self._waiting.appendleft(trial)

    def _fill(self) -> None:
        """Give each worker a trial per free thread: what waits here can not be lost with it."""
        if not self._waiting:
            return
        taken = Counter(address for _, _, address in self._running.values())
        free = {w: threads - taken[w] for w, threads in self._client.nthreads().items()}
        # A trial would wait there until the training that holds it has ended.
        for address in held_workers(self._client, [w for w in free if free[w] > 0]):
            del free[address]
        limit = len(self._running) + len(self._waiting) if self._at_once is None else self._at_once
        # Dask warns of large arguments; a trained state is one, and goes to one worker once.
        with config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            while self._waiting and len(self._running) < limit and free:
                address = min(free, key=lambda w: (-free[w], w))
                if free[address] < 1:
                    break
                free[address] -= 1
                self._start(self._waiting.popleft(), address)

    def _start(self, trial: Trial, address: str) -> None:
        if self._shared is None or self._shared.status in ("error", "cancelled", "lost"):
            # A task, not scattered data: what is lost with its worker is made again.
            self._shared = self._client.submit(pickle.loads, self._objective, pure=False)
        future = self._client.submit(
            _run_pickled,
            self._shared,
            _pickled(trial),
            # Left alone, Dask puts tasks where their arguments are: all on one worker at first.
            workers=[address],
            # A task bound to a worker that has died would wait for it for ever.
            allow_other_workers=True,
            pure=False,
            retries=0,
        )
        self._running[future.key] = (future, trial, address)
        future.add_done_callback(self._ended.put)

    def _result_of(self, future: Future[Any], trial: Trial) -> TrialResult | None:
        """Return the result, or None if the trial is to be run again."""
        if future.status == "finished":
            result: TrialResult = pickle.loads(future.result(timeout=self._timeout))
            return result
        if self._client.status != "running":
            self._client.check()
        error = future.exception(timeout=self._timeout) if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            raise ParallelError(
                f"a worker could not run the objective ({type(error).__name__}: {error}); modules "
                "that it uses, and course_lib, must be installed where the workers run."
            ) from error
        run = (trial.index, trial.budget)
        self._lost[run] += 1
        lost = self._lost[run]
        if lost <= self._retries:
            return None
        why = f"WorkerLost: its worker was lost {lost} times: killed or out of memory"
        return TrialResult(None, error=why)

    def _check_workers(self, deadline: float | None) -> float | None:
        """Raise if there is no worker when the deadline is over; return the deadline, if any."""
        if self._client.status != "running":
            self._client.check()
        workers = self._client.nthreads()
        if workers and self._running:
            return None
        if deadline is None:
            return time.monotonic() + self._timeout
        if time.monotonic() > deadline and workers:
            raise WorkersBusy(
                f"no worker became free for the search within {self._timeout:g} s: other runs "
                "hold them. Wait for these to end, raise timeout=, or use another cluster."
            )
        if time.monotonic() > deadline:
            raise NotEnoughWorkers(
                f"the search has no worker since {self._timeout:g} s; start some, or raise "
                "timeout= if they are still to come."
            )
        return deadline

    def __enter__(self) -> DaskPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        with suppress(ClosedClientError, ClusterUnreachable):
            self._client.cancel([future for future, _, _ in self._running.values()], force=True)
        self._running.clear()
        self._shared = None


def _pickled(thing: object) -> bytes:
    # Bytes, because Dask looks for keys and tasks inside of arguments that are tuples and dicts.
    try:
        data: bytes = pickle.dumps(thing)
    except Exception as error:
        raise TypeError(
            f"the objective, a configuration or a state can not be sent to a worker ({error}); it "
            "must not hold open files, locks, clients or generators."
        ) from error
    return data


def _run_pickled(objective: Objective, trial: bytes) -> bytes:
    result = run_trial(objective, pickle.loads(trial))
    try:
        return _pickled(result)
    except TypeError as error:
        return _pickled(TrialResult(None, error=f"TypeError: {error}"))
