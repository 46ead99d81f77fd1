"""Ranks on the workers of a Dask cluster talk over the connections that Dask has anyway.

A plugin gives every worker a mailbox per run. A message is one call to the peer worker's event
loop, as in Dask's own shuffle (``distributed.shuffle``): no port to choose, no firewall to open,
TLS where the cluster has it. Messages carry the name of the run (`generation`), so what a
finished or aborted run has left on the way can never enter the next one.

Chapter: data parallelism.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from distributed import Worker
from distributed.comm.addressing import get_address_host
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.protocol.serialize import to_serialize

from course_lib.arrays import Array
from course_lib.parallel.comm.interface import Tag
from course_lib.parallel.comm.mailbox import Mailbox, MailboxComm
from course_lib.parallel.errors import Aborted, CommTimeout, WorkerLost, at_step

DELIVER, ABORT, RESULT = "course_lib_deliver", "course_lib_abort", "course_lib_result"

PLUGIN = "course-lib-mailboxes"

# A name of a run takes 32 bytes; messages of a run older than the last 1000 are not expected.
_REMEMBERED = 1000


class Mailboxes(WorkerPlugin):
    """The mailboxes of one worker, by generation."""

    name = PLUGIN
    idempotent = True  # registering again must not throw away the mailboxes of a run under way

    @staticmethod
    def of(worker: Worker) -> Mailboxes:
        """Return the mailboxes of a worker, which :func:`gang` has given it."""
        plugin = worker.plugins[PLUGIN]
        assert isinstance(plugin, Mailboxes)
        return plugin

    def setup(self, worker: Worker) -> None:
        """Make the worker answer to the three messages of this file."""
        self._lock = threading.Lock()
        self._open: dict[str, Mailbox] = {}
        self._begun: set[str] = set()
        self._ended: dict[str, str] = {}
        self._worker = worker
        worker.handlers[DELIVER] = self._deliver
        worker.handlers[ABORT] = self._abort
        worker.handlers[RESULT] = self._result

    def enter(self, generation: str) -> Mailbox:
        """Return the mailbox of a run, or raise Aborted if the run has ended."""
        with self._lock:
            if generation in self._ended:
                raise Aborted(self._ended[generation])
            return self._open.setdefault(generation, Mailbox())

    def begin(self, generation: str) -> None:
        """Note that all ranks of a run have started."""
        self._begun.add(generation)

    def leave(self, generation: str, reason: str) -> None:
        """Close the mailbox of a run for good."""
        with self._lock:
            mailbox = self._open.pop(generation, None)
            self._begun.discard(generation)
            self._ended.setdefault(generation, reason)
            while len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]
        if mailbox is not None:
            mailbox.abort(reason)
            mailbox.close()

    async def _deliver(self, generation: str, source: int, tag: Tag, array: Array) -> bool:
        # The first message may come before this worker's own rank has started.
        try:
            return self.enter(generation).put(source, tag, array)
        except Aborted:
            return False

    async def _abort(self, generation: str, reason: str) -> str:
        self.leave(generation, reason)
        return "OK"

    async def _result(self, generation: str, key: str) -> dict[str, Any]:
        """Tell whether all ranks have started; and hand over what this one returned, if it has."""
        if key in self._worker.data:
            return {"started": True, "result": to_serialize(self._worker.data[key])}
        return {"started": generation in self._begun}


class DaskComm(MailboxComm):
    """A rank that is a task on a Dask worker; made by :func:`~course_lib.parallel.gang`.

    Parameters
    ----------
    worker : Worker
        The worker that this rank runs on; must have the plugin :class:`Mailboxes`.
    generation : str
        The name of the run.
    rank : int
        Which rank this is.
    addresses : sequence of str
        The worker of each rank.
    timeout : float
        Seconds that a wait may take.
    """

    def __init__(
        self, worker: Worker, generation: str, rank: int, addresses: Sequence[str], timeout: float
    ) -> None:
        mailbox = Mailboxes.of(worker).enter(generation)
        super().__init__(rank, len(addresses), mailbox, timeout)
        self._worker = worker
        self._generation = generation
        self._addresses = addresses

    @property
    def host(self) -> str:
        """The address of this rank's machine, as the other workers know it."""
        return str(get_address_host(self._addresses[self.rank]))

    def _call(self, address: str, op: str, **message: Any) -> Future[Any]:
        async def call() -> Any:
            return await getattr(self._worker.rpc(address), op)(
                generation=self._generation, **message
            )

        loop = self._worker.loop.asyncio_loop  # type: ignore[attr-defined]
        return asyncio.run_coroutine_threadsafe(call(), loop)

    def _deliver(self, dst: int, tag: Tag, array: Array) -> bool:
        address = self._addresses[dst]
        if address.startswith("inproc://"):
            # Workers that are threads of one process pass objects, not bytes.
            array = array.copy()
        # Waiting for the peer's answer keeps messages in order, and the array untouched while it
        # is on the way, so that it needs no copy.
        reply = self._call(address, DELIVER, source=self.rank, tag=tag, array=to_serialize(array))
        reply.add_done_callback(lambda _: self._mailbox.wake())
        try:
            done = self._mailbox.wait_until(reply.done, self.timeout)
        finally:
            reply.cancel()
        if not done:
            raise CommTimeout(
                f"rank {self.rank} could not hand {tag} to rank {dst} on {address} within "
                f"{self.timeout:g} s{at_step(self.step)}: its worker does not answer.",
                rank=dst,
                worker=address,
                step=self.step,
            )
        try:
            return bool(reply.result())
        except OSError as error:
            raise WorkerLost(
                f"rank {self.rank} lost the connection to rank {dst} on {address} while sending "
                f"{tag}{at_step(self.step)}: {error}",
                rank=dst,
                worker=address,
                step=self.step,
            ) from error

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """Wait for the next array that rank `src` sent with this tag."""
        array = super().recv(src, tag, timeout=timeout)
        # Dask may hand over a view of the bytes received, which cannot be written to.
        return array if array.flags.writeable else array.copy()

    def report(self, message: Mapping[str, Any]) -> None:
        """Hand a small dictionary to the driver, through the scheduler's event log."""
        try:
            packed = pickle.dumps(dict(message))
        except Exception as error:
            raise TypeError(
                f"rank {self.rank}: a report must be a dictionary of plain values, which can be "
                f"sent to another process; got {message!r} ({error})."
            ) from error
        self.tell_driver({"report": packed})

    def tell_driver(self, message: Mapping[str, Any]) -> None:
        """Log an event that the driver of this run listens to."""
        self._worker.log_event(topic(self._generation), dict(message))

    def abort(self, reason: str) -> None:
        """Stop all ranks at their present or next wait."""
        reason = sendable(reason)
        for peer, address in enumerate(self._addresses):
            if peer != self.rank:
                self._call(address, ABORT, reason=reason)
        self._mailbox.abort(reason)


def topic(generation: str) -> str:
    """Return the name under which the reports of a run are logged."""
    return f"course-lib-{generation}"


def unpack(report: bytes) -> dict[str, Any]:
    """Return the dictionary that a rank has reported."""
    # Pickled, because what Dask itself can not encode (a file's name that is not UTF-8, a number of
    # NumPy) breaks the worker's connection, and the scheduler removes the worker.
    message: dict[str, Any] = pickle.loads(report)  # nosec B301 # from our own ranks
    return message


def sendable(text: str) -> str:
    """Return a text as Dask can send it: the name of a file in it may be no text at all."""
    return text.encode("utf-8", "backslashreplace").decode()
