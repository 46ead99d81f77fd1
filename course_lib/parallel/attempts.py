"""Where a training runs, once or several times: threads of this process, or workers of a cluster.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from course_lib.parallel.channels import OnChannel
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import ParallelError
from course_lib.parallel.in_process import Report
from course_lib.parallel.job import Job
from course_lib.parallel.needs import require_dask
from course_lib.parallel.prepare import CHANNELS
from course_lib.parallel.replica import train_replica
from course_lib.parallel.result import RankResult
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client


class Attempts(NamedTuple):
    """How to run a job, and what to do after a failure before it is run again."""

    run: Callable[[Job], Sequence[RankResult]]
    repair: Callable[[ParallelError], None] | None = None


@contextmanager
def attempts(
    client: Client | str | None,
    comm: str,
    workers: tuple[int, int],
    *,
    timeout: float,
    on_report: Report,
) -> Iterator[Attempts]:
    """Open what a training runs on; yield what runs a job there.

    Parameters
    ----------
    client : Client, str or None
        See :func:`~course_lib.parallel.train`.
    comm : str
        The channel.
    workers : (int, int)
        The least and the most ranks.
    timeout : float
        Seconds that a wait may take.
    on_report : callable
        Called with each message that a rank reports.
    """
    if lookup("comm", comm, CHANNELS) == "inprocess":
        if client is not None:
            raise ValueError(
                "train: comm='inprocess' runs threads of this process and uses no cluster; leave "
                "out either client= or comm=."
            )
        yield Attempts(
            lambda job: run_threads(
                workers[1], lambda c: train_replica(c, job), timeout=timeout, on_report=on_report
            )
        )
        return
    require_dask("train")
    from course_lib.parallel.launch import connect, launch
    from course_lib.parallel.revive import revive

    program, avoid = OnChannel(train_replica, comm), set[str]()
    with ExitStack() as stack:
        cluster = client
        if cluster is None:  # a private one; it must outlive an attempt
            cluster = stack.enter_context(connect(None, workers=workers[1], timeout=timeout))

        def run(job: Job) -> Sequence[RankResult]:
            return launch(
                cluster, (program, (job,), {}), workers,
                timeout=timeout, on_report=on_report, avoid=avoid,
                regroup=lambda message: message["kind"] == "checkpoint",
            )  # fmt: skip

        def repair(failure: ParallelError) -> None:
            avoid.update(revive(cluster, failure.stuck, timeout))

        yield Attempts(run, repair)
