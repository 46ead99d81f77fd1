"""Extras that are missing, said in a sentence with the command that helps; names loaded on demand.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_NAMES = {"distributed": "Dask", "sklearn": "scikit-learn", "torch": "PyTorch"}


def require(package: str, *, extra: str, who: str, instead: str = "") -> None:
    """Raise ImportError unless a package is installed.

    Parameters
    ----------
    package : str
        As it is imported.
    extra : str
        The extra of course-lib that brings it.
    who : str
        What needs it, for the error sentence.
    instead : str
        What can be done without it, to end the sentence.

    Raises
    ------
    ImportError
        If the package is missing.

    Examples
    --------
    >>> require("numpy", extra="none", who="everything")  # nothing happens
    """
    if find_spec(package) is None:
        name = _NAMES.get(package, package)
        other = f", or {instead}" if instead else ""
        raise ImportError(f'{who} needs {name}; pip install "course-lib[{extra}]"{other}.')


def require_dask(who: str) -> None:
    """Raise ImportError unless Dask is installed; without it, ranks can be threads.

    Examples
    --------
    >>> require_dask("gang")  # nothing happens where Dask is installed
    """
    threads = 'run the ranks as threads of this process with comm="inprocess"'
    require("distributed", extra="parallel", who=who, instead=threads)


def on_demand(face: str, files: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a face's ``__getattr__`` (PEP 562): each name's file is imported when it is named."""

    def get(name: str) -> Any:
        if name in files:
            return getattr(import_module(f"{face}.{files[name]}"), name)
        raise AttributeError(f"module {face!r} has no attribute {name!r}")

    return get
