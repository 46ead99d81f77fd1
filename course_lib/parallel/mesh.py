"""A mesh of ranks: data, pipeline and tensor parallelism at once, one per axis.

Every rank has three coordinates. Along the tensor axis, ranks share each layer; along the pipeline
axis, the layers; along the data axis, the rows. With one axis longer than 1 it is that kind alone.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.network import Network
from course_lib.parallel.actions import Action, Schedule
from course_lib.parallel.algorithms import ALL_REDUCE
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm
from course_lib.parallel.pipeline_cut import balanced_bounds
from course_lib.parallel.schedules import gpipe, one_f_one_b
from course_lib.parallel.sub_comm import SubComm
from course_lib.registry import lookup

if TYPE_CHECKING:
    from course_lib.parallel.replica import Job
    from course_lib.parallel.strategy import Session

SCHEDULES: dict[str, Callable[[int, int], Schedule]] = {"gpipe": gpipe, "1f1b": one_f_one_b}


def grid(data: int, pipeline: int, tensor: int) -> Array:
    """Return which rank stands where, shape (data, pipeline, tensor).

    Ranks that differ in the last coordinate only are neighbours, likely on one host: they talk
    most, twice per pair of layers and micro-batch.

    Examples
    --------
    >>> grid(2, 1, 3)
    array([[[0, 1, 2]],
           [[3, 4, 5]]])

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    return np.arange(data * pipeline * tensor).reshape(data, pipeline, tensor)


@dataclass(frozen=True)
class Mesh:
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
        :func:`~course_lib.parallel.pipeline_cut.balanced_bounds`.
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

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """

    data: int = 1
    pipeline: int = 1
    tensor: int = 1
    micro_batches: int = 1
    schedule: str = "1f1b"
    bounds: tuple[int, ...] | None = None
    algorithm: str = "auto"

    def __post_init__(self) -> None:
        for name in ("data", "pipeline", "tensor", "micro_batches"):
            check_integer(getattr(self, name), where="Mesh", name=name, at_least=1)
        lookup("pipeline schedule", self.schedule, SCHEDULES)
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)
        if self.bounds is not None and len(self.bounds) != self.pipeline - 1:
            raise ValueError(
                f"bounds: {self.pipeline} stages need {self.pipeline - 1} cuts, got "
                f"{list(self.bounds)}."
            )

    @property
    def size(self) -> int:
        """The number of ranks."""
        return self.data * self.pipeline * self.tensor

    def cuts(self, net: Network) -> tuple[int, ...]:
        """Return the layers before which the network is cut in stages.

        Raises
        ------
        ValueError
            If the network has too few Dense layers.
        """
        if self.bounds is not None:
            return self.bounds
        return balanced_bounds(net, self.pipeline, together=1 if self.tensor == 1 else 2)

    def actions(self, stage: int, micro_batches: int) -> tuple[Action, ...]:
        """Return what a stage does in a step; without micro-batches, nothing."""
        if micro_batches == 0:
            return ()
        return _schedule(self.schedule, self.pipeline, micro_batches)[stage]

    def axes(self, comm: Comm) -> tuple[Comm, Comm, Comm, Comm]:
        """Return this rank's groups: along data, pipeline and tensor, and its whole replica.

        Raises
        ------
        ValueError
            If the number of ranks is not that of the mesh.
        """
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
        """See :class:`~course_lib.parallel.strategy.Checks`."""
        from course_lib.parallel.tensor_parallel_cut import tensor_indices

        if backend != "numpy":
            raise ValueError(
                "pipeline and tensor parallelism cut the network itself, which only "
                f"backend='numpy' does; got backend={backend!r}."
            )
        for size in workers:
            self._check_size(size)
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
        """Begin or resume a training on one rank."""
        from course_lib.parallel.mesh_session import MeshSession

        return MeshSession(self, comm, job, clock)


@cache
def _schedule(name: str, stages: int, micro_batches: int) -> Schedule:
    return SCHEDULES[name](stages, micro_batches)


def _group(comm: Comm, ranks: Array, name: str) -> Comm:
    # All ranks at once keep the channel's own fast paths.
    return comm if len(ranks) == comm.size else SubComm(comm, ranks.tolist(), name)
