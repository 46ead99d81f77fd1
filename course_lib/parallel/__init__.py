"""Parallel training: the same network and the same result, computed by several workers.

>>> from course_lib.parallel import SyncSGD
>>> SyncSGD(algorithm="tree")
SyncSGD(algorithm='tree')

``train`` runs a whole training; ``gang`` runs any function as one rank per Dask worker. Parallel
code calls the serial functions, which never know that they are one of many. Importing this package
loads neither Dask nor PyTorch.

Chapter: data parallelism.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from course_lib.parallel.needs import require_dask

if TYPE_CHECKING:
    from course_lib.parallel import collectives, comm, cost, errors, schedules, search
    from course_lib.parallel.data_parallel import SyncSGD
    from course_lib.parallel.launch import gang
    from course_lib.parallel.result import TrainResult
    from course_lib.parallel.training import train

__all__ = [
    "SyncSGD",
    "TrainResult",
    "collectives",
    "comm",
    "cost",
    "errors",
    "gang",
    "schedules",
    "search",
    "train",
]

_HOME = {"SyncSGD": "data_parallel", "TrainResult": "result", "gang": "launch", "train": "training"}


def __getattr__(name: str) -> Any:
    # PEP 562: the name decides what is imported.
    if name in _HOME:
        if name == "gang":
            require_dask("gang")
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is public."""
    return sorted(__all__)
