"""Channels that lie over a communicator, and the choice of the one that fits where the ranks run.

Ranks of one host add in memory that they share; of several hosts, one rank per host talks to the
others; PyTorch's process groups, gloo and NCCL, are a channel too. Importing this loads neither
Dask nor PyTorch.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.needs import on_demand
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

__getattr__ = on_demand(
    __name__, {"DEVICES": "devices", "TorchComm": "torch_comm", "own_device": "devices"}
)
