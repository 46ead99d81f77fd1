"""The data that the command line trains on: by name, or from a file.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from course_lib.cli.options import place, whole
from course_lib.data import Split, load_breast_cancer, load_digits
from course_lib.registry import lookup

NAMED: dict[str, Callable[..., Split]] = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
}

# Labels that are read at a time to count the classes.
_BLOCK = 1_000_000

# More outputs than that are a label that is no class, such as a year or a number of a customer.
_CLASSES = 100_000

_WRITE = "write one with numpy.savez(path, x=x, y=y)"


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
        "--data", type=place, default="digits", metavar="NAME|PATH",
        help="digits, breast_cancer, a .npz file with arrays x and y (integer labels) and, if "
        "there are, x_test and y_test; or, larger than memory, X.npy,Y.npy or a directory of "
        "shards, which the workers read (default: digits)",
    )  # fmt: skip
    group.add_argument(
        "--dtype", default="float64", choices=("float32", "float64"),
        help="of the numbers (default: float64)",
    )  # fmt: skip


def add_rows(command: argparse.ArgumentParser) -> None:
    """Add the option that chooses rows to be answered."""
    command.add_argument(
        "--data", type=place, default="digits", metavar="NAME|FILE.npz",
        help="the held-out rows of digits or breast_cancer; or a file with an array x and, if "
        "there are, labels y (default: digits)",
    )  # fmt: skip
    command.add_argument(
        "--seed", type=whole(0), default=0,
        help="which rows of digits or breast_cancer were held out: as in train (default: 0)",
    )  # fmt: skip


def load_rows(name: str, dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """Return the rows that ``--data`` names, and their labels, None if there are none.

    Examples
    --------
    >>> x, y = load_rows("digits", "float32")
    >>> x.shape, x.dtype, y.shape
    ((359, 64), dtype('float32'), (359,))
    """
    path = Path(name)
    if name not in NAMED and (path.suffix or path.exists() or len(path.parts) > 1):
        _check_npz(path)
        arrays = _arrays(path)
        if "x" not in arrays:
            raise ValueError(
                f"--data {path}: expected an array x, found {', '.join(arrays) or 'none'}."
            )
        x, y = arrays["x"], arrays.get("y")
        _check(name, x, np.zeros(len(x), int) if y is None and x.ndim else y)
        return x.astype(dtype, copy=False), y
    _, _, x, y = lookup("data set", name, NAMED)(seed=seed, dtype=dtype)
    return x, y


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


def _check_npz(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"--data {path}: there is no such file; names are {_names()}.")
    if path.suffix != ".npz":
        raise ValueError(
            f"--data {path}: expected a .npz file with arrays x and y, or one of {_names()}; "
            f"{_WRITE}."
        )


def _from_file(path: Path, dtype: str) -> Data:
    _check_npz(path)
    arrays = _arrays(path)
    if not {"x", "y"} <= arrays.keys():
        raise ValueError(
            f"--data {path}: expected arrays x and y, found {', '.join(arrays) or 'none'}."
        )
    x, y = arrays["x"], arrays["y"]
    classes = _check(str(path), x, y)
    held_out = None
    if {"x_test", "y_test"} <= arrays.keys():
        held_out = (arrays["x_test"].astype(dtype, copy=False), arrays["y_test"])
        classes = max(classes, _check(str(path), arrays["x_test"], arrays["y_test"], "_test"))
        if held_out[0].shape[1] != x.shape[1]:
            raise ValueError(
                f"--data {path}: expected x_test with as many columns as x, {x.shape[1]}, got "
                f"{held_out[0].shape[1]}."
            )
    return Data((x.astype(dtype, copy=False), y), held_out, x.shape[1], classes)


def _arrays(path: Path) -> dict[str, Any]:
    """Read a file that may be anything; nothing in it is unpickled."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except PermissionError:
        raise
    except Exception as error:  # whatever a broken file makes NumPy, zipfile or zlib raise
        raise ValueError(
            f"--data {path}: not a whole .npz file of numbers ({type(error).__name__}); {_WRITE}."
        ) from error


def _check(name: str, x: Any, y: Any, kind: str = "") -> int:
    """Raise a ValueError if x and y are no rows of numbers with labels; return the classes."""
    if len(x.shape) != 2 or y.shape != (x.shape[0],) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"--data {name}: expected x{kind} of shape (n, features) and n integer labels "
            f"y{kind}, got shapes {x.shape} and {y.shape}, y{kind} of type {y.dtype}."
        )
    if x.dtype.kind not in "biuf":
        raise ValueError(f"--data {name}: expected real numbers in x{kind}, got {x.dtype}.")
    if 0 in x.shape:
        raise ValueError(
            f"--data {name}: expected at least one row and one column in x{kind}, got the shape "
            f"{x.shape}."
        )
    blocks = [
        y[np.arange(start, min(start + _BLOCK, y.shape[0]))]
        for start in range(0, y.shape[0], _BLOCK)
    ]
    least, most = min(int(b.min()) for b in blocks), max(int(b.max()) for b in blocks)
    if least < 0 or most >= _CLASSES:
        raise ValueError(
            f"--data {name}: expected labels y{kind} that count the classes from 0, below "
            f"{_CLASSES:,}, got {least if least < 0 else most}."
        )
    return most + 1


def _from_sources(data: Any) -> Data:
    from course_lib.parallel.sources import NpyRows, ShardRows

    shards = isinstance(data, Path)
    name = str(data) if shards else ",".join(data)
    try:
        x, y = (ShardRows(data, n) if shards else NpyRows(data["xy".index(n)]) for n in "xy")
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"--data {name}: cannot be read as rows ({error}).") from error
    classes = _check(name, x, y)
    return Data(data, None, x.shape[1], classes)


def _names() -> str:
    return ", ".join(NAMED)
