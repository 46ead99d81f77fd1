"""Where a training goes on: what a checkpoint of it holds, and which one is the next to begin with.

The order of rows and dropout's noise are functions of (seed, epoch, step), so besides theta, the
optimizer's state and what the strategy remembers, the place in the training is enough, with the
history and the loss of the epoch under way.

Chapter: when workers die.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.checkpoint import (
    Checkpoint,
    CheckpointError,
    StrPath,
    checkpoint_files,
    join_state,
    latest_valid,
    load,
    save,
    split_state,
)
from course_lib.optimizers import State
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.strategies import Job, Progress, Saving

# Enough rows to tell data sets apart, few enough for data larger than memory.
_ROWS = 4096


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


def next_job(fresh: Job, saved: int | None) -> Job:
    """Return the job after a failure; `saved` is the step of the last checkpoint heard of."""
    assert fresh.saving is not None
    job = last_job(fresh)
    if saved is not None and job.progress.taken == 0:
        raise CheckpointError(
            f"rank 0 wrote a checkpoint after step {saved}, but the driver finds none in "
            f"{fresh.saving.directory}; both must see the same directory."
        )
    return job


def describe(job: Job) -> dict[str, str]:
    """Return what decides a training, in words; with other words, it is another training.

    The number of epochs, of workers, and when to stop may change from one run to the next.
    """
    kept = {} if job.keep_best is None else {"best epoch": f"by {job.keep_best}"}
    return kept | {
        "network": _words(job.net),
        "optimizer": _words(job.optimizer),
        "strategy": _words(job.strategy),
        "batch_size": str(job.batch_size),
        "seed": str(job.seed),
        "dtype": str(job.theta.dtype),
        "initial theta": _digest(job.theta),
        "training data": _digest(job.x, job.y),
        "validation data": "none" if job.validation is None else _digest(*job.validation),
    }


def save_point(
    saving: Saving,
    config: Mapping[str, str],
    theta: Array,
    state: State,
    extra: Mapping[str, Array],
    progress: Progress,
    best: tuple[Array, State] | None = None,
) -> Path:
    """Write a checkpoint; on rank 0 only."""
    vectors, numbers = split_state(state)
    arrays = {"theta": theta, **vectors, **_named("extra", extra)}
    meta = {"config": dict(config), "state": numbers, "progress": asdict(progress)}
    if best is not None:
        vectors, meta["best"] = split_state(best[1])
        arrays |= _named("best", {"theta": best[0], **vectors})
    return save(saving.directory, step=progress.taken, arrays=arrays, meta=meta, keep=saving.keep)


def resume(job: Job, point: Checkpoint, where: str) -> Job:
    """Return the job that goes on from a checkpoint.

    Parameters
    ----------
    job : Job
        The training, as at its beginning.
    point : Checkpoint
        Made by :func:`save_point`.
    where : str
        Where it was found, for messages.

    Raises
    ------
    CheckpointMismatch
        If it belongs to another training.
    """
    config = point.meta.get("config")
    if not isinstance(config, dict):
        raise CheckpointMismatch(
            f"the checkpoint of step {point.step} in {where} was not written by train; give "
            "another directory."
        )
    for name, value in (job.config or describe(job)).items():
        if config.get(name) != value:
            raise CheckpointMismatch(
                f"the checkpoint of step {point.step} in {where} belongs to another training: its "
                f"{name} is {config.get(name)}, and here it is {value}. Give another directory, "
                "or the same arguments as then.",
                step=point.step,
            )
    best = _within("best", point.arrays)
    return replace(
        job,
        theta=point.arrays["theta"],
        state=join_state(point.arrays, point.meta["state"]),
        extra=_within("extra", point.arrays),
        progress=Progress(**point.meta["progress"]),
        best=(best["theta"], join_state(best, point.meta["best"])) if best else None,
    )


def _named(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _within(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    start = f"{prefix}."
    return {k.removeprefix(start): array for k, array in arrays.items() if k.startswith(start)}


def _words(thing: object) -> str:
    # Where a function lies in memory is no part of what it does.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))


def _digest(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        if hasattr(array, "fingerprint"):  # rows that are not in memory
            digest.update(array.fingerprint())
            continue
        digest.update(np.ascontiguousarray(array[:: max(1, len(array) // _ROWS)]).tobytes())
    shapes = " and ".join(str(array.shape) for array in arrays)
    return f"{shapes}, sha256 {digest.hexdigest()[:16]}"
