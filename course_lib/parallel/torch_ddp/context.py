"""What a rank of a PyTorch program is given: its device, its data, its peers, its checkpoints.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from course_lib.checkpoint import StrPath
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import ParallelError
from course_lib.parallel.torch_ddp.checkpoint import Saved, load_parts, save_parts
from course_lib.parallel.torch_ddp.sampler import Share, ShareSampler
from course_lib.registry import lookup


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


# A sign of life this often at most: the scheduler passes each on.
_PROGRESS = 0.5

_OPERATIONS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


class Context:
    """One rank's view of a :func:`~course_lib.parallel.torch_ddp.run`.

    The default group of ``torch.distributed`` is open, for whatever is not offered here.

    Parameters
    ----------
    comm : Comm
        This rank's communicator.
    device : torch.device
        What this rank computes on.

    Attributes
    ----------
    rank, size : int
        Who this is, from 0, and how many there are.
    comm, device
        As given.
    """

    def __init__(self, comm: Comm, device: torch.device) -> None:
        self.comm, self.device = comm, device
        self.rank, self.size = comm.rank, comm.size
        self._told = 0.0

    def wrap(self, module: nn.Module, **options: Any) -> DistributedDataParallel:
        """Move a module to the device, give it the weights of rank 0, and add up its gradients.

        Make the optimizer afterwards. Layers that look at the whole batch, such as BatchNorm, see
        this rank's share only; on GPUs, ``nn.SyncBatchNorm.convert_sync_batchnorm`` helps.

        Parameters
        ----------
        module : nn.Module
            Of the same structure on every rank.
        **options
            For ``DistributedDataParallel``, such as ``find_unused_parameters=True``.
        """
        ids = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(module.to(self.device), device_ids=ids, **options)

    def sampler(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
    ) -> ShareSampler:
        """Return this rank's rows of each global batch, the ``batch_sampler`` of a DataLoader."""
        n = len(dataset) if hasattr(dataset, "__len__") else None
        if n is None or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"sampler: {type(dataset).__name__} has no length or no rows to choose from, so "
                "it can not be shared by rows; let each rank read its own part, by ctx.rank, and "
                "weight the losses with ctx.scale."
            )
        return ShareSampler(
            n, batch_size, self.rank, self.size, seed=seed, epoch=epoch, shuffle=shuffle
        )

    def loader(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        **options: Any,
    ) -> Iterator[Share]:
        """Yield this rank's share of each global batch of an epoch, on the device.

        Every rank gets the same number of shares, and every row is in one of them, once.

        Parameters
        ----------
        dataset : Dataset
            With a length and rows, such as a TensorDataset; the same on every rank.
        batch_size : int
            Of the global batch, whatever the number of ranks.
        seed, epoch, shuffle
            Which order: that of :func:`course_lib.data.batches`.
        **options
            For ``DataLoader``: ``num_workers``, ``collate_fn``, ...

        Raises
        ------
        ParallelError
            If num_workers > 0 where Dask does not let its workers start processes.
        """
        sampler = self.sampler(
            dataset, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle
        )
        numbers = zip(sampler.rows, sampler.totals, strict=True)
        if options.get("num_workers", 0) and multiprocessing.current_process().daemon:
            raise ParallelError(
                f"loader: num_workers={options['num_workers']} starts processes, which this Dask "
                "worker may not: it is a daemonic process itself. Use num_workers=0, or start the "
                "workers where dask.config.set({'distributed.worker.daemon': False}) holds (for "
                "`dask worker`: DASK_DISTRIBUTED__WORKER__DAEMON=False in its environment)."
            )
        options = {"pin_memory": self.device.type == "cuda", **options}
        loader = DataLoader(dataset, batch_sampler=sampler, **options)
        for i, (data, (rows, total)) in enumerate(zip(loader, numbers, strict=True)):
            self.comm.check()
            if time.monotonic() - self._told > _PROGRESS:
                self._tell("progress", {"epoch": epoch, "batch": i, "batches": len(sampler)})
            yield Share(to_device(data, self.device), rows, total, self.size)

    def scale(self, loss_sum: Tensor, total: int) -> Tensor:
        """Return what to call ``backward()`` on, given the SUM of this rank's losses.

        `total` is the number of rows of all ranks together; see :meth:`Share.mean`.
        """
        return loss_sum * (self.size / total)

    def all_reduce(self, value: Any, op: str = "sum") -> Any:
        """Add up a number or a tensor over all ranks (or take the "max" or "min").

        Every rank must call it. Returns a float for a number, and a new tensor for a tensor.
        """
        operation = lookup("operation", op, _OPERATIONS)
        if isinstance(value, Tensor):
            there = value.detach().to(self.device, copy=True)
        else:
            there = torch.tensor(float(value), dtype=torch.float64, device=self.device)
        dist.all_reduce(there, op=operation)
        return there.to(value.device) if isinstance(value, Tensor) else there.item()

    def any(self, flag: bool) -> bool:
        """Return, on every rank, whether any rank says True: so that all stop, or none."""
        return bool(self.all_reduce(float(flag), "max"))

    def report(self, **values: Any) -> None:
        """Tell the driver numbers or strings; ``on_event`` gets them with this rank's number."""
        for name, value in values.items():
            if isinstance(value, Tensor | np.generic):
                values[name] = value.item()
        self._tell("metric", values)

    def save(
        self,
        directory: StrPath,
        *,
        step: int,
        keep: int = 3,
        meta: Mapping[str, Any] | None = None,
        **parts: Any,
    ) -> None:
        """Write a checkpoint, on rank 0; the other ranks go on, and need not call it.

        The parts are whatever has a ``state_dict``: ``model=model, optimizer=optimizer``. For the
        rest see :func:`course_lib.checkpoint.save`.
        """
        if self.rank == 0:
            path = save_parts(directory, parts, step=step, meta=meta, keep=keep)
            self._tell("checkpoint", {"step": step}, path)

    def load(self, directory: StrPath, **parts: Any) -> Saved | None:
        """Give the parts the state of the newest whole checkpoint; None if there is none.

        Every rank must call it; rank 0 reads, and sends the others what it read.
        """
        return load_parts(self.comm, directory, parts)

    def _tell(self, kind: str, values: Mapping[str, Any], message: str = "") -> None:
        self._told = time.monotonic()
        event = {"rank": self.rank, "kind": kind, "values": dict(values), "message": message}
        self.comm.report(event)
