"""A gang is one function run as n ranks, one per Dask worker, that succeed or fail as one.

Dask runs independent tasks and may run each whenever and wherever it likes; ranks need each
other. So the driver here takes the workers it wants under a lock, places one task on each, and
watches: when a rank raises or a worker is lost, it stops the survivors and reports the first
cause. It is the only one to decide that, so ranks can not disagree.

The shape follows XGBoost's Dask module (``xgboost/python-package/xgboost/dask``).

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client, MultiLock

from course_lib.arrays import check_integer
from course_lib.parallel.cluster import connect
from course_lib.parallel.dask_comm import Mailboxes
from course_lib.parallel.errors import NotEnoughWorkers, ParallelError, WorkersBusy
from course_lib.parallel.watch import Watch

__all__ = ["connect", "gang"]


def gang(
    client: Client | str | None,
    fn: Callable[..., Any],
    n: int,
    *args: Any,
    timeout: float = 60.0,
    on_report: Callable[[Mapping[str, Any]], None] | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Run ``fn(comm, *args, **kwargs)`` as one rank per worker, or fail as one.

    Parameters
    ----------
    client : Client, str or None
        A client of a Dask cluster, the address of its scheduler, or None for a private cluster.
    fn : callable
        The program of a rank; ``comm.rank`` tells it which one it is.
    n : int
        The number of ranks.
    *args, **kwargs
        Sent to each worker once. To be treated as read-only.
    timeout : float
        Seconds that any one wait may take: for workers to join, for other runs to free them, for
        the ranks to start, for a message. The whole run may take longer.
    on_report : callable, optional
        Called, in the caller's thread, with each message that a rank reports.

    Returns
    -------
    list
        What `fn` returned, by rank.

    Raises
    ------
    NotEnoughWorkers
        If the cluster does not have n workers within the timeout.
    WorkersBusy
        If another run does not free them within the timeout.
    RankFailed
        If `fn` raised; its exception is the cause.
    WorkerLost
        If a worker's process ended.
    CommTimeout
        If a rank waited in vain.
    ClusterUnreachable
        If the scheduler cannot be reached.

    Examples
    --------
    >>> from course_lib.parallel.collectives import all_agree
    >>> gang(None, lambda comm: (comm.rank, all_agree(comm, True)), 2)
    [(0, True), (1, True)]

    Notes
    -----
    Chapter: data parallelism.
    """
    check_integer(n, where="gang", name="n", at_least=1)
    with connect(client, workers=n, timeout=timeout) as own:
        _prepare_workers(own)
        addresses = _choose_workers(own, n, timeout)
        with _locked(own, addresses, timeout):
            return Watch(own, addresses, on_report).run((fn, args, kwargs), timeout)


def _prepare_workers(client: Client) -> None:
    """Give every worker, also one that joins later, its mailboxes."""
    imported = client.run(exec, "import course_lib.parallel.dask_comm", on_error="return")
    for worker, error in imported.items():
        if isinstance(error, Exception):
            raise ParallelError(
                f"worker {worker} cannot import course_lib ({error}); install the package, in the "
                "same version, where the workers run.",
                worker=worker,
            ) from error
    client.register_plugin(Mailboxes())


def _choose_workers(client: Client, n: int, timeout: float) -> list[str]:
    """Wait for n workers; take those with the least to do, in the order of their addresses."""
    deadline = time.monotonic() + timeout
    # nthreads() names every worker; scheduler_info() showed only five in some versions.
    while len(available := client.nthreads()) < n:
        if time.monotonic() > deadline:
            raise NotEnoughWorkers(
                f"{n} ranks need {n} workers, but the cluster has {len(available)} after waiting "
                f"{timeout:g} s; start more workers, use workers={max(1, len(available))}, or "
                "raise timeout= if some are still to come."
            )
        time.sleep(0.05)
    busy = client.processing()
    chosen = sorted(available, key=lambda address: (len(busy.get(address, ())), address))[:n]
    return sorted(chosen)


@contextmanager
def _locked(client: Client, addresses: Sequence[str], timeout: float) -> Iterator[None]:
    """Hold all the workers, or none: two runs with half the workers each would wait for ever."""
    lock = MultiLock([f"course-lib-{address}" for address in addresses], client=client)
    if not lock.acquire(timeout=timeout):
        raise WorkersBusy(
            f"the workers {', '.join(addresses)} did not become free within {timeout:g} s: "
            "another run holds them. Wait for it to end, raise timeout=, or use another cluster."
        )
    try:
        yield
    finally:
        with suppress(OSError):  # the scheduler is gone, and the lock with it
            lock.release()
