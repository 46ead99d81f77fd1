"""Starts the ranks, on Dask workers or as processes of this machine, and watches them to the end.

A gang succeeds or fails as one: when a rank raises or a worker is lost, the survivors are stopped,
and the first cause is reported. What needs Dask is loaded when it is asked for.

Chapter: data parallelism.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_lib.parallel.launch.cluster import connect
    from course_lib.parallel.launch.processes import run_processes
    from course_lib.parallel.launch.ranks import Relauncher, gang, launch
    from course_lib.parallel.launch.restarts import run_with_restarts

__all__ = ["Relauncher", "connect", "gang", "launch", "run_processes", "run_with_restarts"]

_LAZY = {
    "Relauncher": "ranks",
    "connect": "cluster",
    "gang": "ranks",
    "launch": "ranks",
    "run_processes": "processes",
    "run_with_restarts": "restarts",
}


def __getattr__(name: str) -> Any:
    # PEP 562: what needs a large library is imported when it is named.
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
