"""Which channel? The one that fits to where the ranks really run.

Ranks of one host share memory. Ranks of several hosts talk over the channel that brought them
together; where a host has several of them, these add in shared memory first, and one per host
talks to the others.

What travels over Dask's connections is encrypted on a ``tls://`` cluster. gloo and NCCL open
connections of their own, which are NOT: parameters and gradients cross the network in the clear,
whatever the address of the scheduler says. Use them in a network that you trust.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.parallel.channels.hierarchical import Hierarchical
from course_lib.parallel.channels.shared_memory import WITHOUT, SharedMemory
from course_lib.parallel.collectives import all_gather_object
from course_lib.parallel.comm import Comm, Counters
from course_lib.parallel.errors import NoSharedMemory
from course_lib.registry import lookup

CHANNELS = ("auto", "dask", "shared_memory", "hierarchical", "gloo", "nccl")


@contextmanager
def connected(base: Comm, channel: str = "auto", *, host: str | None = None) -> Iterator[Comm]:
    """Put a channel over the one that ranks have; all ranks must do so at the same time.

    Parameters
    ----------
    base : Comm
        The communicator below: all ranks can talk over it already.
    channel : {"auto", "dask", "shared_memory", "hierarchical", "gloo", "nccl"}
        ``"dask"`` is the communicator below itself, whatever it is. ``"auto"`` does with messages,
        and warns, where there is too little shared memory; by its name, that is an error.
    host : str, optional
        Where this rank runs; by default :func:`host_name`.

    Yields
    ------
    Comm
        To be used in its place until the block ends.

    Raises
    ------
    ParallelError
        If the channel asked for can not be had where the ranks run.
    """
    chosen = lookup("channel", channel, {name: name for name in CHANNELS})
    if base.size == 1 or chosen == "dask":
        yield base
        return
    hosts: list[str] = []
    if chosen in ("auto", "hierarchical"):
        hosts = all_gather_object(base, host or host_name())
    if channel == "auto" and (chosen := choose(hosts)) == "dask":
        yield base
        return
    try:
        over = _make(base, chosen, hosts, must=channel != "auto")
    except NoSharedMemory as error:
        if channel != "auto":
            raise
        # The same on all ranks: none of them can, if one can not.
        if base.rank == 0:
            warnings.warn(f"{error} {WITHOUT}", RuntimeWarning, stacklevel=2)
        yield base
        return
    try:
        yield over
    finally:
        over.close()


def choose(hosts: Sequence[str]) -> str:
    """Return the name of the channel for ranks on these hosts.

    Examples
    --------
    >>> choose(["a", "a"]), choose(["a", "b"]), choose(["a", "b", "a"]), choose(["a"])
    ('shared_memory', 'dask', 'hierarchical', 'dask')
    """
    distinct = len(set(hosts))
    if distinct == len(hosts):
        return "dask"
    return "shared_memory" if distinct == 1 else "hierarchical"


@dataclass(frozen=True)
class OnChannel:
    """A program of a rank, ``fn(comm, ...)``, that is given the channel of this name."""

    fn: Callable[..., Any]
    channel: str = "auto"

    def __post_init__(self) -> None:
        lookup("channel", self.channel, dict.fromkeys(CHANNELS))

    def __call__(self, comm: Comm, *args: Any, **kwargs: Any) -> Any:
        """Run the program."""
        with connected(comm, self.channel) as channel:
            channel.counters = Counters()  # what it took to get here is not the program's
            return self.fn(channel, *args, **kwargs)


def host_name() -> str:
    """Return what only processes that can share memory have in common, as far as can be told."""
    parts = [socket.gethostname()]
    # Hosts may have the same name: containers, copies of a virtual machine. The kernel's number is
    # new at each start of it; containers of one machine differ in their processes' namespace.
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            link = os.path.islink(path)
            parts.append(os.readlink(path) if link else Path(path).read_text("ascii").strip())
    return " ".join(parts)


def _make(base: Comm, channel: str, hosts: Sequence[str], *, must: bool) -> Any:
    if channel == "shared_memory":
        return SharedMemory(base, must=must)
    if channel == "hierarchical":
        return Hierarchical(base, hosts, must=must)
    from course_lib.parallel.channels.torch_comm import TorchComm

    return TorchComm(base, backend=channel)
