"""What can go wrong when several processes train together, each with a name and a sentence.

Every error says what happened, on which rank and worker, in which step, and what to do. They
survive pickling, because they travel from the workers to the driver.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.checkpoint import CheckpointError


class ParallelError(RuntimeError):
    """A parallel run failed; the parent of all errors of this package.

    Parameters
    ----------
    message : str
        A sentence for a human.
    rank : int, optional
        The rank concerned.
    worker : str, optional
        The address of its worker.
    step : int, optional
        The training step, counted from 0, in which it happened.

    Attributes
    ----------
    stuck : tuple of str
        Workers whose ranks did not stop when they were told to.

    Examples
    --------
    >>> error = WorkerLost("worker tcp://10.0.0.7:40123 was lost", rank=1, step=20)
    >>> isinstance(error, ParallelError), error.rank, error.step
    (True, 1, 20)
    """

    def __init__(
        self,
        message: str,
        *,
        rank: int | None = None,
        worker: str | None = None,
        step: int | None = None,
    ) -> None:
        super().__init__(message)
        self.rank = rank
        self.worker = worker
        self.step = step
        self.stuck: tuple[str, ...] = ()


class ClusterUnreachable(ParallelError):
    """The scheduler could not be reached."""


class SchedulerLost(ClusterUnreachable):
    """The scheduler was reached, and then ended, or did not answer any more."""


class NotEnoughWorkers(ParallelError):
    """The cluster has fewer workers than the run has ranks."""


class WorkersBusy(ParallelError):
    """Another run holds the workers, or they did not start this one in time."""


class WorkerLost(ParallelError):
    """The process of a rank ended: killed, out of memory, machine gone."""


class RankFailed(ParallelError):
    """The function raised on a rank; its own exception is the ``__cause__``."""


class CommTimeout(ParallelError):
    """A message was not sent or did not arrive in time."""


class PeerLeft(ParallelError):
    """A message was sent to a rank that had already returned."""


class Aborted(ParallelError):
    """The rank was stopped because another one failed."""


class Moved(Aborted):
    """Dask moved the task of a rank, because its worker was lost."""


class NoSharedMemory(ParallelError):
    """The ranks can not share memory, or there is too little of it."""


class CheckpointFailed(ParallelError, CheckpointError):
    """A rank could not write or read a checkpoint: the disk is full, the folder not to be used."""


class StorageTimeout(ParallelError):
    """The file system did not answer in time."""


class CheckpointMismatch(ParallelError):
    """The checkpoint that was found belongs to another training."""


class MoreWorkers(ParallelError):
    """The ranks were stopped, after a checkpoint, to go on with more workers."""


def at_step(step: int | None) -> str:
    """Return the step in brackets, to be put behind what happened in it; nothing if it is None."""
    return "" if step is None else f" (step {step})"


def in_vain(
    rank: int, seconds: float, what: str, who: str, *, peer: int | None = None,
    step: int | None = None, same: str = "collectives",
) -> CommTimeout:  # fmt: skip
    """Return the error of a rank that waited in vain: for what, and who did not do the same."""
    return CommTimeout(
        f"rank {rank} waited {seconds:g} s for {what}{at_step(step)}. Either {who} is stuck or "
        f"does not execute the same {same}, or it needs longer: then pass a larger timeout.",
        rank=peer,
        step=step,
    )


def left(what: str, peer: int, step: int | None) -> PeerLeft:
    """Return the error of a rank whose peer will never come; `what` ends before "rank ..."."""
    return PeerLeft(
        f"{what} rank {peer}, which had already left{at_step(step)}; every rank must execute the "
        "same sends, receives and collectives.",
        rank=peer,
        step=step,
    )
