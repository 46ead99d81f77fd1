"""Ranks on several hosts: add in shared memory on each host, then among one rank per host.

Between hosts the network is slow, and shared by the ranks of a host; so each sum crosses it once
per host, not once per rank.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from course_lib.arrays import Array
from course_lib.parallel.channels.shared_memory import SharedMemory
from course_lib.parallel.collectives import ALL_REDUCE, all_agree
from course_lib.parallel.comm import Comm, Layered, Reduces, SubComm
from course_lib.parallel.errors import NoSharedMemory
from course_lib.registry import lookup


class Hierarchical(Layered, Reduces):
    """Shared memory inside a host, one leader per host across hosts.

    The sum is ((a0 + a1) + ...) over the ranks of each host, then that of the hosts' sums by
    `algorithm`.

    Parameters
    ----------
    base : Comm
        A communicator of all ranks; all must make their Hierarchical at the same time.
    hosts : sequence of str
        The host of each rank, the same on every rank.
    algorithm : {"ordered", "tree", "ring", "recursive_doubling"}
        How the leaders add.
    must : bool
        See :class:`SharedMemory`.

    Raises
    ------
    ValueError
        If there are not as many hosts as ranks, or the algorithm is not known.
    NoSharedMemory
        If ranks of one host can not share memory.

    References
    ----------
    Jia et al. 2018 (hierarchical all-reduce).

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.collectives import all_reduce
    >>> from course_lib.parallel.comm import run_threads
    >>> def add(comm):
    ...     hierarchical = Hierarchical(comm, ["a", "a", "b", "b"])
    ...     return all_reduce(hierarchical, np.array([comm.rank])).item()
    >>> run_threads(4, add)
    [6, 6, 6, 6]
    """

    def __init__(
        self, base: Comm, hosts: Sequence[str], algorithm: str = "ordered", *, must: bool = True
    ) -> None:
        super().__init__(base)
        if len(hosts) != base.size:
            raise ValueError(
                f"Hierarchical: expected the host of each of {base.size} ranks, got {len(hosts)}."
            )
        self._reduce = lookup("all_reduce algorithm", algorithm, ALL_REDUCE)
        own = [rank for rank, host in enumerate(hosts) if host == hosts[base.rank]]
        leaders = sorted({list(hosts).index(host) for host in hosts})
        self._leaders = SubComm(base, leaders, "leaders") if base.rank in leaders else None
        problem: NoSharedMemory | None = None
        try:
            self._local = SharedMemory(SubComm(base, own, "host"), must=must)
        except NoSharedMemory as error:
            problem = error
        if not all_agree(base, problem is None):
            raise problem or NoSharedMemory(
                f"rank {base.rank}: the ranks of another host can not share memory, so none use "
                "it; choose another channel, such as comm='dask'.",
                rank=base.rank,
            )

    def buffer(self, n: int, dtype: Any) -> Array:
        """Make an array (n,) of zeros in the memory that the ranks of this host share."""
        return self._local.buffer(n, dtype)

    def native_all_reduce(self, array: Array) -> None:
        """See :class:`~course_lib.parallel.comm.Reduces`; `array` must be C-contiguous."""
        self._local.native_all_reduce(array)
        if self._leaders is not None:
            self._reduce(self._leaders, array)
        else:
            # Then the second sum is the leader's array, to the bit: of the two zeros, -0.0 is the
            # one that changes nothing, -0.0 + 0.0 being 0.0.
            array[...] = complex(-0.0, -0.0) if array.dtype.kind == "c" else -0.0
        self._local.native_all_reduce(array)

    def close(self) -> None:
        """Leave: other ranks need not wait for this one any more."""
        self._local.close()
