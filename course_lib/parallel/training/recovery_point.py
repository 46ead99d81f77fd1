"""A recovery point: all that a training needs to go on as if nothing had happened.

The order of rows and dropout's noise are functions of (seed, epoch, step), so besides theta, the
optimizer's state and what the strategy remembers, the place in the training is enough, with the
history and the loss of the epoch under way.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.arrays import Array
from course_lib.checkpoint import Checkpoint, join_state, save, split_state
from course_lib.optimizers import State
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.strategies.job import Progress, Saving

if TYPE_CHECKING:
    from course_lib.parallel.strategies import Job

# Enough rows to tell data sets apart, few enough for data larger than memory.
_ROWS = 4096


def describe(job: Job) -> dict[str, str]:
    """Return what decides a training, in words; with other words, it is another training.

    The number of epochs, of workers, and when to stop may change from one run to the next.
    """
    return {
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
) -> Path:
    """Write a checkpoint; on rank 0 only."""
    vectors, numbers = split_state(state)
    remembered = {f"extra.{name}": array for name, array in extra.items()}
    meta = {"config": dict(config), "state": numbers, "progress": asdict(progress)}
    arrays = {"theta": theta, **vectors, **remembered}
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
    extra = {
        name.removeprefix("extra."): array
        for name, array in point.arrays.items()
        if name.startswith("extra.")
    }
    return replace(
        job,
        theta=point.arrays["theta"],
        state=join_state(point.arrays, point.meta["state"]),
        extra=extra,
        progress=Progress(**point.meta["progress"]),
    )


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
