"""A PyTorch process group that lives as long as a rank's program, and no wait in it is without end.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import gc
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
import torch.distributed as dist

from course_lib.parallel.channels import TorchComm
from course_lib.parallel.collectives import barrier
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import Aborted, ParallelError, in_vain


def open_sockets() -> dict[int, int]:
    """Return the sockets of this process that Python does not know: descriptor and inode."""
    found: dict[int, int] = {}
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # the folder itself has been closed again
                status = os.fstat(int(name))
                if stat.S_ISSOCK(status.st_mode):
                    found[int(name)] = status.st_ino
    # Dask's own connections, which come and go in another thread, are Python objects: not these.
    for thing in gc.get_objects():
        # type(), as isinstance() may run code of a proxy
        if issubclass(type(thing), socket.socket):
            found.pop(thing.fileno(), None)
    return found


def cut(sockets: dict[int, int]) -> None:
    """End these connections in both directions, as far as they are still what they were.

    Examples
    --------
    >>> here, there = socket.socketpair()
    >>> cut({here.fileno(): os.fstat(here.fileno()).st_ino})
    >>> there.recv(1)
    b''
    >>> here.close(), there.close()
    (None, None)
    """
    for descriptor, inode in sockets.items():
        with suppress(OSError):
            # The library may have closed it, and the number may be another file's by now.
            if os.fstat(descriptor).st_ino == inode:
                with socket.socket(fileno=os.dup(descriptor)) as copy:
                    # gloo ends the process if the socket that it listens on stops listening.
                    if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        copy.shutdown(socket.SHUT_RDWR)


# How often a rank looks whether the run has been stopped.
_LOOK = 0.2

# A rank that has finished waits for the others, which may compute for long. It is woken when the
# run is stopped, so this is never waited for.
_FINISHED = 7 * 24 * 3600.0


@contextmanager
def process_group(comm: Comm, device: torch.device) -> Iterator[None]:
    """Open the default process group of ``torch.distributed``: gloo for processors, NCCL for GPUs.

    It is gone when the block ends, however it ends, so that the process can have another. While it
    is being opened, nothing can wake a rank that waits inside ``init_process_group``: if the run is
    stopped just then, it hears of it when the communicator's timeout is over.
    """
    before = open_sockets()
    backend = "gloo" if device.type == "cpu" else "nccl"
    group = TorchComm(comm, backend)
    sockets = {fd: inode for fd, inode in open_sockets().items() if before.get(fd) != inode}

    def stop() -> None:
        cut(sockets)
        if device.type != "cpu" and dist.group.WORLD is not None:
            dist.group.WORLD.abort()

    ended = threading.Event()
    guard = threading.Thread(target=_guard, args=(comm, ended, stop), daemon=True)
    guard.start()
    try:
        yield
        # Who leaves first must not close a connection that still has bytes for another rank.
        timeout, comm.timeout = comm.timeout, _FINISHED
        try:
            barrier(comm)
        finally:
            comm.timeout = timeout
    except BaseException as error:
        stop()
        translated = _translate(comm, error)
        if translated is error:
            raise
        raise translated from error
    finally:
        ended.set()
        guard.join(comm.timeout)
        group.close()


def _guard(comm: Comm, ended: threading.Event, stop: Callable[[], None]) -> None:
    """Wake this rank when the run is stopped: inside PyTorch it does not hear."""
    while not ended.wait(_LOOK):
        try:
            comm.check()
        except ParallelError:
            stop()
            return


def _translate(comm: Comm, error: BaseException) -> BaseException:
    """Tell what happened to another rank, and reached this one as an error of PyTorch's channel."""
    text = str(error)
    of_channel = isinstance(error, dist.DistError) or (
        type(error) is RuntimeError and ("gloo" in text or "NCCL" in text)
    )
    if not of_channel:
        return error
    try:
        comm.check()
    except Aborted as aborted:
        return aborted
    brief = text.splitlines()[0][:300]
    if "imed out" in text or "timeout" in text:
        return in_vain(
            comm.rank, comm.timeout, f"the others inside PyTorch ({brief})", "one",
            peer=comm.rank, step=comm.step, same="forward and backward passes",
        )  # fmt: skip
    return Aborted(
        f"rank {comm.rank} lost the connection to another rank inside PyTorch ({brief})",
        rank=comm.rank,
        step=comm.step,
    )
