"""The data that the command line trains on: by name, or from a file.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from course_lib.data import Split, load_breast_cancer, load_digits
from course_lib.registry import lookup

NAMED: dict[str, Callable[..., Split]] = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
}

# Labels that are read at a time to count the classes.
_BLOCK = 1_000_000


class Data(NamedTuple):
    """What to train on, and what to be judged by."""

    train: Any
    validation: tuple[Any, Any] | None
    features: int
    classes: int


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the options that choose the data."""
    group = command.add_argument_group("data")
    group.add_argument(
        "--data", default="digits", metavar="NAME|PATH",
        help="digits, breast_cancer, a .npz file with arrays x and y (integer labels) and, if "
        "there are, x_test and y_test; or, larger than memory, X.npy,Y.npy or a directory of "
        "shards, which the workers read (default: digits)",
    )  # fmt: skip
    group.add_argument(
        "--dtype", default="float64", choices=("float32", "float64"), help="of the numbers"
    )


def load(options: argparse.Namespace) -> Data:
    """Load what ``--data`` names.

    Examples
    --------
    >>> found = load(argparse.Namespace(data="digits", dtype="float32", seed=0))
    >>> found.features, found.classes
    (64, 10)
    """
    path = Path(options.data)
    parts = options.data.split(",")
    if path.is_dir() or (len(parts) == 2 and all(part.endswith(".npy") for part in parts)):
        return _from_sources(path if path.is_dir() else (parts[0], parts[1]))
    if options.data not in NAMED and (path.suffix or path.exists() or len(path.parts) > 1):
        return _from_file(path, options.dtype)
    loader = lookup("data set", options.data, NAMED)
    x, y, x_test, y_test = loader(seed=options.seed, dtype=options.dtype)
    return Data((x, y), (x_test, y_test), x.shape[1], int(y.max()) + 1)


def _from_file(path: Path, dtype: str) -> Data:
    if not path.exists():
        raise FileNotFoundError(f"--data {path}: there is no such file; names are {_names()}.")
    if path.suffix != ".npz":
        raise ValueError(
            f"--data {path}: expected a .npz file with arrays x and y, or one of {_names()}; "
            "write one with numpy.savez(path, x=x, y=y)."
        )
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if not {"x", "y"} <= arrays.keys():
        raise ValueError(
            f"--data {path}: expected arrays x and y, found {', '.join(arrays) or 'none'}."
        )
    x, y = arrays["x"], arrays["y"]
    if x.ndim != 2 or y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"--data {path}: expected x of shape (n, features) and n integer labels y, got x of "
            f"shape {x.shape} and y of shape {y.shape} and type {y.dtype}."
        )
    held_out = None
    if {"x_test", "y_test"} <= arrays.keys():
        held_out = (arrays["x_test"].astype(dtype, copy=False), arrays["y_test"])
    return Data((x.astype(dtype, copy=False), y), held_out, x.shape[1], int(y.max()) + 1)


def _from_sources(data: Any) -> Data:
    from course_lib.parallel.sources import NpyRows, ShardRows

    shards = isinstance(data, Path)
    x, y = (ShardRows(data, n) if shards else NpyRows(data["xy".index(n)]) for n in "xy")
    if len(x.shape) != 2 or len(y.shape) != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"--data: expected x of shape (n, features) and n integer labels y, got shapes "
            f"{x.shape} and {y.shape}, y of type {y.dtype}."
        )
    most = max(
        int(y[np.arange(start, min(start + _BLOCK, y.shape[0]))].max())
        for start in range(0, y.shape[0], _BLOCK)
    )
    return Data(data, None, x.shape[1], most + 1)


def _names() -> str:
    return ", ".join(NAMED)
