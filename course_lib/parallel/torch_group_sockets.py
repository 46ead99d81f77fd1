"""The connections that a library opens, so that they can be cut when a run is stopped.

PyTorch's gloo can not be interrupted: a rank that waits inside ``backward()`` for a peer that has
failed waits until its timeout, and neither destroying nor aborting the group changes that. Cutting
the connections does: both ends return with an error at once.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import gc
import os
import socket
import stat
from contextlib import suppress


def open_sockets() -> dict[int, int]:
    """Return the sockets of this process that Python does not know: descriptor and inode.

    Dask's own connections, which come and go in another thread, are Python objects and not listed.
    Empty on systems that do not list what a process has open.
    """
    found: dict[int, int] = {}
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # the folder itself has been closed again
                status = os.fstat(int(name))
                if stat.S_ISSOCK(status.st_mode):
                    found[int(name)] = status.st_ino
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
