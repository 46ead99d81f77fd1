"""A client for a run: of the cluster that the user has, or of a private one on this machine.

The private cluster is one process per rank, one thread each, reachable from this machine only. It
is closed with the run, and leaves the environment of this process as it was.

Chapter: data parallelism.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dask import config
from distributed import Client, LocalCluster, get_worker
from distributed.system import MEMORY_LIMIT
from distributed.utils import LoopRunner

from course_lib.parallel.doors import check_timeout
from course_lib.parallel.errors import ClusterUnreachable, ParallelError
from course_lib.parallel.launch.client import LimitedClient, opened, quiet
from course_lib.parallel.launch.spawning import (
    GUARD,
    check_can_start,
    interrupts_held,
    known_start_method,
)

# Seconds; a worker that does not hear is killed long before.
_CLOSING = 60.0


def refuse_inside_task() -> None:
    """Raise if this is a Dask task: it would wait for workers while it blocks one."""
    try:
        worker = get_worker()
    except ValueError:
        return
    raise ParallelError(
        f"a parallel run cannot be started from inside a Dask task (on {worker.address}): the "
        "task would wait for workers while it blocks one. Start it from the main program."
    )


@contextlib.contextmanager
def connect(
    client: Client | str | None, *, workers: int, timeout: float
) -> Iterator[LimitedClient]:
    """Open a client of our own, and close it, and the private cluster if any, at the end.

    Not the one given: events arrive per client and topic, and the user may listen too. The address
    of a scheduler (``tcp://host:8786``) may be ``tls://``, with certificates from Dask's
    configuration; None is a private cluster of this machine, with so many workers.
    """
    refuse_inside_task()
    timeout = check_timeout(timeout, where="connect")
    address: Any = client
    security = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        if client is None:
            address = stack.enter_context(_private_cluster(workers))
        elif isinstance(client, str):
            _check_certificates(client)
        elif isinstance(client, Client):
            if client.asynchronous:
                raise TypeError(
                    "client must not be asynchronous: the run would block the event loop that it "
                    "lives in. Open one with Client(...) without asynchronous=True."
                )
            # One that has lost its scheduler is "connecting"; so can we, for as long.
            if client.scheduler is None or client.status not in ("running", "connecting"):
                raise ClusterUnreachable(
                    f"the client given is not connected (status {client.status!r}); open a new one."
                )
            address, security = str(client.scheduler.address), client.security
        else:
            raise TypeError(
                "client must be a distributed.Client, the address of a scheduler, or None for a "
                f"private cluster; got {type(client).__name__}."
            )
        yield stack.enter_context(opened(address, security, timeout))


def _check_certificates(address: str) -> None:
    files = (config.get(f"distributed.comm.tls.{n}", None) for n in ("ca-file", "client.cert"))
    if address.startswith("tls://") and not all(files):
        raise ClusterUnreachable(
            f"no Dask scheduler could be reached at {address!r}: it expects this client to show a "
            "certificate, and none is known. Set distributed.comm.tls.ca-file, .client.cert and "
            ".client.key in Dask's configuration, or pass Client(address, security=Security(...)) "
            "instead of the address; on the command line, give --tls-ca, --tls-cert and --tls-key."
        )


# What Dask's processes need of them, each.
_SEMAPHORES = 8


def _check_semaphores(workers: int) -> None:
    """Raise if there is no room for them: Dask would only say that a process did not start."""
    context = multiprocessing.get_context("spawn")
    try:
        _ = [context.Lock() for _ in range(_SEMAPHORES * workers)]
    except OSError as error:
        raise ParallelError(
            f"the {workers} worker processes can not be started: each needs {_SEMAPHORES} "
            f"semaphores, which Linux keeps in /dev/shm, and they can not be made ({error}). Free "
            "or enlarge /dev/shm (in Docker: --shm-size=1g), or mount it so that it can be "
            "written; threads, comm='inprocess', do without."
        ) from error


@contextlib.contextmanager
def _private_cluster(workers: int) -> Iterator[LocalCluster]:
    check_can_start()
    _check_semaphores(workers)
    before = dict(os.environ)
    with contextlib.ExitStack() as stack:
        stack.enter_context(known_start_method())
        # All worker processes are started by this thread, and by none else.
        with interrupts_held():
            runner = LoopRunner()
            runner.start()
        stack.callback(runner.stop)
        cluster = stack.enter_context(_local_cluster(workers, before, runner.loop))
        yield cluster


@contextlib.contextmanager
def _local_cluster(workers: int, before: Mapping[str, str], loop: Any) -> Iterator[LocalCluster]:
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            # A fifth is left to the driver; the default would promise each worker more than its
            # share when there are more workers than cores.
            memory_limit=int(0.8 * MEMORY_LIMIT / workers),
            # The default shows the dashboard to the network, and so does None.
            dashboard_address="127.0.0.1:0",
            # What goes wrong is reported as an exception, once.
            silence_logs=logging.CRITICAL,
            loop=loop,
        )
    except (RuntimeError, OSError) as error:
        raise ParallelError(
            f"the {workers} worker processes did not start ({error}). Most often the reason is "
            f"this. {GUARD}"
        ) from error
    finally:
        # Dask leaves in this process what it sets for the workers: OMP_NUM_THREADS=1 and more.
        names = [n for n in os.environ.keys() | before.keys() if os.environ.get(n) != before.get(n)]
        _restore(before, names)
    try:
        # Dask gives a lost worker up when another of this name is missing 15 s later: in a run
        # that survives many losses, the second one may just be on its way back.
        with config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}):
            yield cluster
    finally:
        with contextlib.suppress(TimeoutError):
            cluster.close(timeout=_CLOSING)
        _restore(before, names)  # a worker that was restarted has left it again


def _restore(before: Mapping[str, str], names: Iterable[str]) -> None:
    """Give environment variables the value that they had."""
    for name in names:
        if name in before:
            os.environ[name] = before[name]
        else:
            os.environ.pop(name, None)
