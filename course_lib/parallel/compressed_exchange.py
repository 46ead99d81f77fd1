"""How compressed gradients are added: gathered and decoded, or reduced as they are.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.collectives import all_gather, all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.compression import Int8, TopK
from course_lib.parallel.compression_low_rank import PowerSGD, power_step

if TYPE_CHECKING:
    from course_lib.parallel.job import Job


class GatherExchange:
    """Every rank sends its message to all, and adds the decoded messages of all, in rank order.

    Messages of this kind can not be added on the way: ranks choose other positions, or steps.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    codec : TopK or Int8
        Encodes and decodes.
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
    """Two all-reduces per step: of the P with the biases, and of the Q.

    Parameters
    ----------
    comm, job
        See :class:`~course_lib.parallel.strategy.Strategy`.
    codec : PowerSGD
        Chooses the rank.
    """

    def __init__(self, comm: Comm, job: Job, codec: PowerSGD) -> None:
        self._comm, self._net = comm, job.net
        if "q" in job.extra:
            self._qs = _cut(job.extra["q"], codec.shapes(job.net))
        else:
            self._qs = codec.start(job.net, job.theta.dtype, job.seed)

    def __call__(self, vector: Array, rng: np.random.Generator | None) -> tuple[Array, Array]:
        """Return the sum over all ranks, the same bits on each, and this rank's part of it."""
        total, sent = np.empty_like(vector), vector.copy()  # biases are sent as they are
        matrices = [a for a in self._arrays(vector) if a.ndim == 2]
        vectors = [a for a in self._arrays(vector) if a.ndim == 1]
        found = power_step(matrices, vectors, self._qs, self._add)
        self._qs = found.qs
        sums = {2: iter(found.total), 1: iter(found.vectors)}
        for array in self._arrays(total):
            array[...] = next(sums[array.ndim])
        own = iter(found.sent)
        for array in self._arrays(sent):
            if array.ndim == 2:
                array[...] = next(own)
        return total, sent

    def extra(self) -> dict[str, Array]:
        """Return all Q, one after the other: the same on every rank."""
        return {"q": np.concatenate([q.ravel() for q in self._qs])}

    def _arrays(self, vector: Array) -> list[Array]:
        return [a for params in self._net.unpack(vector) for a in params.values()]

    def _add(self, arrays: list[Array]) -> list[Array]:
        """Return the sums over all ranks: all arrays in one message."""
        flat = np.concatenate([a.ravel() for a in arrays])
        return _cut(all_reduce(self._comm, flat), [a.shape for a in arrays])


def _cut(flat: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Show a flat array as arrays of these shapes, one after the other."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(flat, ends), shapes, strict=True)]
