"""What every rank executes: the epochs of a training, as in the serial run, on its own replica.

Whatever decides how the training goes on (the history, stopping early) is reduced first, so that
every rank decides the same.

Chapter: data parallelism.
"""

from __future__ import annotations

import hashlib

import numpy as np

from course_lib.arrays import Array
from course_lib.data import batches
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_agree, all_reduce
from course_lib.parallel.comm import Comm
from course_lib.parallel.data_parallel import shard
from course_lib.parallel.job import Job
from course_lib.parallel.result import RankResult
from course_lib.training import History, check_finite, evaluate

__all__ = ["Job", "train_replica"]


def train_replica(comm: Comm, job: Job) -> RankResult:
    """Run all epochs on one rank.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    job : Job
        The same on every rank; not changed.
    """
    clock, history = Stopwatch(), History()
    session = job.strategy.start(comm, job, clock)
    clock.lap("setup")
    comm.step = -1
    for epoch in range(job.epochs):
        total = 0.0
        order = batches(len(job.x), job.batch_size, seed=job.seed, epoch=epoch)
        for step, rows in enumerate(order):
            comm.step += 1
            with np.errstate(over="ignore", invalid="ignore"):  # check_finite speaks more clearly
                loss = session.step(rows, epoch, step)
            check_finite(loss, epoch, step)
            total += loss * len(rows)
        theta, state = session.gather()
        clock.lap("communication")
        _record(comm, job, theta, total, history, clock)
        if job.report and comm.rank == 0:
            comm.report({"epoch": epoch, **{name: row[-1] for name, row in history.items()}})
        if job.stop is not None and all_agree(comm, job.stop(history)):
            break
        clock.lap("evaluation")
    clock.lap("evaluation")
    first = comm.rank == 0
    return RankResult(
        theta if first else theta[:0].copy(),
        state if first else {},
        history,
        hashlib.sha256(theta.tobytes()).hexdigest(),
        clock.seconds,
        comm.counters,
    )


def _record(
    comm: Comm, job: Job, theta: Array, total: float, history: History, clock: Stopwatch
) -> None:
    """Append one epoch to the history; each rank evaluates some rows of the validation data."""
    sums = {"loss": total / len(job.x)}
    if job.validation is not None:
        x, y = job.validation
        part = shard(len(x), comm.rank, comm.size)
        # All ranks need the same keys, also a rank without rows.
        names = evaluate(job.net, theta, x[:1], y[:1])
        found = evaluate(job.net, theta, x[part], y[part]) if part.stop > part.start else {}
        for name in names:
            sums[f"val_{name}"] = found.get(name, 0.0) * (part.stop - part.start) / len(x)
    clock.lap("evaluation")
    # float64 whatever the dtype of theta: a handful of numbers per epoch.
    values = all_reduce(comm, np.array(list(sums.values())))
    clock.lap("communication")
    for name, value in zip(sums, values.tolist(), strict=True):
        history.setdefault(name, []).append(value)
