"""A worker of a parameter server: it computes gradients where the server's parameters were.

A worker sends the gradient of its rows ("push"; an empty array if it has none) and receives
parameters ("pull"): two messages per worker and step.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.arrays import Array
from course_lib.dropout import noise
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import broadcast
from course_lib.parallel.comm import Comm
from course_lib.parallel.local_gradient import gradient_of, shard

if TYPE_CHECKING:
    from course_lib.parallel.job import Job


class Share:
    """The gradient of one worker's rows; the workers are the ranks but 0, or 0 if it is alone."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch) -> None:
        self._job, self._clock, self._workers = job, clock, max(1, comm.size - 1)
        self._place = max(0, comm.rank - 1)
        largest = self._part(min(job.batch_size, len(job.x)), 0).stop
        self._options: dict[str, Any]
        self._model, self._options = job.model(largest)

    def __call__(
        self, theta: Array, rows: Array, epoch: int, step: int, *, out: Array
    ) -> float | None:
        """Write the gradient to `out` and return this worker's part of the loss; None: no rows."""
        part, job = self._part(len(rows), self._place), self._job
        if part.stop == part.start:
            return None
        rng = noise(job.seed, epoch, step) if job.net.has_noise else None
        return gradient_of(
            self._model, theta, job.x, job.y, rows, part,
            out=out, rng=rng, clock=self._clock, **self._options,
        )  # fmt: skip

    def _part(self, n: int, place: int) -> slice:
        return shard(n, place, self._workers)


class WorkerSession:
    """A rank that computes gradients.

    Parameters
    ----------
    comm, job, clock
        See :class:`~course_lib.parallel.strategy.Strategy`.
    """

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch) -> None:
        self._comm, self._clock, self._share = comm, clock, Share(comm, job, clock)
        self._theta, self._gradient = job.theta.copy(), np.empty_like(job.theta)

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """See :meth:`Session.step <course_lib.parallel.strategy.Session.step>`."""
        loss = self._share(self._theta, rows, epoch, step, out=self._gradient)
        self._clock.lap("compute")
        self._comm.send(0, "push", self._gradient[:0] if loss is None else self._gradient)
        self._theta = self._comm.recv(0, "pull")
        self._clock.lap("communication")
        return loss or 0.0

    def gather(self) -> tuple[Array, State]:
        """Return the parameters that contain all updates; the state is on rank 0."""
        return broadcast(self._comm, self._theta), {}

    def extra(self) -> dict[str, Array]:
        """Return nothing: workers remember nothing."""
        return {}
