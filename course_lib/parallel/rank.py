"""One rank as a Dask task: how it is placed, and what runs on its worker.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from distributed import Client, Future, get_worker

from course_lib.parallel.collectives import barrier
from course_lib.parallel.comm import Counters
from course_lib.parallel.dask_comm import DaskComm, Mailboxes
from course_lib.parallel.errors import Moved
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


def _handshake(comm: DaskComm) -> None:
    """Wait until all ranks have started; what follows then measures the program only."""
    timeout, comm.timeout = (
        comm.timeout,
        2 * comm.timeout,
    )  # the driver gives up first: it knows why
    barrier(comm)
    comm.timeout, comm.counters = timeout, Counters()
    if comm.rank == 0:
        comm.tell_driver({"started": True})
