"""Before a run: choose its workers, hold them against other runs, give them what ranks need.

Chapter: data parallelism.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from distributed import Client, Semaphore, Worker
from distributed.diagnostics.plugin import WorkerPlugin

from course_lib.parallel.comm.dask_comm import PLUGIN, Mailboxes
from course_lib.parallel.errors import NotEnoughWorkers, ParallelError, WorkersBusy
from course_lib.parallel.launch.cluster import connect, within

# Seconds; a worker's event loop answers at once, even while its ranks compute.
_PATIENCE = 3.0


def ask(
    client: Client,
    workers: Sequence[str],
    op: str,
    *,
    patience: float | None = None,
    **message: str,
) -> dict[str, Any]:
    """Call an operation of some workers; return the answers, or none if one needs too long."""
    scheduler: Any = client.scheduler
    with suppress(Exception):
        answered: dict[str, Any] = client.sync(
            scheduler.broadcast,
            msg={"op": op, **message},
            workers=list(workers),
            on_error="ignore",
            callback_timeout=_PATIENCE if patience is None else patience,
        )
        return answered
    return {}


def answers(client: Client, worker: str, patience: float | None = None) -> bool:
    """Whether a worker answers within so many seconds."""
    return worker in ask(client, [worker], "echo", patience=patience, data="")


# How long to wait for more workers than a run needs at least.
_SETTLE = 3.0


def choose_workers(
    client: Client, workers: tuple[int, int], timeout: float, avoid: Collection[str] = ()
) -> list[str]:
    """Wait for enough workers; take those with the least to do, in the order of their addresses.

    Of more than the least, only those that have nothing to do, and that come within a few seconds.
    """
    low, high = workers
    start = time.monotonic()
    while True:
        # nthreads() names every worker; scheduler_info() showed only five in some versions.
        available = set(client.nthreads()) - set(avoid)
        count = min(high, max(low, len(available if low == high else idle(client, avoid))))
        waited = time.monotonic() - start
        if len(available) >= count and (count == high or waited > min(timeout, _SETTLE)):
            break
        if len(available) < low and waited > timeout:
            raise NotEnoughWorkers(
                f"{low} ranks need {low} workers, but the cluster has {len(available)} after "
                f"waiting {timeout:g} s; start more workers, use "
                f"workers={max(1, len(available))}, or raise timeout= if some are still to come."
            )
        time.sleep(0.05)
    busy = client.processing()
    chosen = sorted(available, key=lambda address: (len(busy.get(address, ())), address))[:count]
    return sorted(chosen)


def idle(client: Client, avoid: Collection[str] = ()) -> set[str]:
    """Return the workers that have nothing to do."""
    busy = {worker for worker, tasks in client.processing().items() if tasks}
    return set(client.nthreads()) - busy - set(avoid)


@contextmanager
def hold_workers(client: Client, addresses: Sequence[str], timeout: float) -> Iterator[None]:
    """Hold all the workers: two runs with half the workers each would wait for ever."""
    deadline = time.monotonic() + timeout
    # Semaphores: unlike locks, Dask takes them back, half a minute after their driver was killed.
    held: list[Semaphore] = []
    try:
        for address in sorted(addresses):  # all runs in the same order, so one of two gets all
            place = Semaphore(
                name=f"course-lib-{address}", scheduler_rpc=client.scheduler, loop=client.loop
            )
            if not place.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise WorkersBusy(
                    f"the workers {', '.join(addresses)} did not become free within {timeout:g} s: "
                    "another run holds them, or one whose driver was killed, for half a minute "
                    "more. Wait for it to end, raise timeout=, or use another cluster."
                )
            held.append(place)
        yield
    finally:
        for place in held:
            with suppress(OSError):  # the scheduler is gone, and the lock with it
                place.release()


def equip_workers(client: Client, addresses: Sequence[str], timeout: float) -> None:
    """Give the workers their mailboxes."""
    code = "import course_lib.parallel.comm.dask_comm, course_lib.parallel.launch"
    workers = list(addresses)
    try:
        # Only the workers of this run: another one, that does not answer, is none of our business.
        imported = within(
            timeout, lambda: client.run(exec, code, workers=workers, on_error="return")
        )
        for worker, error in imported.items():
            if isinstance(error, ImportError):
                raise ParallelError(
                    f"worker {worker} cannot import course_lib ({error}); install the package, in "
                    "the same version, where the workers run.",
                    worker=worker,
                ) from error
        # Other errors are of workers that were just lost, which the watch will notice.
        within(timeout, lambda: client.run(_equip, workers=workers, on_error="ignore"))
    except TimeoutError:
        raise WorkersBusy(
            f"not all of the workers {', '.join(addresses)} answered within {timeout:g} s; if one "
            "is stuck, restart it: client.restart_workers([address])."
        ) from None


async def _equip(dask_worker: Worker) -> None:
    # A plugin that is there may be in use by another run: to replace it would lose messages.
    for name, make in ((PLUGIN, Mailboxes), (Orphans.name, Orphans)):
        if name not in dask_worker.plugins:
            await dask_worker.plugin_add(make(), name=name)


# A nanny asks politely first, and a frozen process does not hear.
_RESTART = 30.0


def revive(client: Client | str, stuck: Collection[str], timeout: float) -> list[str]:
    """Restart the workers that do not answer; return those that could not be restarted."""
    hopeless: list[str] = []
    patience = max(timeout, _RESTART)
    if not stuck:
        return hopeless
    with connect(client, workers=1, timeout=timeout) as own:
        for worker in stuck:
            # One that answers still computes: its rank will stop at its next message.
            if answers(own, worker) or worker not in own.nthreads():
                continue
            hopeless.append(worker)
            # A worker without a nanny has nobody to start it again.
            with suppress(ValueError, TimeoutError, AssertionError, OSError):
                within(2 * patience, partial(own.restart_workers, [worker], patience))
                hopeless.remove(worker)
    return hopeless


# A task that ends by itself goes from one of the first to "memory" or "error".
_RUNNING, _UNWANTED = ("executing", "long-running"), ("released", "cancelled", "forgotten")


class Orphans(WorkerPlugin):
    """Watches for ranks of this worker that were cancelled while they run."""

    name = "course-lib-orphans"

    def setup(self, worker: Worker) -> None:
        """Remember the worker."""
        self._worker = worker

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Hear of a task's change of state; the key of a rank names its run."""
        if start in _RUNNING and finish in _UNWANTED and str(key).startswith("rank-"):
            generation = str(key).split("-")[1]
            Mailboxes.of(self._worker).leave(
                generation, "the driver has cancelled this rank, or has gone away"
            )
