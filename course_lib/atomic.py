"""A file that appears whole or not at all, whatever happens while it is being written.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, force it to the disk, then rename it into place.

    Renaming within one folder is atomic: a reader, another writer or a crash at any moment sees
    the old file or the new one, never a part. An interrupted write leaves at most a file whose
    name starts with ``.<name>-``.

    Parameters
    ----------
    path : Path
        Where the file shall be; replaced if it exists.
    content : bytes
        What it shall hold.

    Raises
    ------
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
    # A name of its own for each writer; tempfile would make the file unreadable for others.
    partial = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # other systems cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # without it the new name may not survive a power cut
        finally:
            os.close(folder)
