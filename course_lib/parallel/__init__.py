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
    from course_lib.parallel import (
        channels,
        collectives,
        comm,
        cost,
        errors,
        faults,
        schedules,
        search,
        torch_ddp,
    )
    from course_lib.parallel.compressed import Compressed
    from course_lib.parallel.compression import Int8, TopK
    from course_lib.parallel.compression_low_rank import PowerSGD
    from course_lib.parallel.data_parallel import SyncSGD
    from course_lib.parallel.data_plan import BlockShuffle
    from course_lib.parallel.events import Event
    from course_lib.parallel.launch import gang
    from course_lib.parallel.local_sgd import LocalSGD
    from course_lib.parallel.mesh import Mesh
    from course_lib.parallel.parameter_server import AsyncParameterServer
    from course_lib.parallel.pipeline import Pipeline
    from course_lib.parallel.predicted import Predicted, predict
    from course_lib.parallel.result import TrainResult
    from course_lib.parallel.sources import InBlocks
    from course_lib.parallel.sources_shards import write_shards
    from course_lib.parallel.strategy import Session, Strategy
    from course_lib.parallel.tensor_parallel import TensorParallel
    from course_lib.parallel.training import train
    from course_lib.parallel.virtual_shards import VirtualShards
    from course_lib.parallel.zero import ZeRO1

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
    "torch_ddp",
    "train",
    "write_shards",
]

# Which file a public name is defined in; the other public names are the files themselves.
_HOME = {
    "AsyncParameterServer": "parameter_server",
    "BlockShuffle": "data_plan",
    "Compressed": "compressed",
    "Event": "events",
    "InBlocks": "sources",
    "Int8": "compression",
    "LocalSGD": "local_sgd",
    "Mesh": "mesh",
    "Pipeline": "pipeline",
    "PowerSGD": "compression_low_rank",
    "Predicted": "predicted",
    "Session": "strategy",
    "Strategy": "strategy",
    "SyncSGD": "data_parallel",
    "TensorParallel": "tensor_parallel",
    "TopK": "compression",
    "TrainResult": "result",
    "VirtualShards": "virtual_shards",
    "ZeRO1": "zero",
    "gang": "launch",
    "predict": "predicted",
    "train": "training",
    "write_shards": "sources_shards",
}


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
