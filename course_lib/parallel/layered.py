"""A channel over another one: single messages take the lower one, and something else is faster.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.comm import Comm, Counters, Tag


class Layered:
    """A communicator that leaves everything to the one below; to be derived from.

    Parameters
    ----------
    base : Comm
        The communicator below. Counters, step and timeout are its own, seen through this one.
    """

    def __init__(self, base: Comm) -> None:
        self._base = base
        self.rank = base.rank
        self.size = base.size

    @property
    def timeout(self) -> float:
        """Seconds that a wait may take."""
        return self._base.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._base.timeout = seconds

    @property
    def step(self) -> int | None:
        """The training step under way."""
        return self._base.step

    @step.setter
    def step(self, step: int | None) -> None:
        self._base.step = step

    @property
    def counters(self) -> Counters:
        """What this rank has sent, and how long it has waited."""
        return self._base.counters

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self._base.counters = counters

    def send(self, dst: int, tag: Tag, array: Array) -> None:
        """See :meth:`Comm.send <course_lib.parallel.comm.Comm.send>`."""
        self._base.send(dst, tag, array)

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """See :meth:`Comm.recv <course_lib.parallel.comm.Comm.recv>`."""
        return self._base.recv(src, tag, timeout=timeout)

    def recv_any(
        self, sources: Container[int], tag: Tag, *, timeout: float | None = None
    ) -> tuple[int, Array]:
        """See :meth:`Comm.recv_any <course_lib.parallel.comm.Comm.recv_any>`."""
        return self._base.recv_any(sources, tag, timeout=timeout)

    def buffer(self, n: int, dtype: Any) -> Array:
        """See :meth:`Comm.buffer <course_lib.parallel.comm.Comm.buffer>`."""
        return np.zeros(n, dtype)

    def report(self, message: Mapping[str, Any]) -> None:
        """See :meth:`Comm.report <course_lib.parallel.comm.Comm.report>`."""
        self._base.report(message)

    def abort(self, reason: str) -> None:
        """See :meth:`Comm.abort <course_lib.parallel.comm.Comm.abort>`."""
        self._base.abort(reason)

    def check(self) -> None:
        """See :meth:`Comm.check <course_lib.parallel.comm.Comm.check>`."""
        self._base.check()
