"""The server among the ranks: it applies gradients as they come, and knows who is how far.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from course_lib.arrays import Array
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import broadcast
from course_lib.parallel.comm import Comm
from course_lib.parallel.parameter_server_work import Share

if TYPE_CHECKING:
    from course_lib.parallel.job import Job


class Applied(NamedTuple):
    """One update in the server's log.

    Attributes
    ----------
    worker : int
        Whose gradient it was.
    step : int
        Of which step, counted over all epochs.
    read : int
        The number of updates that were in the parameters where the gradient was taken.
    clock : int
        All updates of the steps before this one were among them.
    version : int
        The number of updates before this one.
    """

    worker: int
    step: int
    read: int
    clock: int
    version: int

    @property
    def lag(self) -> int:
        """By how many steps the parameters were older than in a synchronous run."""
        return self.step - self.clock


class ServerSession:
    """Rank 0, which has the parameters.

    Parameters
    ----------
    comm, job, clock
        See :class:`~course_lib.parallel.strategy.Strategy`.
    staleness : int
        How many steps a worker may be ahead.

    Attributes
    ----------
    log : list of Applied
        All updates in their order, since the run has started or gone on.
    """

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, staleness: int) -> None:
        self.log: list[Applied] = []
        self._comm, self._clock, self._staleness = comm, clock, staleness
        self._optimizer, self._share = job.optimizer, Share(comm, job, clock)
        self._theta = job.theta.copy()
        self._state = job.optimizer.init(self._theta) if job.state is None else deepcopy(job.state)
        # The state counts updates; steps are counted here. Pushes of one worker come in order, so
        # that counting them tells their step.
        self._step = int(job.extra["step"]) if "step" in job.extra else 0
        workers = range(1, comm.size)
        self._pushed = dict.fromkeys(workers, self._step)  # the step that will come from each
        self._read = dict.fromkeys(workers, (0, self._step))  # version and clock that each has
        self._waiting: set[int] = set()

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Serve until all updates of s steps ago are in; alone, take the step."""
        if self._comm.size == 1:
            gradient = np.empty_like(self._theta)
            loss = self._share(self._theta, rows, epoch, step, out=gradient)
            self._apply(0, self._step, gradient, (len(self.log), self._step))
            self._step += 1
            self._clock.lap("compute")
            return loss or 0.0
        self._step += 1
        self._serve(self._step - self._staleness)
        return 0.0

    def gather(self) -> tuple[Array, State]:
        """Serve until all updates are in, and give the parameters to all."""
        self._serve(self._step)
        theta = broadcast(self._comm, self._theta)
        # What workers read next is this.
        self._read = dict.fromkeys(self._read, (len(self.log), self._step))
        return theta, self._state

    def extra(self) -> dict[str, Array]:
        """Return the number of steps, which a schedule needs."""
        return {"step": np.array(self._step)}

    def _serve(self, clock: int) -> None:
        """Apply gradients as they come until all updates of the steps before `clock` are in."""
        while self._clock_of_all() < clock:
            worker, gradient = self._comm.recv_any(self._pushed, "push")
            self._clock.lap("communication")
            if len(gradient):
                self._apply(worker, self._pushed[worker], gradient, self._read[worker])
            self._pushed[worker] += 1
            self._waiting.add(worker)
            self._clock.lap("compute")
            self._answer()

    def _answer(self) -> None:
        """Send the parameters to those who wait, unless they are too far ahead."""
        clock = self._clock_of_all()
        for worker in sorted(self._waiting):
            if clock >= self._pushed[worker] - self._staleness:
                self._comm.send(worker, "pull", self._theta)
                self._read[worker] = len(self.log), clock
                self._waiting.remove(worker)
        self._clock.lap("communication")

    def _clock_of_all(self) -> int:
        """Return the first step of which an update may still be missing."""
        return min(self._pushed.values(), default=self._step)

    def _apply(self, worker: int, step: int, gradient: Array, read: tuple[int, int]) -> None:
        self.log.append(Applied(worker, step, *read, version=len(self.log)))
        # A schedule counts batches, though the state counts updates.
        optimizer = replace(self._optimizer, lr=self._optimizer.learning_rate(step))
        self._theta, self._state = optimizer.step(
            self._theta, gradient, self._state, out=self._theta
        )
