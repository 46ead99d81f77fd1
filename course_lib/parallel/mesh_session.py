"""One rank's part of a training on a mesh: its slice of theta, and a step of the whole.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.arrays import Array
from course_lib.dropout import noise
from course_lib.network import Network
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_gather, all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.local_gradient import shard
from course_lib.parallel.noise import RowNoise
from course_lib.parallel.pipeline_cut import noise_per_row
from course_lib.parallel.pipeline_stage import MicroBatches, Stage
from course_lib.parallel.tensor_parallel_cut import tensor_chain, tensor_indices
from course_lib.parallel.tensor_parallel_layers import Operators

if TYPE_CHECKING:
    from course_lib.parallel.mesh import Mesh
    from course_lib.parallel.replica import Job


class MeshSession:
    """What a rank holds: the parameters, gradient and optimizer state of its slice only.

    (The job, from which it starts, everybody has in full.)

    Parameters
    ----------
    mesh : Mesh
        The grid.
    comm : Comm
        All ranks.
    job : Job
        The training.
    clock : Stopwatch
        Where to book compute and communication time.

    Raises
    ------
    ValueError
        If the ranks, the network or the backend do not fit the mesh.

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """

    def __init__(self, mesh: Mesh, comm: Comm, job: Job, clock: Stopwatch) -> None:
        mesh.check(job.net, workers=(comm.size, comm.size), backend=job.backend)
        self._mesh, self._job, self._clock = mesh, job, clock
        self._data, self._pipeline, self._tensor, self._replica = mesh.axes(comm)
        self._bounds = mesh.cuts(job.net)
        stage = job.net.split(self._bounds)[self._pipeline.rank]
        self._indices = indices_of(job.net, self._bounds, self._replica.rank, mesh.tensor)
        self.theta = job.theta[self._indices]
        if job.state is None:
            self.state = job.optimizer.init(self.theta)
        else:
            self.state = {name: self._mine(value) for name, value in job.state.items()}
        self._gradient = self._data.buffer(len(self.theta), self.theta.dtype)
        # The generator jumps over what the stages before this one draw.
        first = [0, *self._bounds][self._pipeline.rank]
        self._skip = noise_per_row(job.net, job.x.shape[1], first)
        largest = shard(min(job.batch_size, len(job.x)), 0, mesh.data).stop
        self.stage = Stage(
            tensor_chain(stage, Operators(self._tensor, mesh.algorithm, clock)),
            job.net.loss,
            self._pipeline,
            theta=self.theta,
            gradient=self._gradient,
            rows=shard(largest, 0, min(largest, mesh.micro_batches)).stop,
            clock=clock,
        )

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Take one step on the global batch `rows`; return this rank's part of the mean loss.

        The loss is known in the last stage; there, the first rank of the tensor axis returns its
        replica's part, all others 0.
        """
        job, total = self._job, len(rows)
        mine = shard(total, self._data.rank, self._data.size)
        n = mine.stop - mine.start
        count = min(n, self._mesh.micro_batches)
        pieces = [_within(mine, shard(n, i, count)) for i in range(count)]
        batch = MicroBatches(
            x=lambda i: job.x[rows[pieces[i]]].astype(self.theta.dtype, copy=False),
            y=lambda i: job.y[rows[pieces[i]]],
            noise=partial(self._noise, epoch, step, pieces, total),
            denominator=total,
        )
        actions = self._mesh.actions(self._pipeline.rank, count)
        loss = self.stage.run(actions, batch)
        self._clock.lap("compute")
        all_reduce(self._data, self._gradient, self._mesh.algorithm)
        self._clock.lap("communication")
        optimizer = job.optimizer
        _, self.state = optimizer.step(self.theta, self._gradient, self.state, out=self.theta)
        self._clock.lap("compute")
        return loss if self._tensor.rank == 0 else 0.0

    def gather(self) -> tuple[Array, State]:
        """Return the whole theta and state, in the serial layout; every replica puts its own."""
        vectors = {k: v for k, v in self.state.items() if isinstance(v, np.ndarray)}
        parts = all_gather(self._replica, np.stack([self.theta, *vectors.values()]))
        whole = np.empty((len(parts[0]), self._job.net.n_params), self.theta.dtype)
        for rank, part in enumerate(parts):
            at = indices_of(self._job.net, self._bounds, rank, self._mesh.tensor)
            whole[:, at] = part
        self._clock.lap("communication")
        return whole[0], {**self.state, **dict(zip(vectors, whole[1:], strict=True))}

    def extra(self) -> dict[str, Array]:
        """Return nothing: theta and the optimizer's state are all there is to remember."""
        return {}

    def _mine(self, value: Any) -> Any:
        return value[self._indices] if isinstance(value, np.ndarray) else value

    def _noise(
        self, epoch: int, step: int, pieces: list[slice], total: int, micro: int
    ) -> RowNoise | None:
        if not self._job.net.has_noise:
            return None
        rng = noise(self._job.seed, epoch, step)
        rng.bit_generator.advance(total * self._skip)  # type: ignore[attr-defined]
        return RowNoise(rng, pieces[micro], total)


def indices_of(net: Network, bounds: tuple[int, ...], rank: int, tensor: int) -> Array:
    """Return where in theta the slice of a rank of the replica lies, stage by stage.

    Examples
    --------
    >>> from course_lib.network import mlp
    >>> indices_of(mlp([1, 2, 2]), (2,), rank=1, tensor=1)  # W 0 1, b 2 3; W 4 5 6 7, b 8 9
    array([4, 5, 6, 7, 8, 9])
    """
    stage, position = divmod(rank, tensor)
    stages = net.split(bounds)
    start = sum(part.n_params for part in stages[:stage])
    return start + tensor_indices(stages[stage], position, tensor)


def _within(outer: slice, inner: slice) -> slice:
    return slice(outer.start + inner.start, outer.start + inner.stop)
