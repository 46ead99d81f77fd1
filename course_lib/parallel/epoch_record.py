"""The end of an epoch: one row of the history, the same on every rank.

Each rank evaluates some of the validation rows, and sums are added over the ranks.

Chapter: data parallelism.
"""

from __future__ import annotations

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.aligned_tree import tree_sum
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.job import Job
from course_lib.parallel.local_gradient import shard
from course_lib.training import evaluate


def epoch_row(
    comm: Comm, job: Job, theta: Array, total: float, clock: Stopwatch
) -> dict[str, float]:
    """Return the numbers of the epoch that has ended; collective.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    job : Job
        The training.
    theta : array, shape (n_params,)
        The parameters after the epoch.
    total : float
        This rank's part of the training loss, summed over rows.
    clock : Stopwatch
        Where to book evaluation and communication time.
    """
    names = ["loss"]
    if job.validation is not None:
        x, y = job.validation
        # All ranks need the same names, also a rank without rows.
        names += [f"val_{name}" for name in evaluate(job.net, theta, x[:1], y[:1])]
    # One line of numbers for each piece of the validation data. Virtual shards are pieces that do
    # not depend on the number of ranks: each line is filled by one rank, to which the others add
    # only zeros, and the lines are summed by all alike.
    pieces = job.virtual_shards or comm.size
    table = np.zeros((pieces if job.virtual_shards else 1, len(names)))
    table[0, 0] = total / len(job.x)
    for index in range(pieces)[shard(pieces, comm.rank, comm.size)]:
        if job.validation is not None:
            line = table[index if job.virtual_shards else 0, 1:]
            line[:] = _piece(job, theta, shard(len(x), index, pieces))
    clock.lap("evaluation")
    all_reduce(comm, table)
    clock.lap("communication")
    return dict(zip(names, tree_sum(list(table)).tolist(), strict=True))


def _piece(job: Job, theta: Array, part: slice) -> list[float] | float:
    """Return what some rows contribute to the means over the validation data."""
    assert job.validation is not None
    x, y = job.validation
    rows = part.stop - part.start
    if rows == 0:
        return 0.0
    return [v * rows / len(x) for v in evaluate(job.net, theta, x[part], y[part]).values()]
