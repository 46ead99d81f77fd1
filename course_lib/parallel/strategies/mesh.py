"""A mesh of ranks: data, pipeline and tensor parallelism at once, one per axis.

Every rank has three coordinates. Along the tensor axis, ranks share each layer; along the pipeline
axis, the layers; along the data axis, the rows. With one axis longer than 1 it is that kind alone.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.chain import check_bounds
from course_lib.clipping import clip_gradient, squares
from course_lib.layers import Dropout
from course_lib.network import Network
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import ALL_REDUCE, all_gather, all_reduce, shard
from course_lib.parallel.comm import Comm, SubComm
from course_lib.parallel.schedules import Action, Schedule, gpipe, one_f_one_b
from course_lib.parallel.strategies.job import Job, Session, Strategy
from course_lib.parallel.strategies.local_gradient import RowNoise
from course_lib.parallel.strategies.pipeline_stage import (
    MicroBatches,
    Stage,
    balanced_bounds,
    noise_per_row,
)
from course_lib.parallel.strategies.tensor_layers import Operators, tensor_chain, tensor_indices
from course_lib.registry import lookup

SCHEDULES: dict[str, Callable[[int, int], Schedule]] = {"gpipe": gpipe, "1f1b": one_f_one_b}


@dataclass(frozen=True)
class Mesh(Strategy):
    """Training on a grid of ``data * pipeline * tensor`` ranks, equal to the serial run.

    Parameters
    ----------
    data : int
        Replicas, each with its rows of every batch; their gradients are added.
    pipeline : int
        Stages, each with some of the layers.
    tensor : int
        Ranks that share each pair of Dense layers of a stage.
    micro_batches : int
        How many pieces flow through the pipeline per step and replica. A batch with fewer rows has
        fewer pieces.
    schedule : {"1f1b", "gpipe"}
        In which order a stage works on them: the same bits, but 1F1B keeps fewer activations.
    bounds : tuple of int, optional
        Before which layers to cut the network in stages; by default
        :func:`~course_lib.parallel.strategies.balanced_bounds`.
    algorithm : {"auto", "ordered", "tree", ...}
        How to add, see :func:`~course_lib.parallel.collectives.all_reduce`.

    Raises
    ------
    ValueError
        If a number is below 1, a name is not known, or the number of bounds does not fit.

    References
    ----------
    Narayanan et al. 2021, sections 2 and 3.

    Examples
    --------
    >>> mesh = Mesh(data=2, pipeline=2, tensor=2, micro_batches=4)
    >>> mesh.size
    8
    """

    data: int = 1
    pipeline: int = 1
    tensor: int = 1
    micro_batches: int = 1
    schedule: str = "1f1b"
    bounds: tuple[int, ...] | None = None
    algorithm: str = "auto"

    clips = True
    weighs = True

    def __post_init__(self) -> None:
        for name in ("data", "pipeline", "tensor", "micro_batches"):
            count = check_integer(getattr(self, name), where="Mesh", name=name, at_least=1)
            object.__setattr__(self, name, count)
        lookup("pipeline schedule", self.schedule, SCHEDULES)
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)
        if self.bounds is not None:
            bounds = check_bounds(self.bounds, where="Mesh")
            if len(bounds) != self.pipeline - 1:
                raise ValueError(
                    f"bounds: {self.pipeline} stages need {self.pipeline - 1} cuts, got "
                    f"{list(bounds)}."
                )
            object.__setattr__(self, "bounds", bounds)

    @property
    def size(self) -> int:
        """The number of ranks."""
        return self.data * self.pipeline * self.tensor

    def cuts(self, net: Network) -> tuple[int, ...]:
        """Return the layers before which the network is cut in stages."""
        if self.bounds is not None:
            return self.bounds
        return balanced_bounds(net, self.pipeline, together=1 if self.tensor == 1 else 2)

    def actions(self, stage: int, micro_batches: int) -> tuple[Action, ...]:
        """Return what a stage does in a step; without micro-batches, nothing."""
        if micro_batches == 0:
            return ()
        return _schedule(self.schedule, self.pipeline, micro_batches)[stage]

    def axes(self, comm: Comm) -> tuple[Comm, Comm, Comm, Comm]:
        """Return this rank's groups: along data, pipeline and tensor, and its whole replica."""
        self._check_size(comm.size)
        ranks = grid(self.data, self.pipeline, self.tensor)
        d, s, t = np.argwhere(ranks == comm.rank)[0]
        return (
            _group(comm, ranks[:, s, t], "data"),
            _group(comm, ranks[d, :, t], "pipeline"),
            _group(comm, ranks[d, s, :], "tensor"),
            _group(comm, ranks[d].ravel(), "replica"),
        )

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """Raise ValueError if the ranks, the network or the backend do not fit the mesh."""
        if backend != "numpy":
            raise ValueError(
                "pipeline and tensor parallelism cut the network itself, which only "
                f"backend='numpy' does; got backend={backend!r}."
            )
        for size in workers:
            self._check_size(size)
        for i, layer in enumerate(net.layers):
            if self.pipeline > 1 and isinstance(layer, Dropout) and type(layer) is not Dropout:
                raise ValueError(
                    f"pipeline: layer {i}, {layer!r}, derives from Dropout, and nobody knows how "
                    "many random numbers it draws, which the other stages have to pass over. Use "
                    "another strategy for this network, such as 'sync'."
                )
        for stage in net.split(self.cuts(net)):
            tensor_indices(stage, 0, self.tensor)

    def _check_size(self, size: int) -> None:
        if size != self.size:
            raise ValueError(
                f"a mesh of {self.data} x {self.pipeline} x {self.tensor} (data x pipeline x "
                f"tensor) needs {self.size} ranks, got {size}; pass workers={self.size}, or "
                "change the mesh."
            )

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> Session:
        """Begin, or go on with, a training on one rank."""
        return MeshSession(self, comm, job, clock)


