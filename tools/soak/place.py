"""The place where jobs run, closed off from the rest of the machine, and what is left in it.

In a mount namespace of its own, a lane has a /dev/shm and a disk small enough to be filled.
Processes that lose their parent become children of the lane, so none can be missed.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SHM = Path("/dev/shm")  # nosec B108 # where Linux keeps shared memory
_UNSHARE = ("unshare", "--mount", "--map-root-user")
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # <linux/prctl.h>

SHM_BYTES, DISK_BYTES = 64 << 20, 16 << 20


def can_mount() -> bool:
    """Whether this user may have file systems of their own."""
    command = [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def command(mounts: bool, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours in a place of its own, if there can be one."""
    return [*(_UNSHARE if mounts else ()), sys.executable, "-m", *arguments]


def mount_small(folder: Path) -> None:
    """Put a small file system over /dev/shm and over the folder for checkpoints."""
    for path, size in ((SHM, SHM_BYTES), (folder, DISK_BYTES)):
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True
        )


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Take all the room that there is in a small file system."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        yield
    finally:
        ballast.unlink(missing_ok=True)


def adopt_orphans() -> None:
    """Become the parent of all processes below this one that lose theirs."""
    ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have this process killed when its parent ends; runs between fork and exec."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """End a process that we have started, and all below it, frozen ones too."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.suspend()  # it must not start others meanwhile
        for one in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def reap() -> None:
    """Take note of the end of adopted processes."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def tree() -> list[psutil.Process]:
    """Return this process and all below it."""
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def listening(processes: list[psutil.Process]) -> int:
    """Count the ports on which the processes listen."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            found = process.net_connections("inet")
            total += sum(each.status == psutil.CONN_LISTEN for each in found)
    return total


def shared(processes: list[psutil.Process]) -> set[str]:
    """Return the segments in /dev/shm that the processes have mapped or open, or that have a name.

    Not the semaphores with which Python starts processes.
    """
    found: set[str] = set()
    for process in processes:
        with suppress(OSError):
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            found |= set(re.findall(rf"{SHM}/\S+", maps))
        with suppress(OSError):
            for link in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(OSError):
                    found |= set(re.findall(rf"{SHM}/\S+", os.readlink(link)))
    found |= {str(path) for path in SHM.glob("course-lib-*")}
    return {name for name in found if "/sem." not in name}


def inside(folder: Path) -> set[str]:
    """Return the names in a folder."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def emptied(folder: Path) -> None:
    """Empty a folder, which may be a mounted file system."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
