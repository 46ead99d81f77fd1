"""Pipeline parallelism: every rank holds some of the layers, and micro-batches flow through them.

A network too large for one rank is cut in stages, one per rank. To keep all of them busy, the
batch is cut in micro-batches: while one stage works on the second, the next has the first.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.arrays import check_integer
from course_lib.network import Network
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Session, Strategy
from course_lib.parallel.strategies.mesh import Mesh


@dataclass(frozen=True)
class Pipeline(Strategy):
    r"""A pipeline of stages, one per rank, flushed after each batch: equal to the serial run.

    .. math:: \text{share of time idle} = \frac{p - 1}{m + p - 1}

    with p stages of equal cost and m micro-batches. Gradients are added in the order of the
    micro-batches, so that both schedules end with the same bits.

    Parameters
    ----------
    stages : int
        p, the number of ranks.
    micro_batches : int
        m, the pieces that a batch is cut into; they may differ by a row.
    schedule : {"gpipe", "1f1b"}
        GPipe runs all forward passes, then all backward passes, and keeps the activations of m
        micro-batches; 1F1B of at most p - s in stage s.
    bounds : tuple of int, optional
        Before which layers to cut; by default so that the largest stage is as small as can be,
        :func:`~course_lib.parallel.strategies.balanced_bounds`.

    Raises
    ------
    ValueError
        If a number is below 1, the schedule is not known, or the number of bounds does not fit.

    References
    ----------
    Huang et al. 2019 (GPipe); Narayanan et al. 2019 (PipeDream) and 2021, section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import SGD, fit, mlp
    >>> from course_lib.parallel import train
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> net = mlp([1, 4, 1], hidden="tanh", loss="mse")
    >>> theta = net.init(np.random.default_rng(0))
    >>> options = {"epochs": 3, "batch_size": 5, "seed": 0}
    >>> serial = fit(net, theta, SGD(0.1), x, x**2, **options)
    >>> pipeline = train(
    ...     net,
    ...     (x, x**2),
    ...     theta=theta,
    ...     optimizer=SGD(0.1),
    ...     strategy=Pipeline(stages=2, micro_batches=5),
    ...     workers=2,
    ...     comm="inprocess",
    ...     **options,
    ... )
    >>> bool(np.allclose(pipeline.theta, serial.theta))
    True
    """

    stages: int
    micro_batches: int
    schedule: str = "gpipe"
    bounds: tuple[int, ...] | None = None

    clips = True
    weighs = True

    def __post_init__(self) -> None:
        for name in ("stages", "micro_batches"):
            check_integer(getattr(self, name), where="Pipeline", name=name, at_least=1)
        self.mesh  # noqa: B018  # raises what is wrong with the rest

    @property
    def mesh(self) -> Mesh:
        """The same as a mesh with one axis."""
        return Mesh(
            pipeline=self.stages,
            micro_batches=self.micro_batches,
            schedule=self.schedule,
            bounds=self.bounds,
        )

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """Raise ValueError if the ranks, the network or the backend do not fit."""
        self.mesh.check(net, workers=workers, backend=backend)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> Session:
        """Begin, or go on with, a training on one rank."""
        return self.mesh.start(comm, job, clock)
