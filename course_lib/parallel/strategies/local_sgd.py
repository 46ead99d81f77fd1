"""Local SGD: each rank steps on its own for a while, then all average their parameters.

One exchange per h steps instead of one per step. Between exchanges the ranks drift apart, each
towards the optimum of its own rows; for h = 1 nothing drifts, and with SGD the average of the
parameters after one step is the step by the average gradient.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.clipping import clip_gradient
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import ALL_REDUCE, all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import (
    Job,
    Session,
    Strategy,
    arrays_by_rank,
    gather_by_rank,
)
from course_lib.parallel.strategies.local_gradient import LocalGradient
from course_lib.registry import lookup


@dataclass(frozen=True)
class LocalSGD(Strategy):
    r"""Take h steps on the rank's own rows, then average.

    .. math:: \theta \leftarrow \sum_{r=0}^{p-1} \frac{n_r}{n} \theta_r

    where :math:`n_r` of the n rows of the round were rank r's: a rank that saw more weighs more,
    one that saw none does not count. A local step takes the mean gradient of the rank's rows.

    The optimizer's vectors are averaged with the same weights. For momentum this is right: with
    SGD and h = 1, with or without momentum, the result is that of the synchronous run. For Adam
    the mean of squares is not the square of the mean, and even h = 1 is another method.

    Rounds count steps, across the ends of epochs. At the end of an epoch, and for a checkpoint,
    the average is shown, and the ranks go on from where each one is. Another number of ranks than
    wrote the checkpoint goes on from the average, and begins a round.

    Parameters
    ----------
    h : int
        Steps per round.
    algorithm : str
        How parameters are added, see :func:`~course_lib.parallel.collectives.all_reduce`.

    Raises
    ------
    ValueError
        If h is below 1, or the algorithm is not known.

    References
    ----------
    McMahan et al. 2017 (federated averaging, with these weights); Stich 2019.

    Examples
    --------
    >>> LocalSGD(8)
    LocalSGD(h=8, algorithm='auto')
    """

    h: int
    algorithm: str = "auto"

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        check_integer(self.h, where="LocalSGD", name="h", at_least=1)
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> LocalSession:
        """Begin, or go on with, a training on one rank."""
        return LocalSession(comm, job, clock, self)


class LocalSession(Session):
    """One rank's part of a training with :class:`LocalSGD`."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, strategy: LocalSGD) -> None:
        self._comm, self._clock, self._strategy = comm, clock, strategy
        self._job, self._clip = job, job.clip
        self._optimizer, self._local = job.optimizer, LocalGradient(job, clock, comm.size)
        state = job.optimizer.init(job.theta) if job.state is None else job.state
        self._t: int = state["t"]
        # Parameters and the optimizer's vectors, one after the other: averaged by one all-reduce.
        self._rows = comm.buffer(len(job.theta) * (1 + len(job.optimizer.memory)), job.theta.dtype)
        self._rows[:] = np.concatenate([job.theta, *(state[k] for k in job.optimizer.memory)])
        self._gradient = np.empty_like(job.theta)
        # Of this round: steps, and how much the rows count, those here and those of all.
        self._steps, self._mine, self._all = 0, 0.0, 0.0
        models = arrays_by_rank(job.extra, "local")
        # In the middle of a round, and the ranks are as many as before. If they are not, the
        # average is all there is to go on from, and a new round begins.
        if len(models) == comm.size:
            self._rows[:] = models[comm.rank]
            steps, self._all = job.extra["round"].tolist()
            self._steps = int(steps)
            self._mine = float(arrays_by_rank(job.extra, "rows")[comm.rank][0])

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Step by the mean gradient of the rank's own rows; average where a round ends."""
        theta, state = self._split(self._rows)
        rank = self._comm.rank
        part = self._local.part(len(rows), rank)
        mine, whole, loss = self._job.weight(rows[part]), self._job.weight(rows), 0.0
        if mine:
            mean = self._local(theta, rows, epoch, step, rank, out=self._gradient, denominator=mine)
            clip_gradient(self._gradient, self._clip)
            self._optimizer.step(theta, self._gradient, state, out=theta)
            loss = mean * mine / whole
        self._t += 1  # also without rows: a schedule goes on alike on all ranks
        self._steps += 1
        self._mine += mine
        self._all += whole
        self._clock.lap("compute")
        if self._steps == self._strategy.h:
            self._average(self._rows)
            self._steps, self._mine, self._all = 0, 0.0, 0.0
            self._clock.lap("communication")
        return loss

    def gather(self) -> tuple[Array, State]:
        """Return the averages, and leave this rank's own parameters as they are."""
        shown = self._rows.copy()
        if self._steps:
            self._average(shown)
        return self._split(shown)

    def extra(self) -> dict[str, Array]:
        """Return each rank's own parameters and vectors, unless a round has just ended."""
        if not self._steps:
            return {}
        return {
            **gather_by_rank(self._comm, "local", self._rows),
            **gather_by_rank(self._comm, "rows", np.array([self._mine])),
            "round": np.array([self._steps, self._all]),
        }

    def _split(self, rows: Array) -> tuple[Array, State]:
        """Show the parameters and the optimizer's state in the one array."""
        theta, *vectors = rows.reshape(1 + len(self._optimizer.memory), -1)
        return theta, {"t": self._t, **dict(zip(self._optimizer.memory, vectors, strict=True))}

    def _average(self, rows: Array) -> None:
        # A round in which no row counts has changed nothing.
        rows *= self._mine / self._all if self._all else 1 / self._comm.size
        all_reduce(self._comm, rows, self._strategy.algorithm)
