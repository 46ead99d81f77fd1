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
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dask import config
from distributed import Client, LocalCluster, Security, get_worker
from distributed.system import MEMORY_LIMIT

from course_lib.parallel.errors import ClusterUnreachable, ParallelError

T = TypeVar("T")

GUARD = (
    "The main script starts worker processes, and each of them runs the script again to learn its "
    "functions. Put the part that starts the training under\n\n"
    '    if __name__ == "__main__":\n        main()\n\n'
    "so that only the first process runs it."
)
"""What to do about a script that starts itself again."""


def check_main_script() -> None:
    """Raise if the worker processes would run the training again instead of starting.

    A new process imports the main script first. While it does, the standard library has marked
    it as inheriting; starting further processes from there would go on for ever.
    """
    inheriting = getattr(multiprocessing.current_process(), "_inheriting", False)
    script = getattr(sys.modules["__main__"], "__file__", None)  # a notebook has none
    text = ""
    with contextlib.suppress(OSError, TypeError):
        text = Path(script or "").read_text(encoding="utf-8", errors="ignore")
    if inheriting or (text and "__main__" not in text):
        raise ParallelError(GUARD)


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
def connect(client: Client | str | None, *, workers: int, timeout: float) -> Iterator[Client]:
    """Open a client of our own, and close it, and the private cluster if any, at the end.

    Not the one given: events arrive per client and topic, and the user may listen too. The address
    of a scheduler (``tcp://host:8786``) may be ``tls://``, with certificates from Dask's
    configuration; None is a private cluster of this machine, with so many workers.
    """
    refuse_inside_task()
    if client is None:
        with _private_cluster(workers) as cluster, _open(cluster, None, timeout) as own:
            yield own
    elif isinstance(client, str):
        _check_certificates(client)
        with _open(client, None, timeout) as own:
            yield own
    elif isinstance(client, Client):
        if client.asynchronous:
            raise TypeError(
                "client must not be asynchronous: the run would block the event loop that it "
                "lives in. Open one with Client(...) without asynchronous=True."
            )
        if client.scheduler is None or client.status != "running":
            raise ClusterUnreachable(
                f"the client given is not connected (status {client.status!r}); open a new one."
            )
        address = str(client.scheduler.address)
        with _open(address, client.security, timeout) as own:
            yield own
    else:
        raise TypeError(
            "client must be a distributed.Client, the address of a scheduler, or None for a "
            f"private cluster; got {type(client).__name__}."
        )


def _check_certificates(address: str) -> None:
    files = (config.get(f"distributed.comm.tls.{n}", None) for n in ("ca-file", "client.cert"))
    if address.startswith("tls://") and not all(files):
        raise ClusterUnreachable(
            f"no Dask scheduler could be reached at {address!r}: it expects this client to show a "
            "certificate, and none is known. Set distributed.comm.tls.ca-file, .client.cert and "
            ".client.key in Dask's configuration, or pass Client(address, security=Security(...)) "
            "instead of the address; on the command line, give --tls-ca, --tls-cert and --tls-key."
        )


def within(seconds: float, call: Callable[[], T], late: str = "") -> T:
    """Return what a call returns, or raise TimeoutError; for calls of Dask that have no limit."""
    made: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            made.put(call())
        except Exception as error:
            made.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = made.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(late) from None
    if isinstance(result, Exception):
        raise result
    return result


@contextlib.contextmanager
def _open(
    address: str | LocalCluster, security: Security | None, timeout: float
) -> Iterator[Client]:
    # set_as_default=False: the user's dask.compute() must not come to this client.
    make = partial(_Client, address, security=security, timeout=timeout, set_as_default=False)
    silent = f"it accepts connections, but did not answer within {timeout:g} s"
    try:
        # Dask's own timeout does not cover a server that accepts and then says nothing, such as
        # the dashboard: its port is next to the scheduler's, and easily mistaken.
        client = within(timeout + 1.0, make, silent)
    except Exception as error:
        raise ClusterUnreachable(
            f"no Dask scheduler could be reached at {address!r}: {error}. Expected an address "
            "such as tcp://127.0.0.1:8786 (not the dashboard's); start one with `dask scheduler`, "
            "or leave out client= for a private cluster."
        ) from error
    with client:
        yield client


class _Client(Client):
    """A client that is closed at once if it can not connect."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        except BaseException:
            # Python would do it at its end, in vain without the event loop, and print a traceback.
            with contextlib.suppress(Exception):
                self.close(timeout=1.0)  # type: ignore[no-untyped-call]
            self.status = "closed"
            raise


@contextlib.contextmanager
def _private_cluster(workers: int) -> Iterator[LocalCluster]:
    check_main_script()
    before = dict(os.environ)
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
        )
    except RuntimeError as error:
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
        with config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}), cluster:
            yield cluster
    finally:
        _restore(before, names)  # a worker that was restarted has left it again


def _restore(before: Mapping[str, str], names: Iterable[str]) -> None:
    """Give environment variables the value that they had."""
    for name in names:
        if name in before:
            os.environ[name] = before[name]
        else:
            os.environ.pop(name, None)
