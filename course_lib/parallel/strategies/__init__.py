"""Strategies: how the ranks share the work of a step. One file each, on the interface in `job`.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.strategies.compressed import Compressed
from course_lib.parallel.strategies.compression import Int8, PowerSGD, TopK
from course_lib.parallel.strategies.data_parallel import SyncSGD
from course_lib.parallel.strategies.job import Job, Session, Strategy
from course_lib.parallel.strategies.local_sgd import LocalSGD
from course_lib.parallel.strategies.mesh import Mesh, grid
from course_lib.parallel.strategies.parameter_server import AsyncParameterServer
from course_lib.parallel.strategies.pipeline import Pipeline
from course_lib.parallel.strategies.pipeline_stage import balanced_bounds
from course_lib.parallel.strategies.tensor_parallel import TensorParallel, sums_per_step
from course_lib.parallel.strategies.virtual_shards import VirtualShards
from course_lib.parallel.strategies.zero import ZeRO1

__all__ = [
    "AsyncParameterServer",
    "Compressed",
    "Int8",
    "Job",
    "LocalSGD",
    "Mesh",
    "Pipeline",
    "PowerSGD",
    "Session",
    "Strategy",
    "SyncSGD",
    "TensorParallel",
    "TopK",
    "VirtualShards",
    "ZeRO1",
    "balanced_bounds",
    "grid",
    "sums_per_step",
]
