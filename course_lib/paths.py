"""Paths: what is none is refused, and what other processes cannot be told of.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_path", "check_shared_path", "writing"]


def check_path(value: object, *, where: str, name: str) -> Path:
    """Return `value`, a string or another path, as a Path.

    Examples
    --------
    >>> check_path("", where="save", name="directory")
    Traceback (most recent call last):
    ...
    ValueError: save: directory must be the path of a file or folder, got ''.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(
            f"{where}: {name} must be the path of a file or folder, got {type(value).__name__}."
        )
    if not text or "\0" in text:
        raise ValueError(f"{where}: {name} must be the path of a file or folder, got {text!r}.")
    return Path(text)


def check_shared_path(value: object, *, where: str, name: str) -> str:
    """Return a path as other processes can be told: absolute, and in UTF-8.

    Examples
    --------
    >>> check_shared_path(b"run", where="train", name="checkpoint")
    Traceback (most recent call last):
    ...
    TypeError: train: checkpoint must be the path of a file or folder, got bytes.
    """
    text = str(check_path(value, where=where, name=name).absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{where}: {name} must have a name in UTF-8, as other processes are told of it, got "
            f"{os.fsencode(text)!r}; rename it, or give a link to it."
        ) from None
    return text


@contextmanager
def writing(folder: Path, *, where: str) -> Iterator[None]:
    """Make an error of what is written inside one that names the folder.

    Examples
    --------
    >>> with writing(Path("run"), where="load_mnist"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    ...
    OSError: load_mnist: run cannot be written to (No space left on device).
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"{where}: {folder} cannot be written to ({why}).") from error
