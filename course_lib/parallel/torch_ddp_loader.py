"""PyTorch's DataLoader inside a Dask worker, and the way from it to the device.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from course_lib.parallel.errors import ParallelError
from course_lib.parallel.torch_ddp_sampler import ShareSampler


def data_loader(
    dataset: Dataset[Any],
    sampler: ShareSampler,
    device: torch.device,
    options: Mapping[str, Any],
) -> DataLoader[Any]:
    """Return a DataLoader of one rank's shares.

    Raises
    ------
    ParallelError
        If it is to start processes where it may not.
    """
    if options.get("num_workers", 0) and multiprocessing.current_process().daemon:
        raise ParallelError(
            f"loader: num_workers={options['num_workers']} starts processes, which this Dask "
            "worker may not: it is a daemonic process itself. Use num_workers=0, or start the "
            "workers where dask.config.set({'distributed.worker.daemon': False}) holds (for "
            "`dask worker`: DASK_DISTRIBUTED__WORKER__DAEMON=False in its environment)."
        )
    options = {"pin_memory": device.type == "cuda", **options}
    return DataLoader(dataset, batch_sampler=sampler, **options)


def to_device(data: Any, device: torch.device) -> Any:
    """Move the tensors in a batch of tuples, lists and dicts.

    Examples
    --------
    >>> to_device((torch.zeros(1), {"name": "a"}), torch.device("cpu"))
    (tensor([0.]), {'name': 'a'})
    """
    if isinstance(data, Tensor):
        return data.to(device, non_blocking=True)
    if isinstance(data, Mapping):
        return {key: to_device(value, device) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(to_device(value, device) for value in data))
    if isinstance(data, list | tuple):
        return type(data)(to_device(value, device) for value in data)
    return data
