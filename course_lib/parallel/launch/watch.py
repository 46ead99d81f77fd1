"""The driver's view of one run: place the ranks, watch them, stop the others when one fails.

Chapter: data parallelism.
"""

from __future__ import annotations

import gc
import queue
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from distributed import Future, KilledWorker, get_worker
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.protocol.serialize import serialize

from course_lib.parallel.comm import DaskComm
from course_lib.parallel.comm.dask_comm import ABORT, RESULT, Mailboxes, sendable, topic, unpack
from course_lib.parallel.comm.interface import Report
from course_lib.parallel.comm.outcome import Outcome, Supervisor, first_cause
from course_lib.parallel.errors import (
    ClusterUnreachable,
    CommTimeout,
    Moved,
    ParallelError,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.launch.client import PATIENCE, LimitedClient
from course_lib.parallel.launch.processes import handshake
from course_lib.parallel.launch.workers import ask

Program: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""The function of a rank, its arguments, its keyword arguments."""


def run_rank(
    generation: str, rank: int, addresses: Sequence[str], timeout: float, program: Program
) -> Outcome:
    """Run a rank inside a Dask task; what it raises is returned, not raised."""
    # An exception that leaves a task is logged by the worker, and may be retried by Dask.
    worker, place = get_worker(), addresses[rank]
    if worker.address != place:
        moved = Moved(f"rank {rank} was moved from {place} to {worker.address}")
        return Outcome(rank, error=moved, worker=place)
    comm = None
    fn, args, kwargs = program
    try:
        comm = DaskComm(worker, generation, rank, addresses, timeout)
        handshake(comm)
        Mailboxes.of(worker).begin(generation)
        if rank == 0:
            comm.tell_driver({"started": True})
        outcome = Outcome(rank, value=fn(comm, *args, **kwargs), worker=worker.address)
    except BaseException as error:
        step = None if comm is None else comm.step
        outcome = Outcome(rank, error=error, step=step, worker=worker.address).portable()
    finally:
        Mailboxes.of(worker).leave(generation, f"the run has ended on rank {rank}")
    # Cycles and tracebacks still hold what the run had: memory in /dev/shm, ports of gloo.
    gc.collect()
    return outcome


def fetch_outcome(
    client: LimitedClient, future: Future[Any], rank: int, worker: str, timeout: float
) -> Outcome | None:
    """Return how a rank whose task is done has ended; None if its worker was lost."""
    if future.status == "finished":
        try:
            outcome: Outcome = future.result(timeout=timeout)
        except FutureCancelledError:  # the worker died before its result was fetched
            return None
        return None if isinstance(outcome.error, Moved) else outcome
    if future.status == "error":
        error: BaseException = future.exception(timeout=timeout)
        return None if isinstance(error, KilledWorker) else Outcome(rank, None, error, None, worker)
    if client.status != "running":
        client.check()
    cancelled = WorkerLost(
        f"the task of rank {rank} on worker {worker} was cancelled by the scheduler: somebody "
        "restarted the cluster, client.restart(), or the worker that held its data was lost.",
        rank=rank,
        worker=worker,
    )
    return Outcome(rank, error=cancelled, worker=worker)


# A network that is slower than so many bytes a second is not waited for.
_SLOW = 1e7


def _bytes(program: Program) -> int:
    """How many bytes are sent to each worker; arrays are not copied to count them."""
    _, frames = serialize(program)
    return sum(memoryview(frame).nbytes for frame in frames)


class Watch:
    """One run on given workers, used once; the client is our own, and so are its event handlers."""

    def __init__(
        self, client: LimitedClient, addresses: Sequence[str], on_report: Report | None
    ) -> None:
        self._client = client
        self._addresses = list(addresses)
        self._on_report = on_report
        self._generation = uuid.uuid4().hex
        self._ranks = Supervisor(len(addresses), self._stop)
        self._silent: list[str] = []  # workers that do not answer
        self._started = False
        # Callbacks come from Dask's threads; everything is decided in the caller's thread.
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, program: Program, timeout: float) -> list[Any]:
        """Run the program on every worker; return the values by rank, or raise the first cause."""
        client = self._client
        # Not the topic "all": it carries events that Dask cannot serialise (a broadcast by
        # any client of the cluster is enough), and then drops the listener's connection.
        heard: dict[str, Callable[[tuple[float, Mapping[str, Any]]], None]]
        heard = {address: partial(self._hear_worker, address) for address in self._addresses}
        heard[topic(self._generation)] = self._hear_rank
        for name, hear in heard.items():
            client.subscribe_topic(name, hear)
        futures: list[Future[Any]] = []
        start = timeout + _bytes(program) / _SLOW
        try:
            scattered = self._scatter(program, start)
            for rank in range(len(self._addresses)):
                futures.append(self._submit(rank, timeout, scattered))
                futures[rank].add_done_callback(
                    lambda future, rank=rank: self._events.put(
                        partial(self._done, rank, future, timeout)
                    )
                )
            for worker in set(self._addresses) - set(client.nthreads()):
                self._lose(worker)  # before the subscription was heard
            self._wait(start, timeout)
        except BaseException:
            self._stop("the run was interrupted in the driver")
            raise
        finally:
            with suppress(ClosedClientError, ClusterUnreachable):
                client.cancel(futures, force=True)
                for name in heard:  # the scheduler remembers a listener for good
                    client.unsubscribe_topic(name)
        return self._ranks.values()

    def _scatter(self, program: Program, seconds: float) -> Future[Any]:
        """Send the program to one worker; the others fetch it from there when their rank starts."""
        client, worker = self._client, self._addresses[0]
        before = client.limit
        client.limit = max(seconds, PATIENCE)
        try:
            scattered: list[Future[Any]] = client.scatter(
                [program], workers=[worker], hash=False, timeout=seconds
            )
            return scattered[0]
        except (OSError, ValueError) as error:  # ValueError: the worker is not there any more
            if isinstance(error, TimeoutError) and worker in client.nthreads():
                failure = self._silence(
                    0, f"worker {worker} did not take the data in {seconds:g} s"
                )
                failure.stuck = (worker,)
                raise failure from None
            raise self._loss(worker) from None
        finally:
            client.limit = before

    def _submit(self, rank: int, timeout: float, program: Future[Any]) -> Future[Any]:
        """Place one rank on its worker; the future's result will be its Outcome."""
        # Other workers: a task bound to one that has died would wait for it for ever; moved by
        # Dask, it ends at once. Not pure, or its result might be one of an earlier run.
        return self._client.submit(
            run_rank, self._generation, rank, self._addresses, timeout, program,
            key=self._key(rank), workers=[self._addresses[rank]],
            allow_other_workers=True, pure=False, retries=0,
        )  # fmt: skip

    def _key(self, rank: int) -> str:
        return f"rank-{self._generation}-{rank}"

    def _hear_worker(self, address: str, event: tuple[float, Mapping[str, Any]]) -> None:
        _, message = event
        if message.get("action") == "remove-worker":
            self._events.put(lambda: self._lose(address))

    def _hear_rank(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, message = event
        if "started" in message:
            self._events.put(self._start)
        elif self._on_report is not None:
            hear = self._on_report
            self._events.put(lambda: hear(unpack(message["report"])))

    def _start(self) -> None:
        self._started = True
        self._ranks.started()

    def _wait(self, start: float, timeout: float) -> None:
        """Handle events until every rank has ended; on a failure, stop the survivors."""
        ranks = self._ranks
        if not ranks.failed:  # else they have their time to stop
            ranks.limit(start)
        while not ranks.done:
            # Until the ranks have started, or stopped; between, for as long as a wait may take.
            left = ranks.left()
            try:
                self._events.get(timeout=timeout if left is None else left)()
            except queue.Empty:
                if ranks.failed:
                    break
                self._look_after_silent(timeout)
        if cause := first_cause(list(ranks.outcomes.values())):
            self._explain(cause)
            raise cause

    def _look_after_silent(self, timeout: float) -> None:
        """Nothing was heard for long: ask, as a frozen process breaks no connection."""
        self._client.check(max(timeout, PATIENCE))
        for rank, address in enumerate(self._addresses):
            if rank in self._ranks.outcomes:
                continue
            found = ask(
                self._client, [address], RESULT, patience=timeout,
                generation=self._generation, key=self._key(rank),
            )  # fmt: skip
            if address not in found:
                text = f"worker {address}, which runs rank {rank}, did not answer for {timeout:g} s"
                self._mark_silent(rank, text)
            elif "result" in found[address]:
                # Dask's own message is held up: it waits by the clock of the wall, which may have
                # been set back.
                self._ranks.end(found[address]["result"])
            elif found[address]["started"]:
                self._start()
        if self._ranks.left() == 0.0 and not self._ranks.failed:
            raise WorkersBusy(
                f"the ranks did not start within {timeout:g} s; their workers are probably "
                "busy with other tasks. Wait for these, use fewer workers, or raise timeout=."
            )

    def _silence(self, rank: int, what: str) -> CommTimeout:
        text = f"{what}: its process, machine or network is frozen."
        return CommTimeout(text, rank=rank, worker=self._addresses[rank])

    def _mark_silent(self, rank: int, what: str) -> None:
        worker = self._addresses[rank]
        self._silent.append(worker)
        self._ranks.end(Outcome(rank, error=self._silence(rank, what), worker=worker))

    def _explain(self, cause: ParallelError) -> None:
        """Add what only the driver knows: how far the others were, and who did not stop."""
        ended = self._ranks.outcomes
        steps = [outcome.step for outcome in ended.values() if outcome.step is not None]
        if isinstance(cause, WorkerLost) and cause.step is None and steps:
            cause.step = max(steps)
            cause.add_note(f"The other ranks were in step {cause.step}.")
        left = {r: a for r, a in enumerate(self._addresses) if r not in ended}
        cause.stuck = (*self._silent, *left.values())
        for rank, address in left.items():
            cause.add_note(
                f"Rank {rank} on {address} did not stop within {self._ranks.grace:g} s; if its "
                f"worker stays busy, restart it: client.restart_workers([{address!r}])."
            )

    def _done(self, rank: int, future: Future[Any], timeout: float) -> None:
        worker = self._addresses[rank]
        try:
            outcome = fetch_outcome(self._client, future, rank, worker, timeout)
        except TimeoutError:
            text = f"worker {worker} did not hand over what rank {rank} returned within"
            return self._mark_silent(rank, f"{text} {timeout:g} s")
        if outcome is None:
            return self._lose(worker)
        self._ranks.end(outcome)

    def _lose(self, worker: str) -> None:
        rank = self._addresses.index(worker)
        self._ranks.end(Outcome(rank, error=self._loss(worker), worker=worker))

    def _loss(self, worker: str) -> WorkerLost:
        rank = self._addresses.index(worker)
        when, advice = f"while it ran rank {rank}", ""
        if not self._started:
            when = f"when rank {rank} was to start on it"
            advice = (
                " Data that does not fit into the memory of a worker can be given as the path of "
                "files, of which each worker reads what it needs."
            )
        return WorkerLost(
            f"worker {worker} was lost {when}: its process was killed or ran out of memory, or its "
            "machine or network went away. The other ranks were stopped, and the cluster can be "
            f"used again.{advice}",
            rank=rank,
            worker=worker,
        )

    def _stop(self, reason: str) -> None:
        """Make the ranks that still run stop at their present or next message."""
        running = [a for rank, a in enumerate(self._addresses) if rank not in self._ranks.outcomes]
        running += self._silent  # they may wake up
        # A worker that does not answer must not keep us: all have been called when we give up.
        with suppress(ClusterUnreachable):  # they stop when the scheduler misses this client
            ask(self._client, running, ABORT, generation=self._generation, reason=sendable(reason))
