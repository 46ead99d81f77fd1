"""Where a training goes on: what a checkpoint of it holds, and which one is the next to begin with.

The order of rows and dropout's noise are functions of (seed, epoch, step), so besides theta, the
optimizer's state and what the strategy remembers, the place in the training is enough, with the
history and the loss of the epoch under way.

Chapter: when workers die.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
from course_lib.parallel.fingerprints import digest, words
from course_lib.parallel.strategies import Job, Progress, Saving
from course_lib.paths import check_path, check_shared_path


def saving(checkpoint: StrPath | None, every: int | None, keep: int) -> Saving | None:
    """Return where and how often to save, or None; check what the user passed."""
    if every is not None:
        check_integer(every, where="train", name="every", at_least=1)
    check_integer(keep, where="train", name="keep", at_least=1)
    if checkpoint is None:
        if every is not None:
            raise ValueError("train: every= says when to save, and checkpoint= must say where.")
        return None
    return Saving(check_shared_path(checkpoint, where="train", name="checkpoint"), every, keep)


def first_job(job: Job, source: StrPath) -> Job:
    """Return the job to begin with: fresh, or from a checkpoint, as ``train(resume=)`` asks."""
    if isinstance(source, str) and source == "auto":
        return last_job(job)
    found = chosen_point(source, job.saving)
    return job if found is None else resume(job, found[1], found[0])


def chosen_point(source: StrPath, saving: Saving | None) -> tuple[str, Checkpoint] | None:
    """Return the checkpoint that ``train(resume=)`` names, if it names one, and where it is."""
    if isinstance(source, str) and source == "never":
        if saving is not None and checkpoint_files(Path(saving.directory)):
            raise ValueError(
                f"train: resume='never', but {saving.directory} holds checkpoints, which a "
                "restart could not tell from new ones; delete them, or give another directory."
            )
        return None
    path = check_path(source, where="train", name="resume")
    if not path.exists():
        raise CheckpointError(
            f"train: resume must be 'auto', 'never' or the path of a checkpoint, got {source!r}, "
            "which does not exist."
        )
    point = latest_valid(path) if path.is_dir() else load(path)
    if point is None:
        raise CheckpointError(f"train: resume={str(path)!r} holds no valid checkpoint.")
    return str(path), point


def last_job(job: Job) -> Job:
    """Return the job that goes on from the newest valid checkpoint of its own, if there is one."""
    if job.saving is None:
        return job
    point: Checkpoint | None = latest_valid(job.saving.directory)
    return job if point is None else resume(job, point, job.saving.directory)


def next_job(fresh: Job, begin: Job, saved: int | None) -> Job:
    """Return the job after a failure; `saved` is the step of the last checkpoint heard of.

    Without a checkpoint of its own it begins again where it began, which may be another's.
    """
    assert fresh.saving is not None
    job = last_job(fresh)
    if saved is not None and job.progress.taken == 0:
        raise CheckpointError(
            f"rank 0 wrote a checkpoint after step {saved}, but the driver finds none in "
            f"{fresh.saving.directory}; both must see the same directory."
        )
    return begin if job is fresh else job


def describe(job: Job) -> dict[str, str]:
    """Return what decides a training, in words; with other words, it is another training.

    The number of epochs, of workers, and when to stop may change from one run to the next.
    """
    found = {} if job.shuffle else {"order of rows": "as they come"}
    if job.keep_best is not None:
        better = "" if job.better is None else f", better {job.better}"
        found["best epoch"] = f"by {job.keep_best}{better}"
    return (
        found
        | {f"set metric {name}": words(f) for name, f in job.set_metrics.items()}
        | {
            "network": words(job.net),
            "optimizer": words(job.optimizer),
            "strategy": words(job.strategy),
            "batch_size": str(job.batch_size),
            "seed": str(job.seed),
            "weights": "none" if job.weights is None else digest(job.weights),
            "clip": "none" if job.clip is None else str(job.clip),
            "dtype": str(job.theta.dtype),
            "initial theta": digest(job.theta),
            "training data": digest(job.x, job.y),
            "validation data": "none" if job.validation is None else digest(*job.validation),
        }
    )


def save_point(
    saving: Saving, config: Mapping[str, str], theta: Array, state: State,
    extra: Mapping[str, Array], progress: Progress, best: tuple[Array, State] | None = None,
) -> Path:  # fmt: skip
    """Write a checkpoint; on rank 0 only."""
    vectors, numbers = split_state(state)
    arrays = {"theta": theta, **vectors, **_named("extra", extra)}
    meta = {"config": dict(config), "state": numbers, "progress": asdict(progress)}
    if best is not None:
        vectors, meta["best"] = split_state(best[1])
        arrays |= _named("best", {"theta": best[0], **vectors})
    return save(saving.directory, step=progress.taken, arrays=arrays, meta=meta, keep=saving.keep)


def resume(job: Job, point: Checkpoint, where: str) -> Job:
    """Return the job that goes on from a checkpoint of :func:`save_point`, found `where`."""
    check_same(job.config or describe(job), point.meta.get("config"), point.step, where)
    best = _within("best", point.arrays)
    try:
        return replace(
            job,
            theta=point.arrays["theta"],
            state=join_state(point.arrays, point.meta["state"]),
            extra=_within("extra", point.arrays),
            progress=Progress(**point.meta["progress"]),
            best=(best["theta"], join_state(best, point.meta["best"])) if best else None,
        )
    except (KeyError, TypeError) as error:
        raise CheckpointMismatch(
            f"the checkpoint of step {point.step} in {where} lacks something that train writes "
            f"({type(error).__name__}: {error}); give another directory."
        ) from error


def check_same(now: Mapping[str, str], then: Any, step: int, where: str) -> None:
    """Raise CheckpointMismatch unless the checkpoint found `where` was of the same training.

    `now` and `then` are what decides it in words, see :func:`describe`.
    """
    if not isinstance(then, Mapping):
        raise CheckpointMismatch(
            f"the checkpoint of step {step} in {where} was not written by train; give another "
            "directory."
        )
    for name in {**now, **then}:
        # What there was not yet when a checkpoint was written is not in it, nor what is left out.
        before, value = then.get(name, "none"), now.get(name, "none")
        if before != value:
            raise CheckpointMismatch(
                f"the checkpoint of step {step} in {where} belongs to another training: its {name} "
                f"is {before}, and here it is {value}. Give another directory, or the same "
                "arguments as then.",
                step=step,
            )


def _named(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _within(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    start = f"{prefix}."
    return {k.removeprefix(start): array for k, array in arrays.items() if k.startswith(start)}
