"""Tensor parallelism: the ranks share every layer, each computes some of the hidden units.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.arrays import check_instance
from course_lib.network import Network
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import ALL_REDUCE
from course_lib.parallel.comm import Comm
from course_lib.parallel.strategies.job import Job, Session, Strategy
from course_lib.parallel.strategies.mesh import Mesh
from course_lib.parallel.strategies.tensor_layers import tensor_plan
from course_lib.registry import lookup


@dataclass(frozen=True)
class TensorParallel(Strategy):
    """Pairs of Dense layers shared by all ranks: equal to the serial run.

    The first layer of a pair is split by columns, the second by rows, see
    :mod:`~course_lib.parallel.strategies.tensor_layers`; a last Dense layer without a partner is
    computed by every rank in full. All ranks see all rows.

    Parameters
    ----------
    algorithm : {"auto", "ordered", "tree", ...}
        How to add, see :func:`~course_lib.parallel.collectives.all_reduce`.

    Raises
    ------
    ValueError
        If the algorithm is not known.

    References
    ----------
    Shoeybi et al. 2019 (Megatron-LM), section 3.

    Examples
    --------
    >>> TensorParallel()
    TensorParallel(algorithm='auto')
    """

    algorithm: str = "auto"

    elastic = True
    clips = True
    weighs = True

    def __post_init__(self) -> None:
        lookup("all_reduce algorithm", self.algorithm, ALL_REDUCE)

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """Raise ValueError if the ranks, the network or the backend do not fit."""
        for size in workers:
            Mesh(tensor=size).check(net, workers=(size, size), backend=backend)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> Session:
        """Begin, or go on with, a training on one rank."""
        return Mesh(tensor=comm.size, algorithm=self.algorithm).start(comm, job, clock)


def sums_per_step(net: Network) -> int:
    """Count the all-reduces of one step: one forward and one backward per pair of layers.

    The first pair needs none backward: nobody asks for the gradient of the data.

    Examples
    --------
    >>> from course_lib import mlp
    >>> [sums_per_step(mlp([4] * (layers + 1))) for layers in (1, 2, 3, 4)]
    [0, 1, 1, 3]
    """
    check_instance(net, Network, where="sums_per_step", name="net")
    pairs = tensor_plan(net).count("columns")
    return max(0, 2 * pairs - 1)
