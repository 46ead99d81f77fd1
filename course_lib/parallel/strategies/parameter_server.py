"""An asynchronous parameter server: nobody waits for the slowest, up to a point.

Rank 0 keeps the parameters. Every other rank computes the gradient of its rows, sends it, and gets
back the parameters of the moment: with the gradients of those who were faster, without those of
those who are slower. So gradients are taken where the parameters were some updates ago. How long
ago is bounded: who is too far ahead gets no answer until the slower ones have caught up.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.clipping import clip_gradient
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import broadcast
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Session, Strategy
from course_lib.parallel.strategies.local_gradient import LocalGradient


@dataclass(frozen=True)
class AsyncParameterServer(Strategy):
    r"""Apply each gradient when it comes; let no rank be more than s steps ahead.

    A worker in step k uses parameters that contain all updates of all steps before k - s. With
    s = 0 all wait for all, and with plain SGD, whatever its schedule, the result is that of the
    synchronous run. With s > 0 it depends on who was when how fast; the ``log`` of the
    :class:`~course_lib.parallel.TrainResult` has the order of the updates, from which the
    run can be repeated to the bit.

    Each worker's gradient is an update of its own: of p ranks, p - 1 take part in a batch, so the
    optimizer takes p - 1 steps per batch, each with the rows of one worker divided by those of the
    batch. Plain SGD adds them up; momentum and weight decay act at each of them, and Adam takes
    p - 1 whole steps, for which its learning rate must be lowered. A schedule counts batches.

    Rank 0 only serves (it would answer late if it computed, too), so the rows of a batch go to
    the other ranks; alone, it does everything. The end of an epoch is a barrier.

    Parameters
    ----------
    staleness : int
        s, at least 0.

    Raises
    ------
    ValueError
        If the staleness is below 0.

    References
    ----------
    Dean et al. 2012 (Downpour SGD: without a bound); Ho et al. 2013 (stale synchronous parallel:
    the bound).

    Examples
    --------
    >>> AsyncParameterServer(staleness=2)
    AsyncParameterServer(staleness=2)
    """

    staleness: int

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        check_integer(self.staleness, where="AsyncParameterServer", name="staleness", at_least=0)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> ServerSession | WorkerSession:
        """Begin, or go on with, a training on one rank."""
        if comm.rank == 0:
            return ServerSession(comm, job, clock, self.staleness)
        return WorkerSession(comm, job, clock)


class WorkerSession(Session):
    """A rank that computes gradients: one of all but rank 0."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch) -> None:
        self._comm, self._clock = comm, clock
        self._local, self._piece = LocalGradient(job, clock, comm.size - 1), comm.rank - 1
        self._theta, self._gradient = job.theta.copy(), np.empty_like(job.theta)

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Push the gradient, an empty one if there are no rows; pull the parameters."""
        part = self._local.part(len(rows), self._piece)
        loss = self._local(self._theta, rows, epoch, step, self._piece, out=self._gradient)
        self._clock.lap("compute")
        has_rows = part.stop > part.start
        self._comm.send(0, "push", self._gradient if has_rows else self._gradient[:0])
        self._theta = self._comm.recv(0, "pull")
        self._clock.lap("communication")
        return loss

    def gather(self) -> tuple[Array, State]:
        """Return the parameters that contain all updates; the state is on rank 0."""
        return broadcast(self._comm, self._theta), {}


class ServerSession(Session):
    """Rank 0, which has the parameters; `log` has all updates in their order since the start."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, staleness: int) -> None:
        self.log: list[Applied] = []
        self._comm, self._clock, self._staleness = comm, clock, staleness
        self._optimizer, self._clip = job.optimizer, job.clip
        self._local = LocalGradient(job, clock, max(1, comm.size - 1))  # used if it is alone
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
            loss = self._local(self._theta, rows, epoch, step, 0, out=gradient)
            self._apply(0, self._step, gradient, (len(self.log), self._step))
            self._step += 1
            self._clock.lap("compute")
            return loss
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
        clip_gradient(gradient, self._clip)
        # A schedule counts batches, though the state counts updates.
        optimizer = replace(self._optimizer, lr=self._optimizer.learning_rate(step))
        self._theta, self._state = optimizer.step(
            self._theta, gradient, self._state, out=self._theta
        )


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
