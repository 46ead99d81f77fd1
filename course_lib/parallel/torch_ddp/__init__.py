"""PyTorch on a Dask cluster: any module and any dataset, trained by one rank per worker.

:func:`run` runs a program of your own on every rank, inside a process group that is set up and
taken down for you; :func:`~course_lib.parallel.torch_ddp.training.train` is such a program, ready
made. gloo on processors, NCCL on GPUs. No port, no interface and no environment variable to set:
the ranks find each other over Dask's own connections.

Only these are encrypted on a ``tls://`` cluster. The tensors travel over connections of gloo or
NCCL, which encrypt nothing: for a network that you trust.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from course_lib.needs import require

require("torch", extra="torch,parallel", who="course_lib.parallel.torch_ddp")

from course_lib.parallel.torch_ddp.context import Context
from course_lib.parallel.torch_ddp.plan import ModuleEpoch
from course_lib.parallel.torch_ddp.runner import RankEvent, run
from course_lib.parallel.torch_ddp.sampler import ShareSampler
from course_lib.parallel.torch_ddp.training import TorchResult, train
from course_lib.parallel.torch_ddp.using import evaluate, predict

__all__ = [
    "Context",
    "ModuleEpoch",
    "RankEvent",
    "ShareSampler",
    "TorchResult",
    "evaluate",
    "predict",
    "run",
    "train",
]
