"""The four files of MNIST: found, checked against their SHA-256 sums, fetched only when asked.

They are in the IDX format: two zero bytes, a byte for the type (8 is unsigned bytes), a byte for
the number of dimensions, each dimension as a big-endian 32-bit integer, then the numbers.

Chapter: data.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from course_lib.atomic import write_bytes
from course_lib.paths import check_path, writing

Bytes: TypeAlias = NDArray[np.uint8]

FILES: dict[str, str] = {
    f"{name}-ubyte.gz": sha256
    for name, sha256 in (
        ("train-images-idx3", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )
}
"""The file names, in the order in which :func:`read` returns them, and their SHA-256 sums."""

MIRRORS: tuple[str, ...] = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
"""Where the files can be had (the original address asks for a password today)."""


def read(root: str | os.PathLike[str], *, download: bool = False) -> tuple[Bytes, ...]:
    """Return train images (n, 784), train labels (n,), test images and test labels, as bytes.

    Parameters and errors as for :func:`course_lib.data.load_mnist`.
    """
    folder = check_path(root, where="load_mnist", name="root")
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing and not download:
        raise FileNotFoundError(
            f"load_mnist: {folder} lacks {', '.join(missing)} (the four files are "
            f"{', '.join(FILES)}); copy them there, or pass download=True to fetch 11 MB."
        )
    for name in missing:
        _fetch(name, folder)
    return tuple(_checked(folder / name) for name in FILES)


def parse_idx(raw: bytes, name: str) -> Bytes:
    """Turn the content of an IDX file of unsigned bytes into an array ``(n,)`` or ``(n, pixels)``.

    Examples
    --------
    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), "labels")
    array([7, 2, 1], dtype=uint8)
    """
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise TypeError(f"parse_idx: raw must be the bytes of a file, got {type(raw).__name__}.")
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"{name}: expected an IDX file of unsigned bytes (it starts with 0, 0, 8), "
            f"got {list(raw[:3])}."
        )
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(
            f"{name}: the header should take {start} bytes, but the file ends after {len(raw)}; "
            "it was cut off: copy or download it again."
        )
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    values = np.frombuffer(raw, np.uint8, offset=start)
    if values.size != math.prod(shape):
        raise ValueError(f"{name}: expected data of shape {shape}, got {values.size} bytes.")
    return values.reshape(shape[0], math.prod(shape[1:])) if len(shape) > 1 else values


def _checked(path: Path) -> Bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != FILES[path.name]:
        raise ValueError(
            f"load_mnist: {path} is not the original file (its SHA-256 sum differs); delete it "
            "and pass download=True, or copy it again."
        )
    return parse_idx(gzip.decompress(content), path.name)


def _fetch(name: str, folder: Path) -> None:
    """Download one file from the first mirror that has it; it appears whole or not at all."""
    with writing(folder, where="load_mnist"):
        folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in MIRRORS:
        try:
            # The addresses stand above, and what they send is compared with its sum.
            with urllib.request.urlopen(mirror + name, timeout=60) as response:  # nosec B310
                content = response.read()
        except (OSError, HTTPException, ValueError) as error:  # whatever a server may send
            failures.append(f"{mirror}: {type(error).__name__}: {' '.join(str(error).split())}")
            continue
        if hashlib.sha256(content).hexdigest() != FILES[name]:
            failures.append(f"{mirror}: not the original file (SHA-256 sum)")
            continue
        with writing(folder, where="load_mnist"):
            write_bytes(folder / name, content)
        return
    raise OSError(
        f"load_mnist: could not download {name}. {'; '.join(failures)}. "
        f"Copy the four files into {folder} by hand."
    )
