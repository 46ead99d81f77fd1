"""A file that appears whole or not at all, whatever happens while it is being written.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_bytes(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file beside its place, force it to the disk, then rename it into place.

    Renaming within one folder is atomic: a reader, another writer or a crash at any moment sees
    the old file or the new one, never a part. An interrupted write leaves at most a file whose
    name starts with ``.<name>-``.

    Parameters
    ----------
    path : Path
        Where the file shall be.
    content : bytes
        What it shall hold.
    replace : bool
        Whether a file that is there by then is replaced. If not, of several writers exactly one
        succeeds.

    Raises
    ------
    FileExistsError
        If there is a file that shall not be replaced.
    TypeError
        If the path is no Path, or the content no bytes.
    OSError
        If the disk is full or the folder cannot be written to; nothing has changed then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "a.txt", b"whole")
    ...     (Path(folder) / "a.txt").read_bytes()
    b'whole'
    """
    known = isinstance(path, Path) and isinstance(content, bytes)
    if not known:
        got = f"{type(path).__name__} and {type(content).__name__}"
        raise TypeError(f"write_bytes: path must be a Path and content bytes, got {got}.")
    # A name of its own for each writer; tempfile would make the file unreadable for others.
    partial = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(partial, path)
        else:
            _rename_new(partial, path)
    except BaseException:
        with suppress(OSError):  # the disk may be read-only by now
            partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # other systems cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # without it the new name may not survive a power cut
        finally:
            os.close(folder)


def _rename_new(partial: Path, path: Path) -> None:
    """Rename unless there is such a file; atomic where a file may have two names."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(partial, path)
    else:
        partial.unlink(missing_ok=True)
