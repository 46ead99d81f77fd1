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
from course_lib.network import Network
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import AlignedTree
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Replicated, Strategy
from course_lib.parallel.strategies.local_gradient import LocalGradient


@dataclass(frozen=True)
class VirtualShards(Strategy):
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
    processor, with the same number of threads: with two, BLAS cuts a large product in other places
    than with one. Workers that Dask's nannies start, those of a private cluster too, have one
    thread; :func:`course_lib.training.fit` and ``comm="inprocess"`` have one per core, unless
    ``OMP_NUM_THREADS=1`` was set before Python started.
    """

    shards: int = 8

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        count = check_integer(self.shards, where="VirtualShards", name="shards", at_least=1)
        if count & (count - 1):
            more = 1 << count.bit_length()
            raise ValueError(
                f"virtual_shards must be a power of two, so that their sum is a whole binary "
                f"tree; got {count}. Use {more // 2} or {more}."
            )

    @property
    def pieces(self) -> int:
        """The shards: sums over validation rows are cut like those over a batch."""
        return self.shards

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """Raise ValueError if there are more workers than shards."""
        if workers[1] > self.shards:
            raise ValueError(
                f"train: {workers[1]} workers cannot share virtual_shards={self.shards}: "
                "some would have none; use fewer workers or more shards."
            )

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> VirtualSession:
        """Begin, or go on with, a training on one rank."""
        return VirtualSession(comm, job, clock, self.shards)


class VirtualSession(Replicated):
    """One rank's part of a training with :class:`VirtualShards`."""

    def __init__(self, comm: Comm, job: Job, clock: Stopwatch, shards: int) -> None:
        super().__init__(job)
        self._comm, self._clock = comm, clock
        self._local = LocalGradient(job, clock, shards)
        # One number more than parameters: the loss travels with its gradient.
        self._tree = AlignedTree(comm, shards, len(self._theta) + 1, self._theta.dtype, clock)

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Add the gradients of all pieces along the tree, then step."""

        def leaf(piece: int, out: Array) -> None:
            out[-1] = self._local(self._theta, rows, epoch, step, piece, out=out[:-1])

        total = self._tree.sum(leaf)
        self._descend(total[:-1])
        self._clock.lap("compute")
        # All know the whole loss: one rank returns it, and the sum over ranks adds only zeros.
        return float(total[-1]) if self._comm.rank == 0 else 0.0
