"""Strategies: how the ranks share the work of a step. One file each, on the interface in `job`.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.strategies.compressed import Compressed
from course_lib.parallel.strategies.compression import Int8, PowerSGD, TopK
from course_lib.parallel.strategies.data_parallel import SyncSGD
from course_lib.parallel.strategies.job import (
    BACKENDS,
    Job,
    Model,
    Progress,
    Saving,
    Session,
    Strategy,
    gather_by_rank,
)
from course_lib.parallel.strategies.local_gradient import LocalGradient, gradient_of
from course_lib.parallel.strategies.local_sgd import LocalSGD
from course_lib.parallel.strategies.mesh import Mesh, grid
from course_lib.parallel.strategies.parameter_server import Applied, AsyncParameterServer
from course_lib.parallel.strategies.pipeline import Pipeline
from course_lib.parallel.strategies.pipeline_stage import balanced_bounds
from course_lib.parallel.strategies.table import STRATEGIES, parse
from course_lib.parallel.strategies.tensor_parallel import TensorParallel, sums_per_step
from course_lib.parallel.strategies.virtual_shards import VirtualShards
from course_lib.parallel.strategies.zero import ZeRO1

__all__ = [
    "BACKENDS",
    "STRATEGIES",
    "Applied",
    "AsyncParameterServer",
    "Compressed",
    "Int8",
    "Job",
    "LocalGradient",
    "LocalSGD",
    "Mesh",
    "Model",
    "Pipeline",
    "PowerSGD",
    "Progress",
    "Saving",
    "Session",
    "Strategy",
    "SyncSGD",
    "TensorParallel",
    "TopK",
    "VirtualShards",
    "ZeRO1",
    "balanced_bounds",
    "gather_by_rank",
    "gradient_of",
    "grid",
    "parse",
    "sums_per_step",
]
