"""PyTorch's process groups as a channel: gloo between processors, NCCL between GPUs.

The ranks find each other through a store that rank 0 opens on a free port; its address travels over
the communicator below. Store and library listen where the ranks' own communicator does, and nowhere
else; but neither asks who connects, and nothing is encrypted. The environment, which belongs to the
whole process and outlives the run, is what it was when the ranks are connected. Inside,
``torch.distributed`` is ready for use: a ``DistributedDataParallel`` finds its default group.

Chapter: data parallelism.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

# Its functions take the group that is open when it is imported for their default, and keep it and
# its ports for good; DistributedDataParallel imports it.
import torch.distributed.nn
from torch.distributed import HashStore, TCPStore  # type: ignore[attr-defined]

from course_lib.arrays import Array
from course_lib.parallel.channels.devices import own_device
from course_lib.parallel.collectives import (
    all_agree,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast_object,
)
from course_lib.parallel.comm import Comm, Layered, Reduces
from course_lib.parallel.comm.warned import process_name
from course_lib.parallel.errors import ParallelError, WorkerLost, at_step, in_vain
from course_lib.registry import lookup

_BACKENDS = ("gloo", "nccl")

# What gloo and NCCL both can add. The rest (booleans, unsigned numbers) is rare, and sent.
_DTYPES = frozenset(map(np.dtype, ("f4", "f8", "i4", "i8", "i1", "u1")))

# How often a rank that waits looks whether the run has been stopped.
_LOOK = timedelta(seconds=0.2)


class TorchComm(Layered, Reduces):
    """A communicator that adds with ``torch.distributed``; single messages take the one below.

    More than two ranks: the same sum on every rank, but added in an order of gloo's own choice.

    Parameters
    ----------
    base : Comm
        A communicator of the same ranks, one per process; all of them must make their TorchComm
        at the same time.
    backend : {"gloo", "nccl"}
        ``"nccl"`` needs a GPU for each rank; the ranks of a host share those that it has out
        among them, see :func:`~course_lib.parallel.channels.devices.own_device`. Arrays are
        copied there and back.
    host : str, optional
        The address of this rank's machine, as the others know it, to listen on; by default the one
        that Dask uses.
    port : int
        Where rank 0 listens; 0 for any free port.

    Raises
    ------
    ParallelError
        If a rank has no GPU of its own for NCCL, its process has a process group already, or
        rank 0 can not listen on its address.

    References
    ----------
    Li et al. 2020.
    """

    def __init__(
        self, base: Comm, backend: str = "gloo", *, host: str | None = None, port: int = 0
    ) -> None:
        super().__init__(base)
        self._device = torch.device("cpu")
        lookup("backend", backend, dict.fromkeys(_BACKENDS))
        problem = _problem(backend)
        if not all_agree(base, not problem):
            raise ParallelError(
                f"rank {base.rank}: {problem or 'another rank can not take part'}; choose another "
                "channel, such as comm='auto'.",
                rank=base.rank,
            )
        _check_processes(base)
        if backend == "nccl":
            # Not by number: hosts differ in how many GPUs and ranks they have, and in their order.
            self._device = own_device(base, "cuda")
        timeout = timedelta(seconds=base.timeout)
        # A communicator of threads or of this machine's processes does not know its host.
        host = host or str(getattr(base, "host", "127.0.0.1"))
        try:
            self._store = self._meet(host, port, timeout)
            with _interface(host):
                dist.init_process_group(
                    backend, store=self._store, rank=base.rank, world_size=base.size,
                    timeout=timeout,
                )  # fmt: skip
                if backend == "nccl":  # which connects at its first operation
                    dist.barrier(device_ids=[self._device.index])
        except RuntimeError as error:
            if isinstance(error, ParallelError):
                raise
            _forget_failed_group()
            base.check()  # the others may have been told to stop
            raise self._lost(error, "connecting to") from error
        try:
            barrier(base)  # who is done at once would be gone before the others have connected
        except BaseException:
            self.close()
            raise

    def _meet(self, host: str, port: int, timeout: timedelta) -> TCPStore:
        """Open the store on rank 0, tell the others where, and connect them."""
        if self.rank == 0:
            # Left to itself, the store listens on all networks.
            listening = _listen(host, port)
            port = listening.getsockname()[1]
            # Rank 0 must not wait for the others here: they do not know the port yet.
            store = TCPStore(
                host, port, self.size, True, timeout, wait_for_workers=False,
                master_listen_fd=listening.detach(),
            )  # fmt: skip
            broadcast_object(self._base, [host, port])
            return store
        host, port = broadcast_object(self._base)
        return TCPStore(host, port, self.size, False, timeout)

    def native_all_reduce(self, array: Array) -> None:
        """See :class:`~course_lib.parallel.comm.Reduces`; `array` must be C-contiguous."""
        if array.dtype not in _DTYPES:
            all_reduce(self._base, array, "ordered")
            return
        # Nothing to add is nothing to wait for, to gloo; but this is a barrier, too.
        numbers = torch.from_numpy(array.reshape(-1)) if array.size else torch.zeros(1)
        there = numbers.to(self._device)
        self._wait(lambda: dist.all_reduce(there, async_op=True))
        if self._device.type != "cpu":
            numbers.copy_(there)

    def close(self) -> None:
        """Dissolve the process group, so that the process can have another."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _wait(self, begin: Any) -> None:
        start = time.perf_counter()
        try:
            work = begin()
            while not self._done(work):
                self.check()
                if time.perf_counter() - start > self.timeout:
                    what = "the others to come to a reduction"
                    raise in_vain(
                        self.rank, self.timeout, what, "one", peer=self.rank, step=self.step
                    )
        except RuntimeError as error:
            if isinstance(error, ParallelError):
                raise
            raise self._lost(error, "adding with") from error
        self.counters.waiting += time.perf_counter() - start

    def _done(self, work: dist.Work) -> bool:
        """Wait a moment for an operation; raise what went wrong with it."""
        if self._device.type != "cpu":
            return work.wait()
        try:
            work.wait(_LOOK)
        except RuntimeError:
            if work.is_completed():
                raise
            return False
        return True

    def _lost(self, error: RuntimeError, what: str) -> ParallelError:
        return WorkerLost(
            f"rank {self.rank} lost the connection to another rank{at_step(self.step)} "
            f"while {what} it by PyTorch: {error}",
            step=self.step,
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ParallelError(
            f"rank 0 can not listen on {host}, the address of its worker, for PyTorch ({error}); "
            "start the worker with an address of its own machine (`dask worker --host`), or choose "
            "another channel, such as comm='dask'.",
            rank=0,
        ) from error


_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@contextmanager
def _interface(host: str) -> Iterator[None]:
    """Make gloo and NCCL take the network that Dask takes, not what the host's name stands for.

    They read the name of the interface from the environment, once, when they connect; what the
    user has set stays.
    """
    name = _interface_of(host)
    mine = [key for key in _INTERFACES if name and key not in os.environ]
    os.environ.update(dict.fromkeys(mine, name))
    try:
        yield
    finally:
        for key in mine:
            del os.environ[key]


def _interface_of(host: str) -> str:
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return ""
    if any(ip_address(address).is_loopback for address in addresses):
        return next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), "")
    import psutil  # type: ignore[import-untyped]  # here: it comes with Dask, as other hosts do

    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] in addresses for entry in entries):
            return str(name)
    return ""


