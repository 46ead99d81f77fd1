"""A gang is one function run as n ranks, one per Dask worker, that succeed or fail as one.

Dask runs independent tasks and may run each whenever and wherever it likes; ranks need each
other. So the driver here takes the workers it wants under a lock, places one task on each, and
watches: when a rank raises or a worker is lost, it stops the survivors and reports the first
cause. It is the only one to decide that, so ranks can not disagree.

The shape follows XGBoost's Dask module (``xgboost/python-package/xgboost/dask``).

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any

from distributed import Client

from course_lib.arrays import check_integer
from course_lib.parallel.channels import OnChannel
from course_lib.parallel.comm.interface import Report
from course_lib.parallel.comm.warned import Warned, warn_once
from course_lib.parallel.doors import Among, check_timeout
from course_lib.parallel.errors import MoreWorkers, ParallelError
from course_lib.parallel.launch.cluster import connect
from course_lib.parallel.launch.restarts import interruptible
from course_lib.parallel.launch.watch import Program, Watch
from course_lib.parallel.launch.workers import free_workers, hold_workers, revive


@interruptible("gang")
def gang(
    client: Client | str | None,
    fn: Callable[..., Any],
    n: int,
    *args: Any,
    timeout: float = 60.0,
    on_report: Report | None = None,
    comm: str = "auto",
    **kwargs: Any,
) -> list[Any]:
    """Run ``fn(comm, *args, **kwargs)`` as one rank per worker, or fail as one.

    Parameters
    ----------
    client : Client, str or None
        A client of a Dask cluster, the address of its scheduler, or None for a private cluster.
    fn : callable
        The program of a rank; ``comm.rank`` tells it which one it is. What it warns of, the caller
        is warned of, once.
    n : int
        The number of ranks.
    *args, **kwargs
        Sent to each worker once. To be treated as read-only.
    timeout : float
        Seconds that any one wait may take: for workers to join, for other runs to free them, for
        the ranks to start, for a message. The whole run may take longer.
    on_report : callable, optional
        Called, in the caller's thread, with each message that a rank reports.
    comm : {"auto", "dask", "shared_memory", "hierarchical", "gloo", "nccl"}
        The channel; ``"auto"``: shared memory between ranks of one host, see
        :mod:`course_lib.parallel.channels`.

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
    """
    check_integer(n, where="gang", name="n", at_least=1)
    timeout = check_timeout(timeout, where="gang")
    program = (OnChannel(fn, comm), args, kwargs)
    return launch(client, program, (n, n), timeout=timeout, on_report=on_report)


def launch(
    client: Client | str | None,
    program: Program,
    workers: tuple[int, int],
    *,
    timeout: float,
    on_report: Report | None = None,
    avoid: Collection[str] = (),
    among: Among = None,
    regroup: Callable[[Mapping[str, Any]], bool] | None = None,
) -> list[Any]:
    """Run a program as :func:`gang` does, with as many ranks as there are workers for.

    Fewer than the most are taken if no more workers have come after a few seconds. When a rank
    reports a message of which `regroup` says that it is a moment to begin anew, and more workers
    have come, all ranks are stopped and MoreWorkers is raised.
    """
    with (
        connect(client, workers=workers[1], timeout=timeout) as own,
        hold_workers(own, workers, timeout, avoid, among) as addresses,
    ):

        def hear(message: Mapping[str, Any]) -> None:
            if on_report is not None:
                on_report(message)
            # A rank of ours that has ended already is not one more.
            if len(addresses) < workers[1] and regroup is not None and regroup(message):
                if free_workers(own, {*avoid, *addresses}, among):
                    raise MoreWorkers("the ranks were stopped to begin anew with more workers.")

        fn, args, kwargs = program
        watch = Watch(own, addresses, warn_once(hear))
        return watch.run((Warned(fn), args, kwargs), timeout)


class Relauncher:
    """Launches programs on one cluster, one after the other, and heals it after a failure.

    A private cluster outlives the attempts, and nannies replace its workers.
    """

    def __init__(
        self, client: Client | str | None, workers: tuple[int, int], *, timeout: float,
        among: Among = None,
    ) -> None:  # fmt: skip
        self._cluster, self._workers, self._timeout = client, workers, timeout
        self._among = among
        self._avoid: set[str] = set()
        self._own = ExitStack()

    def __enter__(self) -> Relauncher:
        if self._cluster is None:
            private = connect(None, workers=self._workers[1], timeout=self._timeout)
            self._cluster = self._own.enter_context(private)
        return self

    def __exit__(self, *error: Any) -> None:
        self._own.close()

    def launch(self, program: Program, **options: Any) -> list[Any]:
        """Run a program on every rank, see :func:`launch`."""
        return launch(
            self._cluster, program, self._workers,
            timeout=self._timeout, avoid=self._avoid, among=self._among, **options,
        )  # fmt: skip

    def repair(self, failure: ParallelError) -> None:
        """Restart the workers that do not answer; avoid those that can not be restarted."""
        assert self._cluster is not None
        self._avoid.update(revive(self._cluster, failure.stuck, self._timeout))
