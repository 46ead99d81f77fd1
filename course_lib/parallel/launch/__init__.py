"""Starts the ranks, on Dask workers or as processes of this machine, and watches them to the end.

A gang succeeds or fails as one: when a rank raises or a worker is lost, the survivors are stopped,
and the first cause is reported. What needs Dask is loaded when it is asked for.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.needs import on_demand

if TYPE_CHECKING:
    from course_lib.parallel.launch.cluster import connect
    from course_lib.parallel.launch.processes import run_processes
    from course_lib.parallel.launch.ranks import Relauncher, gang, launch
    from course_lib.parallel.launch.restarts import interruptible, run_with_restarts

__all__ = [
    "Relauncher",
    "connect",
    "gang",
    "interruptible",
    "launch",
    "run_processes",
    "run_with_restarts",
]

__getattr__ = on_demand(__name__, {
    "Relauncher": "ranks", "connect": "cluster", "gang": "ranks", "launch": "ranks",
    "run_processes": "processes", "run_with_restarts": "restarts", "interruptible": "restarts",
})  # fmt: skip
