"""What a communicator is, for a rank: the interface, and what it counts.

Chapter: data parallelism.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from course_lib.arrays import Array

Tag: TypeAlias = int | str
"""Tells messages between the same two ranks apart."""

# Called with each message that a rank reports.
Report: TypeAlias = Callable[[Mapping[str, Any]], None]


@dataclass
class Counters:
    """What a rank has sent, and how long it has waited.

    A reduction in which a channel adds by its own means (:class:`Reduces`) is not made of messages
    and not counted as such.

    Attributes
    ----------
    messages : int
        Messages sent.
    bytes : int
        Bytes of array data sent, without headers.
    waiting : float
        Seconds spent waiting for other ranks: for a message that was not there yet, or until all
        had come to a reduction of the channel's own.

    Examples
    --------
    >>> Counters(messages=2, bytes=16)
    Counters(messages=2, bytes=16, waiting=0.0)
    """

    messages: int = 0
    bytes: int = 0
    waiting: float = 0.0


class Comm(Protocol):
    """One rank's view of the gang.

    Attributes
    ----------
    rank, size : int
        Who this is, from 0, and how many there are.
    timeout : float
        Seconds that a ``send`` or ``recv`` waits unless told otherwise.
    step : int or None
        The training step under way, for error messages; set by whoever runs the steps.
    counters : Counters
        What this rank has sent so far.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.comm import run_threads
    >>> def greet(comm: Comm) -> float:
    ...     comm.send(1 - comm.rank, "hello", np.array([comm.rank + 0.5]))
    ...     return float(comm.recv(1 - comm.rank, "hello")[0])
    >>> run_threads(2, greet)
    [1.5, 0.5]
    """

    rank: int
    size: int
    timeout: float
    step: int | None
    counters: Counters

    def send(self, dst: int, tag: Tag, array: Array) -> None:
        """Send an array of numbers, of any shape, to rank `dst`."""
        ...

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """Wait for the next array that rank `src` sent with this tag."""

    def recv_any(
        self, sources: Container[int], tag: Tag, *, timeout: float | None = None
    ) -> tuple[int, Array]:
        """Wait for the next array with this tag from any of the sources: who sent it, and what."""

    def buffer(self, n: int, dtype: Any) -> Array:
        """Make an array (n,) of zeros where this channel reduces fastest.

        A gradient computed straight into it, ``net.loss_and_grad(..., out=buffer)``, and reduced
        in place, ``all_reduce(comm, buffer)``, is never copied on a channel of shared memory.
        """

    def report(self, message: Mapping[str, Any]) -> None:
        """Hand a small dictionary of numbers and strings to whoever started the run."""

    def abort(self, reason: str) -> None:
        """Stop all ranks: their present or next ``send`` or ``recv`` raises ``Aborted``."""

    def check(self) -> None:
        """Raise ``Aborted`` if the run has been stopped; for whoever computes or waits for long."""


class Reduces(ABC):
    """A channel that can add the arrays of all ranks by other means than messages.

    :func:`~course_lib.parallel.collectives.all_reduce` with ``algorithm="auto"`` uses it.
    """

    @abstractmethod
    def native_all_reduce(self, array: Array) -> None:
        """Replace each rank's array by the sum over all ranks, in place.

        A barrier, too: no rank leaves before all have come.
        """
