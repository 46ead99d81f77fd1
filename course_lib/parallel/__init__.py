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

from course_lib.needs import require_dask
from course_lib.parallel import (
    channels,
    collectives,
    comm,
    cost,
    errors,
    faults,
    schedules,
    search,
)
from course_lib.parallel.collectives import shard
from course_lib.parallel.sources import BlockShuffle, InBlocks, write_shards
from course_lib.parallel.strategies import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    Session,
    Strategy,
    SyncSGD,
    TensorParallel,
    TopK,
    VirtualShards,
    ZeRO1,
)
from course_lib.parallel.training import Event, Predicted, TrainResult, predict, train

if TYPE_CHECKING:
    from course_lib.parallel import torch_ddp
    from course_lib.parallel.launch import gang

__all__ = [
    "AsyncParameterServer",
    "BlockShuffle",
    "Compressed",
    "Event",
    "InBlocks",
    "Int8",
    "LocalSGD",
    "Mesh",
    "Pipeline",
    "PowerSGD",
    "Predicted",
    "Session",
    "Strategy",
    "SyncSGD",
    "TensorParallel",
    "TopK",
    "TrainResult",
    "VirtualShards",
    "ZeRO1",
    "channels",
    "collectives",
    "comm",
    "cost",
    "errors",
    "faults",
    "gang",
    "predict",
    "schedules",
    "search",
    "shard",
    "torch_ddp",
    "train",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    # PEP 562: only these need Dask or PyTorch.
    if name == "gang":
        require_dask("gang")
        return import_module("course_lib.parallel.launch").gang
    if name == "torch_ddp":
        return import_module("course_lib.parallel.torch_ddp")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is public."""
    return sorted(__all__)