def grid(data: int, pipeline: int, tensor: int) -> Array:
    """Return which rank stands where, shape (data, pipeline, tensor).

    Ranks that differ in the last coordinate only are neighbours, likely on one host: they talk
    most, twice per pair of layers and micro-batch.

    Examples
    --------
    >>> grid(2, 1, 3)
    array([[[0, 1, 2]],
           [[3, 4, 5]]])
    """
    for name, count in (("data", data), ("pipeline", pipeline), ("tensor", tensor)):
        check_integer(count, where="grid", name=name, at_least=1)
    return np.arange(data * pipeline * tensor).reshape(data, pipeline, tensor)


@cache
def _schedule(name: str, stages: int, micro_batches: int) -> Schedule:
    return SCHEDULES[name](stages, micro_batches)


def _group(comm: Comm, ranks: Array, name: str) -> Comm:
    # All ranks at once keep the channel's own fast paths.
    return comm if len(ranks) == comm.size else SubComm(comm, ranks.tolist(), name)


class MeshSession(Session):
    """What a rank holds: the parameters, gradient and optimizer state of its slice only."""

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
        """Take one step; the loss is returned by the last stage's first rank of the tensor axis."""
        job, total = self._job, len(rows)
        mine = shard(total, self._data.rank, self._data.size)
        n = mine.stop - mine.start
        count = min(n, self._mesh.micro_batches)
        pieces = [_within(mine, shard(n, i, count)) for i in range(count)]
        batch = MicroBatches(
            x=lambda i: job.x[rows[pieces[i]]].astype(self.theta.dtype, copy=False),
            y=lambda i: job.y[rows[pieces[i]]],
            noise=partial(self._noise, epoch, step, pieces, total),
            weights=lambda i: job.weights_of(rows[pieces[i]]),
            denominator=job.weight(rows) or 1.0,
        )
        actions = self._mesh.actions(self._pipeline.rank, count)
        loss = self.stage.run(actions, batch)
        self._clock.lap("compute")
        all_reduce(self._data, self._gradient, self._mesh.algorithm)
        self._clock.lap("communication")
        if job.clip is not None:
            digits = squares(self._gradient[self._once])
            self._clock.lap("compute")
            all_reduce(self._replica, digits)
            self._clock.lap("communication")
            clip_gradient(self._gradient, job.clip, digits)
        optimizer = job.optimizer
        _, self.state = optimizer.step(self.theta, self._gradient, self.state, out=self.theta)
        self._clock.lap("compute")
        return loss if self._tensor.rank == 0 else 0.0

    @cached_property
    def _once(self) -> Array:
        """Which parameters this rank counts in the norm: those that no lower rank has as well."""
        once = np.ones(len(self._indices), bool)
        for rank in range(self._replica.rank):
            lower = indices_of(self._job.net, self._bounds, rank, self._mesh.tensor)
            once &= ~np.isin(self._indices, lower)
        return once

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

    def _mine(self, value: Any) -> Any:
        return value[self._indices] if isinstance(value, np.ndarray) else value

    def _noise(
        self, epoch: int, step: int, pieces: list[slice], total: int, micro: int
    ) -> RowNoise | None:
        rng = self._job.noise(epoch, step)
        return None if rng is None else RowNoise(rng, pieces[micro], total, skip=self._skip)


def indices_of(net: Network, bounds: tuple[int, ...], rank: int, tensor: int) -> Array:
    """Return where in theta the slice of a rank of the replica lies, stage by stage.

    Examples
    --------
    >>> from course_lib import mlp
    >>> indices_of(mlp([1, 2, 2]), (2,), rank=1, tensor=1)  # W 0 1, b 2 3; W 4 5 6 7, b 8 9
    array([4, 5, 6, 7, 8, 9])
    """
    stage, position = divmod(rank, tensor)
    stages = net.split(bounds)
    start = sum(part.n_params for part in stages[:stage])
    return start + tensor_indices(stages[stage], position, tensor)


def _within(outer: slice, inner: slice) -> slice:
    return slice(outer.start + inner.start, outer.start + inner.stop)
