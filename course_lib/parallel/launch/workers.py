"""Before a run: choose its workers, hold them against other runs, give them what ranks need.

Chapter: data parallelism.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from distributed import Client, Future, Semaphore, Worker
from distributed.client import ClosedClientError
from distributed.diagnostics.plugin import WorkerPlugin

from course_lib.parallel.comm.dask_comm import PLUGIN, Mailboxes
from course_lib.parallel.doors import Among
from course_lib.parallel.errors import (
    ClusterUnreachable,
    NotEnoughWorkers,
    ParallelError,
    WorkersBusy,
)
from course_lib.parallel.launch.client import LimitedClient
from course_lib.parallel.launch.cluster import connect

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
    with suppress(OSError):
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

# How long a run that does not get its workers waits, at most, before it looks again.
_AGAIN = 0.5


@contextmanager
def hold_workers(
    client: LimitedClient, workers: tuple[int, int], timeout: float, avoid: Collection[str] = (),
    among: Among = None,
) -> Iterator[list[str]]:  # fmt: skip
    """Wait for enough workers that no other run holds; hold them until the block ends.

    Yields their addresses, in order. Those are taken that have the least to do; of more than the
    least number, only those that have nothing to do, and that come within a few seconds.
    """
    low, high = workers
    start = time.monotonic()
    pause = 0.05
    with ExitStack() as held:
        with _wish(client) as wish:
            while True:
                # nthreads() names every worker; scheduler_info() showed only five in some versions.
                threads = client.nthreads()
                available = eligible(client, among, threads) - set(avoid)
                waited = time.monotonic() - start
                if len(available) < high:
                    wish(high, threads.values())
                least = low if waited > min(timeout, _SETTLE) else high
                if len(available) >= least:
                    chosen = _take(client, available, (low, least, high), held)
                    if chosen and equip_workers(client, chosen):
                        break
                    held.close()
                if waited > timeout:
                    raise _too_few(low, available, timeout, among)
                time.sleep(pause)
                pause = min(_AGAIN, 1.5 * pause)
        yield sorted(chosen)


def eligible(client: LimitedClient, among: Among, workers: Iterable[str]) -> set[str]:
    """Return those of the workers that have the addresses, or the resources, that are wanted."""
    if among is None:
        return set(workers)
    if not isinstance(among, Mapping):
        return set(workers) & set(among)
    try:
        info = client.scheduler_info(n_workers=-1)  # in some versions of Dask five by default
    except TypeError:
        info = client.scheduler_info()
    there = {address: facts.get("resources", {}) for address, facts in info["workers"].items()}
    return {
        address
        for address in workers
        if all(there.get(address, {}).get(name, 0) >= least for name, least in among.items())
    }


def _too_few(low: int, available: Collection[str], timeout: float, among: Among) -> ParallelError:
    which = "" if among is None else f" of those with {among}"
    if len(available) < low:
        return NotEnoughWorkers(
            f"{low} ranks need {low} workers, but the cluster has {len(available)}{which} after "
            f"waiting {timeout:g} s (an adaptive one was asked to grow); start more workers, use "
            f"workers={max(1, len(available))}, or raise timeout= if some are still to come."
        )
    return WorkersBusy(
        f"{low} of the workers {', '.join(sorted(available))} did not become free within "
        f"{timeout:g} s: another run holds them, or one whose driver was killed, for half a "
        "minute more. Wait for it to end, raise timeout=, or use another cluster."
    )


class _Place(Semaphore):
    """What only one run can hold; unlike a lock, Dask takes it back if its driver was killed."""

    def __init__(self, client: LimitedClient, name: str) -> None:
        self._client = client
        super().__init__(  # type: ignore[no-untyped-call]
            name=f"course-lib-{name}", scheduler_rpc=client.scheduler, loop=client.loop
        )

    def sync(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.sync(*args, **kwargs)

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            yield
        finally:
            # If the scheduler is gone, the lease ends by itself.
            with suppress(OSError, ClusterUnreachable):
                self.release()  # type: ignore[no-untyped-call]


def _take(
    client: LimitedClient, available: set[str], numbers: tuple[int, int, int], held: ExitStack
) -> list[str]:
    """Hold the workers that a run gets, at least so many, or none; one run chooses at a time.

    Of the numbers, as many as the first may be busy; fewer than the second are not enough.
    """
    low, least, high = numbers
    choosing = _Place(client, "choice")
    if not choosing.acquire(timeout=_AGAIN):  # type: ignore[no-untyped-call]
        return []
    with choosing.held(), ExitStack() as mine:
        busy = client.processing()
        chosen: list[str] = []
        for address in sorted(available, key=lambda a: (len(busy.get(a, ())), a)):
            if len(chosen) == high or (len(chosen) >= low and busy.get(address)):
                break
            place = _Place(client, address)
            if place.acquire(timeout=0):  # type: ignore[no-untyped-call]
                mine.enter_context(place.held())
                chosen.append(address)
        # Some may have died meanwhile.
        if len(chosen) < least or not set(chosen) <= client.nthreads().keys():
            return []
        held.enter_context(mine.pop_all())
        return chosen


def free_workers(
    client: LimitedClient, avoid: Collection[str] = (), among: Among = None
) -> set[str]:
    """Return the workers that have nothing to do and that no run holds."""
    busy = {worker for worker, tasks in client.processing().items() if tasks}
    idle = eligible(client, among, client.nthreads()) - busy - set(avoid)
    return idle - held_workers(client, idle)


def held_workers(client: LimitedClient, addresses: Iterable[str]) -> set[str]:
    """Return those of the workers that a run holds."""
    scheduler: Any = client.scheduler
    asked = list(addresses)

    async def leases() -> Any:
        names = [f"course-lib-{address}" for address in asked]
        return await asyncio.gather(*(scheduler.semaphore_value(name=name) for name in names))

    return {address for address, n in zip(asked, client.sync(leases), strict=True) if n}


# Of tasks of which it has seen none, the scheduler expects that they take half a second, and an
# adaptive cluster has as many threads as can do in 5 s what waits.
_TASKS_PER_THREAD = 10


@contextmanager
def _wish(client: LimitedClient) -> Iterator[Any]:
    """Yield what tells an adaptive cluster, which looks at the tasks that wait, to grow."""
    waiting: list[Future[Any]] = []

    def wish(workers: int, threads: Collection[int]) -> None:
        each = max(1, round(sum(threads) / len(threads))) if threads else 1
        more = range(len(waiting), _TASKS_PER_THREAD * workers * each)
        if more:
            # They wait for what no worker has, and so take no time of those that are there.
            waiting.extend(
                client.map(
                    int, more, pure=False, key="course_lib_more_workers",
                    resources={"course-lib-more-workers": 1},
                )
            )  # fmt: skip

    try:
        yield wish
    finally:
        with suppress(ClosedClientError):
            client.cancel(waiting, force=True)


def equip_workers(client: LimitedClient, workers: list[str]) -> bool:
    """Give the workers their mailboxes; return whether all of them have one."""
    code = "import course_lib.parallel.comm.dask_comm, course_lib.parallel.launch"
    try:
        # Only the workers of this run: another one, that does not answer, is none of our business.
        imported = client.run(exec, code, workers=workers, on_error="return")
        for worker, error in imported.items():
            if isinstance(error, ImportError):
                raise ParallelError(
                    f"worker {worker} cannot import course_lib ({error}); install the package, in "
                    "the same version, where the workers run.",
                    worker=worker,
                ) from error
        equipped: dict[str, bool] = client.run(_equip, workers=workers, on_error="ignore")
    except TimeoutError:
        raise WorkersBusy(
            f"not all of the workers {', '.join(workers)} answered within {client.limit:g} s; if "
            "one is stuck, restart it: client.restart_workers([address])."
        ) from None
    return set(workers) <= equipped.keys()


async def _equip(dask_worker: Worker) -> bool:
    # A plugin that is there may be in use by another run: to replace it would lose messages.
    for name, make in ((PLUGIN, Mailboxes), (Orphans.name, Orphans)):
        if name not in dask_worker.plugins:
            await dask_worker.plugin_add(make(), name=name)
    return True


# A nanny asks politely first, and a frozen process does not hear.
_RESTART = 30.0


def revive(client: Client | str, stuck: Collection[str], timeout: float) -> list[str]:
    """Restart the workers that do not answer; return those that could not be restarted."""
    hopeless: list[str] = []
    patience = max(timeout, _RESTART)
    if not stuck:
        return hopeless
    with connect(client, workers=1, timeout=timeout) as own:
        own.limit = 2 * patience
        for worker in stuck:
            # One that answers still computes: its rank will stop at its next message.
            if answers(own, worker) or worker not in own.nthreads():
                continue
            hopeless.append(worker)
            # A worker without a nanny has nobody to start it again.
            with suppress(ValueError, TimeoutError, AssertionError, OSError):
                own.restart_workers([worker], patience)
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
