"""ZeRO, stage 1: the ranks share out the optimizer's state, of which none needs all.

The update of a parameter needs the state of this parameter only. So each rank keeps the state of
its slice of theta, takes the step there, and the ranks tell each other their new parameters. What
is sent is what an all-reduce would send: reducing and scattering is its one half, gathering the
other.

Chapter: sharded optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.arrays import Array
from course_lib.clipping import clip_gradient, squares
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import (
    REDUCE_SCATTER,
    all_gather,
    all_reduce,
    reduce_scatter,
    shard,
)
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Session, Strategy
from course_lib.parallel.strategies.local_gradient import LocalGradient
from course_lib.registry import lookup


@dataclass(frozen=True)
class ZeRO1(Strategy):
    r"""Synchronous steps, each rank on its slice of the parameters.

    Of theta and of the gradient every rank has the whole, of the optimizer's vectors
    :math:`\lceil n / p \rceil` numbers each at most (see
    :func:`~course_lib.parallel.cost.zero_memory`). The result is that of ``SyncSGD`` with the same
    algorithm, to the bit, with every optimizer that treats each parameter on its own, as all of
    this package do.

    Parameters
    ----------
    algorithm : {"auto", "ordered", "ring"}
        How gradients are added, see :func:`~course_lib.parallel.collectives.reduce_scatter`.

    Raises
    ------
    ValueError
        If the algorithm is not known.

    References
    ----------
    Rajbhandari et al. 2020, section 5.1 (:math:`P_{os}`).

    Examples
    --------
    >>> ZeRO1()
    ZeRO1(algorithm='auto')
    """

    algorithm: str = "auto"

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        lookup("reduce_scatter algorithm", self.algorithm, REDUCE_SCATTER)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> ZeROSession:
        """Begin, or go on with, a training on one rank."""
        return ZeROSession(comm, job, clock, self.algorithm)


class ZeROSession(Session):
    """One rank's part of a training with :class:`ZeRO1`: `state` is that of its slice."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, algorithm: str) -> None:
        self._comm, self._clock, self._optimizer = comm, clock, job.optimizer
        self._algorithm, self._clip = algorithm, job.clip
        self._theta, self._local = job.theta.copy(), LocalGradient(job, clock, comm.size)
        self._gradient = comm.buffer(len(self._theta), self._theta.dtype)
        self._slices = [shard(len(self._theta), rank, comm.size) for rank in range(comm.size)]
        self._mine = self._slices[comm.rank]
        if job.state is None:
            self.state = job.optimizer.init(self._theta[self._mine])
        else:
            cut = {name: job.state[name][self._mine].copy() for name in job.optimizer.memory}
            self.state = {"t": job.state["t"], **cut}

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Add and scatter the gradients, step on this rank's slice, gather the slices."""
        loss = self._local(self._theta, rows, epoch, step, self._comm.rank, out=self._gradient)
        self._clock.lap("compute")
        gradient = reduce_scatter(self._comm, self._gradient, self._algorithm)
        self._clock.lap("communication")
        if self._clip is not None:  # nobody has the whole gradient: the sum of squares is of all
            digits = squares(gradient)
            self._clock.lap("compute")
            all_reduce(self._comm, digits)
            self._clock.lap("communication")
            clip_gradient(gradient, self._clip, digits)
        theta = self._theta[self._mine]
        _, self.state = self._optimizer.step(theta, gradient, self.state, out=theta)
        self._clock.lap("compute")
        self._gather_slices(theta, self._theta)
        self._clock.lap("communication")
        return loss

    def gather(self) -> tuple[Array, State]:
        """Return theta, which every rank has, and the state put together from all slices."""
        whole = {name: np.empty_like(self._theta) for name in self._optimizer.memory}
        for name, vector in whole.items():
            self._gather_slices(self.state[name], vector)
        return self._theta, {"t": self.state["t"], **whole}

    def _gather_slices(self, mine: Array, out: Array) -> None:
        for at, part in zip(self._slices, all_gather(self._comm, mine), strict=True):
            out[at] = part
