"""Some of the ranks as a gang of their own: they number themselves anew and talk among themselves.

A mesh of ranks needs this: gradients are added along one axis, activations along another, and each
group calls the collectives as if there were nobody else.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.comm.interface import Comm, Counters, Tag


def _of_base(name: str) -> Any:
    """Return an attribute that is the one of the communicator below, seen through this one."""
    return property(
        lambda self: getattr(self._base, name), lambda self, value: setattr(self._base, name, value)
    )


class Layered:
    """A communicator that leaves everything to the one below, its `base`; to be derived from."""

    timeout: float = _of_base("timeout")
    step: int | None = _of_base("step")
    counters: Counters = _of_base("counters")

    def __init__(self, base: Comm) -> None:
        self._base = base
        self.rank = base.rank
        self.size = base.size

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


class SubComm(Layered):
    """A communicator restricted to some of its ranks; works on any channel, needs no message.

    It sends through the communicator that it was made of: counters, step and timeout are those of
    the whole, errors speak of the ranks of the whole, and to abort stops the whole run.

    Parameters
    ----------
    comm : Comm
        The communicator of all ranks.
    ranks : sequence of int
        Which of them, in the order of their new numbers; this rank must be one of them. Every
        member must give the same.
    name : str
        Put before each tag, so that messages of groups that share two ranks are told apart.

    Raises
    ------
    ValueError
        If the ranks are not distinct ranks of `comm`, or this rank is not among them.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.collectives import all_reduce
    >>> from course_lib.parallel.comm import run_threads
    >>> def add_among_odd_and_even(comm):
    ...     group = SubComm(comm, range(comm.rank % 2, comm.size, 2), "parity")
    ...     return all_reduce(group, np.array([comm.rank])).item()
    >>> run_threads(5, add_among_odd_and_even)  # 0 + 2 + 4 and 1 + 3
    [6, 4, 6, 4, 6]
    """

    def __init__(self, comm: Comm, ranks: Sequence[int], name: str) -> None:
        super().__init__(comm)
        self._ranks, self._name = list(map(int, ranks)), name
        known = set(self._ranks)
        if len(known) != len(self._ranks) or not known <= set(range(comm.size)):
            raise ValueError(
                f"SubComm: expected distinct ranks in 0..{comm.size - 1}, got {self._ranks}."
            )
        if comm.rank not in known:
            raise ValueError(
                f"SubComm: rank {comm.rank} is not one of {self._ranks}; only members of a group "
                "make it."
            )
        self.rank = self._ranks.index(comm.rank)
        self.size = len(self._ranks)

    def send(self, dst: int, tag: Tag, array: Array) -> None:
        """Send an array to rank `dst` of this group."""
        self._base.send(self._whole(dst), f"{self._name}:{tag}", array)

    def recv(self, src: int, tag: Tag, *, timeout: float | None = None) -> Array:
        """Wait for the next array with this tag from rank `src` of this group."""
        return self._base.recv(self._whole(src), f"{self._name}:{tag}", timeout=timeout)

    def recv_any(
        self, sources: Container[int], tag: Tag, *, timeout: float | None = None
    ) -> tuple[int, Array]:
        """Wait for the next array with this tag from any of these ranks of this group."""
        whole = [r for rank, r in enumerate(self._ranks) if rank in sources]
        source, array = self._base.recv_any(whole, f"{self._name}:{tag}", timeout=timeout)
        return self._ranks.index(source), array

    def _whole(self, rank: int) -> int:
        if not 0 <= rank < self.size:
            raise ValueError(
                f"the group {self._name!r} has no rank {rank}: expected one in "
                f"0..{self.size - 1}, which are the ranks {self._ranks} of the whole."
            )
        return self._ranks[rank]
