"""Virtual shards: the batch is cut and summed the same way, whoever computes which piece.

A sum of floating-point numbers depends, in its last bits, on its order. So the cut must not follow
the number of ranks: the batch is cut in V fixed pieces, and their gradients are added by a binary
tree over the pieces, ((g0 + g1) + (g2 + g3)) + .... Ranks own contiguous runs of pieces; whether
one rank computes all of them or each rank one, the same numbers are added in the same order, and
the parameters are the same to the bit.

Chapter: data parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.arrays import Array, check_integer
from course_lib.layers import noise
from course_lib.network import Network
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import shard
from course_lib.parallel.collectives.aligned_tree import AlignedTree
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job
from course_lib.parallel.strategies.local_gradient import gradient_of
from course_lib.parallel.strategies.sessions import Replicated


@dataclass(frozen=True)
class VirtualShards:
    """Synchronous steps whose bits do not depend on the number of ranks.

    Parameters
    ----------
    shards : int
        In how many pieces each batch is cut: a power of two, at least the number of ranks. The
        pieces are computed one after the other, so small ones cost speed.

    Raises
    ------
    ValueError
        If it is not a power of two.

    Examples
    --------
    >>> VirtualShards(8)
    VirtualShards(shards=8)

    Notes
    -----
    The same bits need the same machine code too: the same NumPy and BLAS, on the same kind of
    processor, with the same number of threads.
    """

    shards: int = 8

    def __post_init__(self) -> None:
        count = check_integer(self.shards, where="VirtualShards", name="shards", at_least=1)
        if count & (count - 1):
            more = 1 << count.bit_length()
            raise ValueError(
                f"virtual_shards must be a power of two, so that their sum is a whole binary "
                f"tree; got {count}. Use {more // 2} or {more}."
            )

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """See :class:`~course_lib.parallel.strategies.job.Checks`."""
        if workers[1] > self.shards:
            raise ValueError(
                f"train: {workers[1]} workers cannot share virtual_shards={self.shards}: "
                "some would have none; use fewer workers or more shards."
            )

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> VirtualSession:
        """Begin a training on one rank, see :class:`~course_lib.parallel.Strategy`."""
        return VirtualSession(comm, job, clock, self.shards)


class VirtualSession(Replicated):
    """One rank's part of a training with :class:`VirtualShards`.

    Parameters
    ----------
    comm, job, clock
        See :class:`~course_lib.parallel.Strategy`.
    shards : int
        In how many pieces each batch is cut.
    """

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, shards: int) -> None:
        self._comm, self._job, self._clock, self._shards = comm, job, clock, shards
        super().__init__(job)
        self._model, self._options = job.model(-(-min(job.batch_size, len(job.x)) // shards))
        # One number more than parameters: the loss travels with its gradient.
        self._tree = AlignedTree(comm, shards, len(self._theta) + 1, self._theta.dtype, clock)

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """See :meth:`Session.step <course_lib.parallel.strategies.job.Session.step>`."""
        job = self._job

        def leaf(index: int, out: Array) -> None:
            rng = noise(job.seed, epoch, step) if job.net.has_noise else None
            part = shard(len(rows), index, self._shards)
            out[-1] = gradient_of(
                self._model, self._theta, job.x, job.y, rows, part,
                out=out[:-1], rng=rng, clock=self._clock, **self._options,
            )  # fmt: skip

        total = self._tree.sum(leaf)
        self._theta, self._state = job.optimizer.step(
            self._theta, total[:-1], self._state, out=self._theta
        )
        self._clock.lap("compute")
        # All know the whole loss: one rank returns it, and the sum over ranks adds only zeros.
        return float(total[-1]) if self._comm.rank == 0 else 0.0
