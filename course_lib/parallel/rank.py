"""One rank as a Dask task: how it is placed, and what runs on its worker.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from distributed import Client, Future, KilledWorker, get_worker
from distributed.client import FutureCancelledError

from course_lib.parallel.collectives import barrier
from course_lib.parallel.comm import Counters
from course_lib.parallel.dask_comm import DaskComm, Mailboxes
from course_lib.parallel.errors import Aborted, ClusterUnreachable, Moved
from course_lib.parallel.outcome import Outcome

Program: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""The function of a rank, its arguments, its keyword arguments."""


def run_rank(
    generation: str, rank: int, addresses: Sequence[str], timeout: float, program: Program
) -> Outcome:
    """Run a rank inside a Dask task; what it raises is returned, not raised.

    An exception that leaves a task is logged by the worker, and may be retried by Dask; the
    driver wants neither.
    """
    worker = get_worker()
    if worker.address != addresses[rank]:
        return Outcome(
            rank,
            error=Moved(f"rank {rank} was moved from {addresses[rank]} to {worker.address}"),
            worker=addresses[rank],
        )
    comm = None
    fn, args, kwargs = program
    try:
        comm = DaskComm(worker, generation, rank, addresses, timeout)
        _handshake(comm)
        outcome = Outcome(rank, value=fn(comm, *args, **kwargs), worker=worker.address)
    except BaseException as error:
        step = None if comm is None else comm.step
        outcome = Outcome(rank, error=error, step=step, worker=worker.address).portable()
    finally:
        Mailboxes.of(worker).leave(generation, f"the run has ended on rank {rank}")
    return outcome


def submit_rank(
    client: Client,
    generation: str,
    rank: int,
    addresses: Sequence[str],
    timeout: float,
    program: Future[Any],
) -> Future[Any]:
    """Place one rank on its worker; the future's result will be its Outcome."""
    return client.submit(
        run_rank,
        generation,
        rank,
        addresses,
        timeout,
        program,
        key=f"rank-{generation}-{rank}",
        workers=[addresses[rank]],
        # A task bound to a worker that has died would wait for it for ever. Let Dask move it
        # instead: on the wrong worker it ends at once.
        allow_other_workers=True,
        # A pure function's result may be taken from an earlier run, or computed anew.
        pure=False,
        retries=0,
    )


def fetch_outcome(
    client: Client, future: Future[Any], rank: int, worker: str, timeout: float
) -> Outcome | None:
    """Return how a rank whose task is done has ended; None if its worker was lost.

    Raises
    ------
    TimeoutError
        If the worker does not hand it over.
    """
    error: BaseException
    if future.status == "finished":
        try:
            outcome: Outcome = future.result(timeout=timeout)
        except FutureCancelledError:  # the worker died before its result was fetched
            return None
        return None if isinstance(outcome.error, Moved) else outcome
    if future.status == "error":
        error = future.exception(timeout=timeout)
        return None if isinstance(error, KilledWorker) else Outcome(rank, None, error, None, worker)
    if client.status != "running":
        error = ClusterUnreachable("the connection to the scheduler was lost during the run.")
    else:
        error = Aborted(f"the task of rank {rank} was cancelled.")
    return Outcome(rank, error=error)


def _handshake(comm: DaskComm) -> None:
    """Wait until all ranks have started; what follows then measures the program only."""
    # The driver gives up first: it knows why.
    timeout, comm.timeout = comm.timeout, 2 * comm.timeout
    barrier(comm)
    comm.timeout, comm.counters = timeout, Counters()
    if comm.rank == 0:
        comm.tell_driver({"started": True})
