"""Train a network on several workers: the same result as the serial ``fit``, from more processes.

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.data import Split
from course_lib.network import Network
from course_lib.optimizers import Optimizer
from course_lib.parallel.comm import run_threads
from course_lib.parallel.data_parallel import SyncSGD
from course_lib.parallel.needs import require_dask
from course_lib.parallel.replica import BACKENDS, Job, train_replica
from course_lib.parallel.result import Event, TrainResult
from course_lib.registry import lookup
from course_lib.training import History

if TYPE_CHECKING:
    from distributed import Client

CHANNELS = {"auto": "dask", "dask": "dask", "inprocess": "inprocess"}
STRATEGIES = {"sync": SyncSGD()}


def train(
    model: Network,
    data: Split | tuple[Any, Any],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    strategy: str | SyncSGD = "sync",
    workers: int = 2,
    client: Client | str | None = None,
    comm: str = "auto",
    backend: str = "numpy",
    seed: int = 0,
    theta: Array | None = None,
    timeout: float = 60.0,
    validation: tuple[Any, Any] | None = None,
    stop: Callable[[History], bool] | None = None,
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
    data : Split or (x, y)
        The training data, x of shape (n, n_inputs); of a Split, its training part. Sent to each
        worker once.
    optimizer : Optimizer
        How to step.
    epochs, batch_size : int
        Passes over the data, and rows per step over all workers together (the GLOBAL batch).
    strategy : {"sync"} or SyncSGD
        How the ranks work together.
    workers : int
        The number of ranks, one per worker.
    client : Client or str, optional
        A Dask client, or the address of a scheduler; without, `workers` processes are started on
        this machine and closed at the end.
    comm : {"auto", "dask", "inprocess"}
        The channel: Dask workers, or threads of this process, which need no cluster.
    backend : {"numpy", "torch"}
        What computes the gradients.
    seed : int
        Decides the order of rows, dropout's noise and, without `theta`, the initial parameters.
    theta : array, shape (n_params,), optional
        Where to start; by default ``model.init(np.random.default_rng(seed))``.
    timeout : float
        Seconds that any one wait may take; the run as a whole may take longer.
    validation : (x, y), optional
        Held-out data, evaluated after each epoch.
    stop : callable, optional
        Called with the history after each epoch, on every rank; training ends when all say True.
    on_event : callable, optional
        Called in this process with an :class:`~course_lib.parallel.result.Event` per epoch.
    progress : bool
        Show a progress bar.

    Returns
    -------
    TrainResult
        theta, state, history, timing per rank; ``report()`` makes a table.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    ParallelError
        If the run failed; :mod:`course_lib.parallel.errors` lists how.

    Examples
    --------
    >>> from course_lib import SGD, mlp
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> net = mlp([1, 1], loss="mse")
    >>> result = train(
    ...     net,
    ...     (x, 3 * x + 1),
    ...     optimizer=SGD(0.1),
    ...     epochs=50,
    ...     batch_size=5,
    ...     workers=3,
    ...     comm="inprocess",
    ... )
    >>> result.theta.round(3), result.replicas_identical
    (array([3., 1.]), True)

    Notes
    -----
    Chapter: data parallelism.
    """
    start = time.perf_counter()
    workers = check_integer(workers, where="train", name="workers", at_least=1)
    channel = lookup("comm", comm, CHANNELS)
    if channel == "inprocess" and client is not None:
        raise ValueError(
            "train: comm='inprocess' runs threads of this process and uses no cluster; leave out "
            "either client= or comm=."
        )
    if not isinstance(model, Network):
        raise TypeError(
            f"train: model must be a course_lib Network, got {type(model).__name__}; make one "
            "with mlp(sizes), and choose backend='torch' to compute with PyTorch."
        )
    x, y = (data.x_train, data.y_train) if isinstance(data, Split) else data
    x, y = model.check_data(x, y, where="train")
    seed = check_integer(seed, where="train", name="seed", at_least=0)
    if theta is None:
        theta = model.init(np.random.default_rng(seed))
    model.unpack(theta)  # raises if its shape is wrong: better here than on every worker
    if validation is not None:
        validation = model.check_data(*validation, where="train, validation")
    job = Job(
        net=model,
        optimizer=optimizer,
        theta=theta,
        x=x.astype(theta.dtype, copy=False),
        y=y,
        validation=validation,
        epochs=check_integer(epochs, where="train", name="epochs", at_least=1),
        batch_size=check_integer(batch_size, where="train", name="batch_size", at_least=1),
        seed=seed,
        strategy=_strategy(strategy),
        backend=lookup("backend", backend, dict.fromkeys(BACKENDS, backend)),
        stop=stop,
        report=on_event is not None or progress,
    )
    with ExitStack() as stack:
        on_report = _listener(on_event, stack, epochs if progress else None)
        if channel == "inprocess":
            ranks = run_threads(
                workers, lambda c: train_replica(c, job), timeout=timeout, on_report=on_report
            )
        else:
            require_dask("train")
            from course_lib.parallel.launch import gang

            ranks = gang(client, train_replica, workers, job, timeout=timeout, on_report=on_report)
    return TrainResult.of(ranks, time.perf_counter() - start)


def _strategy(strategy: str | SyncSGD) -> SyncSGD:
    return strategy if isinstance(strategy, SyncSGD) else lookup("strategy", strategy, STRATEGIES)


def _listener(
    on_event: Callable[[Event], None] | None, stack: ExitStack, epochs: int | None
) -> Callable[[Mapping[str, Any]], None]:
    """Return what is called with each report of rank 0; `epochs` asks for a progress bar."""
    bar = None
    if epochs is not None:
        from tqdm.auto import tqdm  # here, because it would double the import time of the package

        bar = stack.enter_context(tqdm(total=epochs, unit="epoch"))

    def listen(message: Mapping[str, Any]) -> None:
        metrics = {name: value for name, value in message.items() if name != "epoch"}
        if bar is not None:
            bar.set_postfix({name: f"{value:.4g}" for name, value in metrics.items()})
            bar.update()
        if on_event is not None:
            on_event(Event(message["epoch"], metrics))

    return listen
