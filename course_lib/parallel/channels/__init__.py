"""Channels that lie over a communicator, and the choice of the one that fits where the ranks run.

Ranks of one host add in memory that they share; of several hosts, one rank per host talks to the
others; PyTorch's process groups, gloo and NCCL, are a channel too. Importing this loads neither
Dask nor PyTorch.

Chapter: data parallelism.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from course_lib.parallel.channels.choice import CHANNELS, OnChannel, choose, connected, host_name
from course_lib.parallel.channels.hierarchical import Hierarchical
from course_lib.parallel.channels.shared_memory import SharedMemory

if TYPE_CHECKING:
    from course_lib.parallel.channels.devices import DEVICES, own_device
    from course_lib.parallel.channels.torch_comm import TorchComm

__all__ = [
    "CHANNELS",
    "DEVICES",
    "Hierarchical",
    "OnChannel",
    "SharedMemory",
    "TorchComm",
    "choose",
    "connected",
    "host_name",
    "own_device",
]

_LAZY = {"DEVICES": "devices", "TorchComm": "torch_comm", "own_device": "devices"}


def __getattr__(name: str) -> Any:
    # PEP 562: what needs a large library is imported when it is named.
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
