"""Memory that processes of one host share, and that is gone when the last of them is, however.

It is a file in memory (in /dev/shm) without a name: a process killed at any moment leaves nothing
behind. The others open it through the first one's entry in /proc. Where there is no such thing
(not Linux), it has a name until all have opened it.

The file is sparse: each rank has a region of its own, larger than anything it will need, and only
what it has allocated takes memory. A rank maps its own memory when it allocates it, that of
others when it first meets it.

Chapter: data parallelism.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from course_lib.parallel.collectives import all_agree, broadcast_object
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import NoSharedMemory

_REGION = 1 << 38  # 256 GiB of file offsets, not of memory

_ZEROS = memoryview(bytes(1 << 20))

_TOKEN = 16


class Segment:
    """A file in memory, open in every rank; all map its first bytes, zeros from the 64th on."""

    def __init__(self, comm: Comm, control: int) -> None:
        self._rank = comm.rank
        self._fd = -1
        self._maps: dict[int, mmap.mmap] = {}
        self._named: Path | None = None
        problem, place = "", None
        try:
            if comm.rank == 0:
                try:
                    place = self._create(control)
                except (OSError, NoSharedMemory) as error:
                    problem = str(error)
            place = broadcast_object(comm, place)
            if comm.rank > 0:
                problem = "rank 0 could not make it" if place is None else self._open(*place)
            opened = all_agree(comm, not problem)
        except BaseException:
            self.close()
            raise
        finally:
            self._forget_name()
        if not opened:
            self.close()
            raise NoSharedMemory(
                f"rank {comm.rank}: the ranks can not share memory"
                + (f" ({problem})" if problem else ": another rank could not open it")
                + "; they must run on one host, in one container, as one user. Choose another "
                "channel, such as comm='dask'.",
                rank=comm.rank,
            )
        self.control = self.map(0, control)
        self._next = (comm.rank + 1) * _REGION

    def _create(self, control: int) -> tuple[str, str]:
        """Make the file; return its path, and a random number that stands at its start.

        The number, because in another container the path would name another file.
        """
        without_name: int = getattr(os, "O_TMPFILE", 0)  # Linux has it
        if without_name and os.path.isdir("/dev/shm"):  # nosec B108 # the file has no name
            self._fd = os.open("/dev/shm", os.O_RDWR | without_name, 0o600)  # nosec B108
            path = f"/proc/{os.getpid()}/fd/{self._fd}"
        else:
            self._fd, path = tempfile.mkstemp(prefix="course-lib-")
            self._named = Path(path)
        token = os.urandom(_TOKEN)
        self._reserve(0, control)
        os.pwrite(self._fd, token, 0)
        return path, token.hex()

    def _open(self, path: str, token: str) -> str:
        """Open the file of rank 0; return what went wrong, or nothing."""
        try:
            self._fd = os.open(path, os.O_RDWR)
            found = os.pread(self._fd, _TOKEN, 0).hex()
            return "" if found == token else f"{path} is another file"
        except OSError as error:
            return str(error)

    def _forget_name(self) -> None:
        if self._named is not None:
            self._named.unlink()

    def allocate(self, nbytes: int) -> int:
        """Reserve zeros in this rank's region; return their offset in the file."""
        offset = self._next
        self._reserve(offset, nbytes)
        page = mmap.ALLOCATIONGRANULARITY
        self._next += -(-nbytes // page) * page
        return offset

    def map(self, offset: int, nbytes: int) -> mmap.mmap:
        """Return the memory of an allocation, this rank's own or another's."""
        # An mmap is closed when the last array over it is gone; closing it before would crash.
        if offset not in self._maps:
            self._maps[offset] = mmap.mmap(self._fd, nbytes, offset=offset)
        return self._maps[offset]

    def close(self) -> None:
        """Let go of the memory, except where arrays over it still live."""
        self._maps.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _reserve(self, offset: int, nbytes: int) -> None:
        # Written, not just declared: a sparse file without memory behind it would kill the process
        # (SIGBUS) at the first access, where writing fails with an error.
        written = 0
        try:
            while written < nbytes:
                chunk = _ZEROS[: nbytes - written]
                written += os.pwrite(self._fd, chunk, offset + written)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if written:
                self._give_back(offset, written)
            left = os.fstatvfs(self._fd)
            raise NoSharedMemory(
                f"rank {self._rank} needs {nbytes} bytes of memory that the ranks share, but "
                f"{_directory()} has only {left.f_bavail * left.f_frsize} left. Enlarge it (in "
                "Docker: --shm-size=1g), or choose another channel, such as comm='dask'.",
                rank=self._rank,
            ) from error

    def _give_back(self, offset: int, nbytes: int) -> None:
        """Free what was written before the memory ran out: others may do with less."""
        with suppress(OSError, AttributeError):  # Linux can do it
            mmap.mmap(self._fd, nbytes, offset=offset).madvise(mmap.MADV_REMOVE)


def _directory() -> str:
    shared = "/dev/shm"  # nosec B108 # named in a sentence
    return shared if os.path.isdir(shared) else tempfile.gettempdir()
