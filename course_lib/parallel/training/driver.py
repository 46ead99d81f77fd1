"""Train a network on several workers: the same result as the serial ``fit``, from more processes.

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from course_lib.arrays import Array, check_callable, check_flag, check_integer
from course_lib.checkpoint import StrPath
from course_lib.data import Split
from course_lib.evaluation import Epoch, History, SetMetric
from course_lib.needs import require_dask
from course_lib.network import Network
from course_lib.optimizers import Optimizer
from course_lib.parallel.channels import OnChannel
from course_lib.parallel.clock import stored_within
from course_lib.parallel.comm import run_threads
from course_lib.parallel.comm.interface import Report
from course_lib.parallel.doors import Among, check_among, check_client, check_timeout
from course_lib.parallel.errors import ParallelError
from course_lib.parallel.launch import interruptible, run_with_restarts
from course_lib.parallel.sources import InBlocks
from course_lib.parallel.strategies import Job, Strategy
from course_lib.parallel.training.events import Event, Listener
from course_lib.parallel.training.prepare import CHANNELS, make_job, ranks_between
from course_lib.parallel.training.recovery import first_job, next_job, saving
from course_lib.parallel.training.replica import train_replica
from course_lib.parallel.training.result import RankResult, TrainResult
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client


@interruptible("train")
def train(
    model: Network,
    data: Split | tuple[Any, Any] | StrPath | InBlocks,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    strategy: str | Strategy = "sync",
    workers: int | tuple[int, int] = 2,
    client: Client | str | None = None,
    among: Among = None,
    comm: str = "auto",
    backend: str = "numpy",
    virtual_shards: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    theta: Array | None = None,
    checkpoint: StrPath | None = None,
    every: int | None = None,
    keep: int = 3,
    resume: StrPath = "auto",
    max_restarts: int = 2,
    timeout: float = 60.0,
    validation: Split | tuple[Any, Any] | StrPath | None = None,
    stop: Callable[[History], bool] | None = None,
    weights: Any = None,
    clip: float | None = None,
    set_metrics: Mapping[str, SetMetric] | None = None,
    keep_best: str | None = None,
    better: str | None = None,
    callbacks: Sequence[Callable[[Epoch], None]] = (),
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
) -> TrainResult:
    """Train on several workers at once.

    The result equals that of :func:`course_lib.training.fit` with the same seed, for any number of
    workers, up to the rounding of sums taken in another order.

    Parameters
    ----------
    model : Network
        What to train.
    data : Split, (x, y), path or InBlocks
        The training data, x of shape (n, n_inputs); of a Split, its training part. Sent to each
        worker once. Larger than memory: (x, y) as paths of ``.npy`` files or as dask.arrays, or
        the path of a directory of shards, which each worker reads itself, see
        :mod:`course_lib.parallel.sources`.
    optimizer : Optimizer
        How to step.
    epochs : int
        Passes over the data.
    batch_size : int
        Rows per step. They are those of all ranks together (the GLOBAL batch).
    strategy : str or Strategy
        How the ranks work together: a text such as ``"sync"``, ``"local:8"``, ``"topk:0.01"``, see
        :data:`~course_lib.parallel.strategies.table.STRATEGIES`, or an object such as
        ``LocalSGD(8)``.
    workers : int or (int, int)
        The number of ranks; or the least and the most: each start and restart takes as many as
        there are workers. Each rank has a worker of its own.
    client : Client or str, optional
        A Dask client, or the address of a scheduler; without, `workers` processes are started on
        this machine and closed at the end.
    among : sequence of str or dict, optional
        Which workers of the cluster may be taken: those of these addresses, or those that have
        these resources (``{"GPU": 1}``, of ``dask worker --resources "GPU=1"``). One that is
        started again has its resources, but another address.
    comm : {"auto", "dask", "shared_memory", "hierarchical", "gloo", "nccl", "inprocess"}
        The channel between workers, see :mod:`course_lib.parallel.channels`; ``"auto"`` chooses
        by where they run. ``"inprocess"``: threads of this process, which need no cluster.
    backend : {"numpy", "torch"}
        What computes the gradients.
    virtual_shards : int, optional
        N, short for the strategy ``"virtual:N"``: each batch is cut in N pieces, a power of two,
        whatever the number of workers; then 1, 2, 3, ... workers give the same bits, if all have
        as many BLAS threads, see :class:`~course_lib.parallel.VirtualShards`.
    seed : int
        Decides the order of the rows, and noise; without `theta`, also the initial parameters.
    shuffle : bool
        Give each epoch an order of its own; False: the rows as they come, in each.
    theta : array, shape (n_params,), optional
        Where to start; by default ``model.init(np.random.default_rng(seed))``.
    checkpoint : path, optional
        A folder for this training, seen by this process and by the workers. When a worker is
        lost or silent, all ranks start again from the newest checkpoint in it. One of another
        training is refused. Compared are all numbers of arrays; of files the size, the time of
        writing and 1,024 rows; of a dask.array three blocks; and all settings, see
        :func:`~course_lib.parallel.fingerprints.words`.
    every : int, optional
        Steps from one checkpoint to the next; by default there is one after each epoch.
    keep : int
        How many checkpoints are left.
    resume : {"auto", "never"} or path
        Whether to go on from the newest checkpoint of the folder if there is one, or from a given
        checkpoint or folder. A damaged one is passed over with a warning.
    max_restarts : int
        How many failures to survive.
    timeout : float
        Seconds that any one wait may take; the run as a whole may take longer.
    validation : Split, (x, y) or path, optional
        Held-out data, evaluated after each epoch. It has the same forms; of a Split, its testing
        part. A rank reads its share of them at once.
    stop : callable, optional
        Called with the history after each epoch; training ends when all ranks say True.
    weights : array, shape (n,), optional
        How much each row counts (``sample_weight``): the sum of the weighted losses of a batch is
        divided by the sum of its weights; where ranks step by gradients of their own
        (``LocalSGD``), of those of its own rows. Held-out rows count alike. Sent to each worker.
    clip : float, optional
        The largest norm of the gradient: a longer one is shortened, by the norm of the whole,
        however it is cut among the ranks, and to the same bit. Where ranks step by gradients of
        their own (``LocalSGD``, ``AsyncParameterServer``), each of these.
    set_metrics : dict of str to callable, optional
        What is no mean over rows (AUC, F1): ``f(outputs, targets)`` gets those of all held-out
        rows at once, in their order, on rank 0, and returns one number, which the history has as
        ``val_`` and its name.
    keep_best : str, optional
        A key of the history, such as ``"val_loss"``: the result's theta and state are those of the
        epoch in which it was best, instead of the last.
    better : {"lower", "higher"}, optional
        Which values of it are better. Needed unless the name ends in "loss" (lower) or "accuracy"
        (higher).
    callbacks : sequence of callables
        Called with what an epoch has left: an :class:`~course_lib.evaluation.Epoch`, on rank 0,
        in the worker's process. An epoch that is run again after a failure is shown again;
        `on_event` hears of each once.
    on_event : callable, optional
        Called in this process with each :class:`~course_lib.parallel.Event`: an epoch has
        ended, a checkpoint was written, a worker was lost, ....
    progress : bool
        Show a progress bar.

    Returns
    -------
    TrainResult
        theta, state, history, timing per rank, restarts; ``report()`` makes a table.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    ParallelError
        If the run failed; :mod:`course_lib.parallel.errors` lists how.
    CheckpointError
        If `resume` names something that is not a valid checkpoint, or the folder of checkpoints
        cannot be read. If it cannot be written to, a ``CheckpointFailed``, which is both.

    Warns
    -----
    RuntimeWarning
        If a checkpoint is damaged and passed over; if blocks of a dask.array are computed many
        times.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import SGD, mlp
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> net = mlp([1, 1], loss="mse")
    >>> options = {"epochs": 50, "batch_size": 5, "workers": 3, "comm": "inprocess"}
    >>> result = train(net, (x, 3 * x + 1), optimizer=SGD(0.1), **options)
    >>> result.theta.round(3), result.replicas_identical
    (array([3., 1.]), True)
    """
    start = time.perf_counter()
    between = ranks_between(workers)
    timeout = check_timeout(timeout, where="train")
    check_client(client, threads=comm == "inprocess", where="train")
    among = check_among(among, client, where="train")
    if on_event is not None:
        check_callable(on_event, where="train", name="on_event", takes=("event",))
    progress = check_flag(progress, where="train", name="progress")
    fresh = make_job(
        model, data, theta,
        optimizer=optimizer, epochs=epochs, batch_size=batch_size, strategy=strategy, seed=seed,
        shuffle=shuffle,
        backend=backend, virtual_shards=virtual_shards, validation=validation, stop=stop,
        weights=weights, clip=clip, set_metrics=set_metrics, keep_best=keep_best, better=better,
        callbacks=callbacks,
        workers=between, report=on_event is not None or progress or checkpoint is not None,
        saving=saving(checkpoint, every, keep),
    )  # fmt: skip
    max_restarts = check_integer(max_restarts, where="train", name="max_restarts", at_least=0)
    found = "looking for a checkpoint to go on from"
    begin = stored_within(timeout, found, lambda: first_job(fresh, resume))
    with Listener(on_event, epochs=epochs, progress=progress) as listener, _place(
        client, comm, between, timeout=timeout, on_report=listener, among=among
    ) as (run, repair):  # fmt: skip
        ranks, restarts = drive(
            run, fresh, begin, max_restarts=max_restarts, listener=listener, repair=repair,
            timeout=timeout,
        )  # fmt: skip
    return TrainResult.of(ranks, time.perf_counter() - start, restarts)


T = TypeVar("T")
_Run = Callable[[Job], Sequence[RankResult]]
_Repair = Callable[[ParallelError], None] | None


def drive(
    run: _Run, fresh: Job, begin: Job, *, max_restarts: int, listener: Listener,
    repair: _Repair, timeout: float,
) -> tuple[Sequence[RankResult], int]:  # fmt: skip
    """Run a job from where it begins; after a failure, go on from the last checkpoint, if any."""
    job = begin

    def attempt() -> Sequence[RankResult]:
        listener.resume(job.progress.epoch)
        return run(job)

    def again() -> int:
        nonlocal job
        found = "reading the last checkpoint"
        job = stored_within(timeout, found, lambda: next_job(fresh, begin, listener.saved))
        return job.progress.taken

    saves = fresh.saving is not None
    return survive(
        attempt, again, max_restarts=max_restarts, listener=listener, repair=repair, saves=saves
    )


def survive(
    attempt: Callable[[], T], again: Callable[[], int], *, max_restarts: int, listener: Listener,
    saves: bool, repair: _Repair = None,
) -> tuple[T, int]:  # fmt: skip
    """Run all ranks of a training, again after each loss; the listener is told of it.

    `again` makes ready for the next attempt, and returns from which step it will go on; `saves`
    says whether there are checkpoints to go on from.
    """

    def begin_again(what: str, _: ParallelError | None) -> None:
        step = again()
        listener.tell("restart", f"{what}, from step {step}", step)

    # The work of hours should not be repeated unasked.
    unsaved = "" if saves else "With checkpoint=directory the training would have gone on."
    return run_with_restarts(
        attempt, max_restarts=max_restarts, again=begin_again, repair=repair, hopeless=unsaved,
        lost=lambda error: listener.tell("worker_lost", str(error), error.step),
    )  # fmt: skip


def more_can_join(epochs: int) -> Callable[[Mapping[str, Any]], bool]:
    """Return what says whether a report is a moment to begin anew with more workers.

    Examples
    --------
    >>> regroup = more_can_join(3)
    >>> [regroup({"kind": "checkpoint", "epoch": epoch}) for epoch in (2, 3)]
    [True, False]
    """
    # After the last epoch there is nothing left to share.
    return lambda m: m["kind"] == "checkpoint" and m["epoch"] < epochs


@contextmanager
def _place(
    client: Client | str | None, comm: str, workers: tuple[int, int], *, timeout: float,
    on_report: Report, among: Among,
) -> Iterator[tuple[_Run, _Repair]]:  # fmt: skip
    """Open where a training runs: threads or a cluster. Yield what runs a job, and what repairs."""
    if lookup("comm", comm, CHANNELS) == "inprocess":
        yield (
            lambda job: run_threads(
                workers[1], lambda c: train_replica(c, job), timeout=timeout, on_report=on_report
            ),
            None,
        )
        return
    require_dask("train")
    from course_lib.parallel.launch import Relauncher

    program = OnChannel(train_replica, comm)
    with Relauncher(client, workers, timeout=timeout, among=among) as cluster:
        yield (
            lambda job: cluster.launch(
                (program, (job,), {}),
                on_report=on_report,
                regroup=more_can_join(job.epochs),
            ),
            cluster.repair,
        )
