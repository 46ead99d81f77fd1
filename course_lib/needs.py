"""Extras that are missing, each said in one sentence with the command that helps.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

from importlib.util import find_spec

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