def _forget_failed_group() -> None:
    """Let this process join a group with others again.

    PyTorch names groups by counting them, processes must agree on the name, and only the end of a
    group sets the count back: a group that has failed to begin would leave this process one ahead
    of those to come.
    """
    with suppress(RuntimeError):
        if not dist.is_initialized():
            dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        dist.destroy_process_group()


def _check_processes(base: Comm) -> None:
    """Raise, on every rank, if two of them share a process."""
    first: dict[str, int] = {}
    for rank, process in enumerate(all_gather_object(base, process_name())):
        if (other := first.setdefault(process, rank)) != rank:
            raise ParallelError(
                f"ranks {other} and {rank} run in one process, which can have only one process "
                "group of PyTorch. Start the workers as processes of their own, such as "
                "LocalCluster(processes=True); for parallel.train, comm='auto' will do, too.",
                rank=rank,
            )


def _problem(backend: str) -> str:
    """Say why this process can not take part, or nothing."""
    if dist.is_initialized():
        return (
            "its process has a PyTorch process group already, and can have only one: a group that "
            "was not destroyed"
        )
    if backend == "nccl" and not (torch.cuda.is_available() and dist.is_nccl_available()):
        return "it has no GPU that PyTorch can use, which NCCL needs; with comm='gloo' it can do"
    return ""
