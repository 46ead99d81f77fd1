"""A Dask client of our own: each of its calls has an end, and says so if the scheduler is lost.

Dask's calls wait for a scheduler that is stopped, or whose network is, as long as it likes to be.

Chapter: data parallelism.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from distributed import Client, LocalCluster, Security
from distributed.client import ClosedClientError

from course_lib.parallel.clock import within
from course_lib.parallel.errors import ClusterUnreachable, SchedulerLost

# Seconds that a scheduler, which does not compute, may take to answer.
PATIENCE = 5.0


class LimitedClient(Client):
    """A client whose calls end, after `limit` seconds; or with SchedulerLost, if it is."""

    limit: float | None = None
    _lost: SchedulerLost | None = None

    def __init__(
        self, address: str | LocalCluster, security: Security | None, timeout: float
    ) -> None:
        try:
            # set_as_default=False: the user's dask.compute() must not come to this client.
            super().__init__(  # type: ignore[no-untyped-call]
                address, security=security, timeout=timeout, set_as_default=False
            )
        except BaseException:
            # Python would do it at its end, in vain without the event loop, and print a traceback.
            self._leave()
            raise
        self.limit = max(timeout, PATIENCE)
        self.address = str(self.scheduler.address)  # type: ignore[union-attr]

    def sync(
        self, func: Any, *args: Any, asynchronous: bool | None = None,
        callback_timeout: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Wait for what a coroutine of Dask returns: all that this client does comes by here."""
        if self._lost is not None:
            raise self._lost  # what is still to be cleaned up would only wait in vain
        limit = self.limit if callback_timeout is None else callback_timeout
        try:
            return super().sync(  # type: ignore[no-untyped-call]
                func, *args, asynchronous=asynchronous, callback_timeout=limit, **kwargs
            )
        except Exception:
            if self.limit is not None:  # connected
                self.check()
            raise

    def check(self, patience: float = PATIENCE) -> None:
        """Raise SchedulerLost if the scheduler does not answer within so many seconds."""
        scheduler: Any = self.scheduler
        how = "was lost: its process has ended, or its machine or network is gone"
        with contextlib.suppress(OSError, RuntimeError):
            try:
                if self.status == "running":
                    super().sync(  # type: ignore[no-untyped-call]
                        scheduler.echo, data="", callback_timeout=patience
                    )
                    return
            except TimeoutError:
                how = f"did not answer for {patience:g} s; it, its machine or network is frozen"
        self._lost = SchedulerLost(
            f"the scheduler at {self.address} {how}. Start the cluster again; a training with "
            "checkpoint=directory then goes on from its last checkpoint."
        )
        raise self._lost

    def _leave(self) -> None:
        with contextlib.suppress(Exception):
            self.close(timeout=PATIENCE)
        self.status = "closed"


@contextlib.contextmanager
def opened(
    address: str | LocalCluster, security: Security | None, timeout: float
) -> Iterator[LimitedClient]:
    """Open a client, and close it at the end, whatever has become of the scheduler."""
    silent = f"it accepts connections, but did not answer within {timeout:g} s"
    too_late = threading.Event()

    def make() -> LimitedClient:
        client = LimitedClient(address, security, timeout)
        if too_late.is_set():  # a scheduler that has woken up would keep it for good
            client._leave()
        return client

    try:
        # Dask's own timeout does not cover a server that accepts and then says nothing, such as
        # the dashboard: its port is next to the scheduler's, and easily mistaken.
        client = within(timeout + 1.0, make, silent)
    except Exception as error:
        too_late.set()
        raise ClusterUnreachable(
            f"no Dask scheduler could be reached at {address!r}: {error}. Expected an address "
            "such as tcp://127.0.0.1:8786 (not the dashboard's); start one with `dask scheduler`, "
            "or leave out client= for a private cluster."
        ) from error
    try:
        yield client
    except ClosedClientError:  # Dask has given the scheduler up between two calls
        client.check()
        raise
    finally:
        client._leave()


_DASKS = ("distributed", "tornado", "asyncio")


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.name.partition(".")[0] not in _DASKS


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask from printing tracebacks: what goes wrong in a run is an error, reported once.

    What is logged into files is left alone.
    """
    # A filter of our own: a level, set and set back, would be left wrong by runs that overlap.
    silence = _Quiet()
    loggers = [logging.getLogger(name) for name in ("", *_DASKS, "distributed.client")]
    found = {handler for logger in loggers for handler in logger.handlers} | {logging.lastResort}
    places = [
        handler
        for handler in found
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
    ]
    for place in places:
        place.addFilter(silence)
    try:
        yield
    finally:
        for place in places:
            place.removeFilter(silence)
