"""Data parallelism with compressed gradients, and a memory for what compression left out.

Each rank compresses the gradient of its own rows, and all step by the sum of what was sent. The
part that was not sent, the residual, is added to the rank's next gradient: late, but not lost.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.arrays import Array, check_flag, shown
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_gather, all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.compression import Int8, PowerSGD, TopK, power_step
from course_lib.parallel.strategies.job import (
    Job,
    Replicated,
    Strategy,
    arrays_by_rank,
    gather_by_rank,
)
from course_lib.parallel.strategies.local_gradient import LocalGradient


@dataclass(frozen=True)
class Compressed(Strategy):
    r"""Synchronous steps by compressed gradients.

    .. math:: v_r = g_r + e_r, \quad c_r = \mathrm{compress}(v_r), \quad
              e_r \leftarrow v_r - c_r, \quad g = \sum_r c_r

    with the gradient :math:`g_r` of rank r's rows and its residual :math:`e_r`, zero at first. At
    any time, what the ranks have sent and what they still hold add up to all gradients so far; also
    when another number of ranks goes on from a checkpoint, which share out the residuals.
    Residuals belong to gradients, not to steps, so any optimizer will do; with plain SGD and a
    constant learning rate this is EF-SGD.

    Parameters
    ----------
    codec : TopK, Int8 or PowerSGD
        How to compress.
    error_feedback : bool
        Whether to keep the residual. Without it, Int8 rounds at random, which is right on average;
        the others lose what they do not send.

    Raises
    ------
    TypeError
        If the codec is something else.

    References
    ----------
    Seide et al. 2014 (error feedback); Karimireddy et al. 2019 (EF-SGD, and that it converges);
    Vogels, Karimireddy & Jaggi 2019, Algorithm 2.

    Examples
    --------
    >>> Compressed(TopK(0.01))
    Compressed(codec=TopK(fraction=0.01), error_feedback=True)
    """

    codec: TopK | Int8 | PowerSGD
    error_feedback: bool = True

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        if not isinstance(self.codec, TopK | Int8 | PowerSGD):
            raise TypeError(
                "Compressed: codec must be TopK(fraction), Int8() or PowerSGD(rank), got "
                f"{shown(self.codec)}."
            )
        check_flag(self.error_feedback, where="Compressed", name="error_feedback")

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> CompressedSession:
        """Begin, or go on with, a training on one rank."""
        return CompressedSession(comm, job, clock, self)


class CompressedSession(Replicated):
    """One rank's part of a training with :class:`Compressed`."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, strategy: Compressed) -> None:
        super().__init__(job)
        self._comm, self._clock, self._seed = comm, clock, job.seed
        self._feedback = strategy.error_feedback
        self._local = LocalGradient(job, clock, comm.size)
        self._gradient = np.empty_like(self._theta)
        self._exchange: GatherExchange | LowRankExchange
        if isinstance(strategy.codec, PowerSGD):
            self._exchange = LowRankExchange(comm, job, strategy.codec)
        else:
            self._exchange = GatherExchange(comm, strategy.codec)
        self._residual = np.zeros_like(self._theta)
        # Another number of ranks than before: the residuals are dealt out, and their sum stays.
        for rank, residual in enumerate(arrays_by_rank(job.extra, "residual")):
            if rank % comm.size == comm.rank:
                self._residual += residual

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Step by the sum of what the ranks' codecs let through."""
        loss = self._local(self._theta, rows, epoch, step, self._comm.rank, out=self._gradient)
        vector = self._gradient
        vector += self._residual
        self._clock.lap("compute")
        # With feedback the nearest value is best; without, the mean must be right.
        rng = None if self._feedback else self._noise(epoch, step)
        total, sent = self._exchange(vector, rng)
        self._clock.lap("communication")
        if self._feedback:
            np.subtract(vector, sent, out=self._residual)
        self._descend(total)
        self._clock.lap("compute")
        return loss

    def extra(self) -> dict[str, Array]:
        """Return the residual of each rank, and what the codec remembers."""
        if not self._feedback:
            return self._exchange.extra()
        residuals = gather_by_rank(self._comm, "residual", self._residual)
        return residuals | self._exchange.extra()

    def _noise(self, epoch: int, step: int) -> np.random.Generator:
        # Each rank rounds with numbers of its own. The 2 keeps them apart from dropout's.
        return np.random.default_rng([self._seed, epoch, step, self._comm.rank, 2])


class GatherExchange:
    """Every rank sends its message to all, and adds the decoded messages of all, in rank order.

    Messages of this kind can not be added on the way: ranks choose other positions, or steps.
    """

    def __init__(self, comm: Comm, codec: TopK | Int8) -> None:
        self._comm, self._codec = comm, codec

    def __call__(self, vector: Array, rng: np.random.Generator | None) -> tuple[Array, Array]:
        """Return the sum over all ranks, the same bits on each, and this rank's part of it."""
        n = len(vector)
        columns = [all_gather(self._comm, array) for array in self._codec.encode(vector, rng)]
        decoded = [self._codec.decode(message, n) for message in zip(*columns, strict=True)]
        total = decoded[0].copy()
        for other in decoded[1:]:
            total += other
        return total, decoded[self._comm.rank]

    def extra(self) -> dict[str, Array]:
        """Return nothing: these codecs remember nothing."""
        return {}


class LowRankExchange:
    """Two all-reduces per step: of the P with all that is no matrix, and of the Q."""

    def __init__(self, comm: Comm, job: Job, codec: PowerSGD) -> None:
        self._comm, self._net = comm, job.net
        if "q" in job.extra:
            self._qs = _cut(job.extra["q"], codec.shapes(job.net))
        else:
            self._qs = codec.start(job.net, job.theta.dtype, job.seed)

    def __call__(self, vector: Array, rng: np.random.Generator | None) -> tuple[Array, Array]:
        """Return the sum over all ranks, the same bits on each, and this rank's part of it."""
        matrices, others = self._arrays(vector)
        found = power_step(matrices, others, self._qs, self._add)
        self._qs = found.qs
        total, sent = np.empty_like(vector), vector.copy()  # what is no matrix is sent as it is
        for array, approximation in zip(self._arrays(sent)[0], found.sent, strict=True):
            array[...] = approximation
        for arrays, sums in zip(self._arrays(total), (found.total, found.vectors), strict=True):
            for array, added in zip(arrays, sums, strict=True):
                array[...] = added
        return total, sent

    def extra(self) -> dict[str, Array]:
        """Return all Q, one after the other: the same on every rank."""
        return {"q": np.concatenate([q.ravel() for q in self._qs])} if self._qs else {}

    def _arrays(self, vector: Array) -> tuple[list[Array], list[Array]]:
        """Show a vector of the network's size as matrices, and as the rest."""
        arrays = [a for params in self._net.unpack(vector) for a in params.values()]
        return [a for a in arrays if a.ndim == 2], [a for a in arrays if a.ndim != 2]

    def _add(self, arrays: list[Array]) -> list[Array]:
        """Return the sums over all ranks: all arrays in one message."""
        if not arrays:
            return []
        flat = np.concatenate([a.ravel() for a in arrays])
        return _cut(all_reduce(self._comm, flat), [a.shape for a in arrays])


def _cut(flat: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Show a flat array as arrays of these shapes, one after the other."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(flat, ends), shapes, strict=True)]
