"""Failures and restarts: all ranks start again from the last checkpoint, within one budget.

Never one rank alone: its peers hold sums that it has not seen. The driver is the only one to
decide, and what it starts again is simply the training, from another place.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from course_lib.arrays import check_integer
from course_lib.checkpoint import (
    Checkpoint,
    CheckpointError,
    StrPath,
    checkpoint_files,
    latest_valid,
    load,
)
from course_lib.parallel.errors import (
    CommTimeout,
    MoreWorkers,
    ParallelError,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.strategies import Job
from course_lib.parallel.strategies.job import Saving
from course_lib.parallel.training.events import Listener
from course_lib.parallel.training.recovery_point import resume
from course_lib.parallel.training.result import RankResult


def saving(checkpoint: StrPath | None, every: int | None, keep: int) -> Saving | None:
    """Return where and how often to save, or None; check what the user passed.

    Raises
    ------
    TypeError, ValueError
        If `every` or `keep` is not a positive integer, or `every` comes without a directory.
    """
    if every is not None:
        check_integer(every, where="train", name="every", at_least=1)
    check_integer(keep, where="train", name="keep", at_least=1)
    if checkpoint is None:
        if every is not None:
            raise ValueError("train: every= says when to save, and checkpoint= must say where.")
        return None
    # Workers may have another working directory than the driver.
    return Saving(str(Path(checkpoint).absolute()), every, keep)


def first_job(job: Job, source: StrPath) -> Job:
    """Return the job to begin with: fresh, or from a checkpoint.

    Parameters
    ----------
    job : Job
        As at its beginning.
    source : {"auto", "never"} or path
        ``train``'s argument `resume`.

    Raises
    ------
    CheckpointMismatch
        If the checkpoint belongs to another training.
    CheckpointError
        If there is none at the path given, or none of it can be trusted.
    ValueError
        If nothing must be resumed, but the directory holds checkpoints.
    """
    if source == "auto":
        return last_job(job)
    if source == "never":
        if job.saving is not None and checkpoint_files(Path(job.saving.directory)):
            raise ValueError(
                f"train: resume='never', but {job.saving.directory} holds checkpoints, which a "
                "restart could not tell from new ones; delete them, or give another directory."
            )
        return job
    point = latest_valid(source) if Path(source).is_dir() else load(source)
    if point is None:
        raise CheckpointError(f"train: resume={os.fspath(source)!r} holds no valid checkpoint.")
    return resume(job, point, os.fspath(source))


def last_job(job: Job) -> Job:
    """Return the job that goes on from the newest valid checkpoint of its own, if there is one."""
    if job.saving is None:
        return job
    point: Checkpoint | None = latest_valid(job.saving.directory)
    return job if point is None else resume(job, point, job.saving.directory)


def run_with_restarts(
    attempt: Callable[[Job], Sequence[RankResult]],
    fresh: Job,
    begin: Job,
    *,
    max_restarts: int,
    listener: Listener,
    repair: Callable[[ParallelError], None] | None = None,
) -> tuple[Sequence[RankResult], int]:
    """Run a job; when a worker is lost or silent, again from the last checkpoint.

    Without checkpoints nothing is run again: the work of hours should not be repeated unasked.

    Parameters
    ----------
    attempt : callable
        Runs a job on all ranks.
    fresh, begin : Job
        The job as at its very beginning, and where to begin now.
    max_restarts : int
        How many times, over the whole training.
    listener : Listener
        Is told.
    repair : callable, optional
        Called with a failure before the next attempt.

    Returns
    -------
    ranks : sequence of RankResult
    restarts : int

    Raises
    ------
    ParallelError
        The last failure, once the budget is spent, with the first as its cause.
    """
    first: ParallelError | None = None
    restarts, job = 0, begin
    while True:
        listener.resume(job.progress.epoch)
        try:
            return attempt(job), restarts
        except MoreWorkers:
            job = _next_job(fresh, listener.saved)
            taken = job.progress.taken
            listener.tell("restart", f"restart with more workers, from step {taken}", taken)
            continue
        except (WorkerLost, CommTimeout, WorkersBusy) as error:
            if isinstance(error, WorkersBusy) and job is begin:
                raise  # nothing was lost: the workers were never ours
            if fresh.saving is None:
                error.add_note("With checkpoint=directory the training would have gone on.")
                raise
            listener.tell("worker_lost", str(error), error.step)
            if restarts == max_restarts:
                error.add_note(f"The budget of {max_restarts} restarts is spent.")
                if first is None:
                    raise
                error.add_note(f"The first failure was: {first}")
                raise error from first
            first, failed = first or error, error
        restarts += 1
        if repair is not None:
            repair(failed)
        job = _next_job(fresh, listener.saved)
        taken = job.progress.taken
        listener.tell("restart", f"restart {restarts} of {max_restarts}, from step {taken}", taken)


def _next_job(fresh: Job, saved: int | None) -> Job:
    assert fresh.saving is not None
    job = last_job(fresh)
    if saved is not None and job.progress.taken == 0:
        raise CheckpointError(
            f"rank 0 wrote a checkpoint after step {saved}, but the driver finds none in "
            f"{fresh.saving.directory}; both must see the same directory."
        )
    return job
