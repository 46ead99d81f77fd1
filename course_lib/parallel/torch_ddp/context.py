"""What a rank of a PyTorch program is given: its device, its data, its peers, its checkpoints.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from course_lib.arrays import check_integer
from course_lib.checkpoint import StrPath
from course_lib.parallel.comm import Comm
from course_lib.parallel.torch_ddp.checkpoint import Saved, load_parts, save_parts
from course_lib.parallel.torch_ddp.noise import seed_noise
from course_lib.parallel.torch_ddp.reading import read
from course_lib.parallel.torch_ddp.sampler import Share, ShareSampler
from course_lib.paths import check_path
from course_lib.registry import lookup

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
    folder : str
        What a path that is not absolute begins at: the driver's working directory, as workers
        may have another.

    Attributes
    ----------
    rank, size : int
        Who this is, from 0, and how many there are.
    comm, device
        As given.
    """

    def __init__(self, comm: Comm, device: torch.device, folder: str = "") -> None:
        self.comm, self.device, self._folder = comm, device, Path(folder)
        self.rank, self.size = comm.rank, comm.size
        self._told = 0.0

    def wrap(self, module: nn.Module, **options: Any) -> DistributedDataParallel:
        """Move a module to the device, give it the weights of rank 0, and add up its gradients.

        Make the optimizer afterwards. Layers that look at the whole batch, such as BatchNorm, see
        this rank's share only; on GPUs, ``nn.SyncBatchNorm.convert_sync_batchnorm`` helps.

        After the first step PyTorch puts the gradients into buckets in the order in which they
        became ready, and from then on three ranks or more add them in another order: a program
        that goes on from a checkpoint differs in the last bits, unless it takes a forward and a
        backward pass on every rank before :meth:`load`.

        Parameters
        ----------
        module : nn.Module
            Of the same structure on every rank.
        **options
            For ``DistributedDataParallel``, such as ``find_unused_parameters=True``.
        """
        ids = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(module.to(self.device), device_ids=ids, **options)

    def seed(self, seed: int, epoch: int) -> None:
        """Seed PyTorch, NumPy and Python: noise that is another on each rank and in each epoch.

        For dropout, and for datasets that draw at random; the processes of a DataLoader take
        their seeds from PyTorch's. Call it before each epoch, and a run that goes on draws the
        same.
        """
        check_integer(seed, where="seed", name="seed", at_least=0)
        check_integer(epoch, where="seed", name="epoch", at_least=0)
        seed_noise(seed, epoch, self.rank)

    def share_buffers(self, module: nn.Module) -> None:
        """Give every rank the buffers of rank 0, such as the running means of BatchNorm.

        ``DistributedDataParallel`` does so before each step only, so after one each rank has the
        statistics of its own rows. Every rank must call it.
        """
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)

    def sampler(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
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
            n, batch_size, self.rank, self.size, seed=seed, epoch=epoch, shuffle=shuffle,
            drop_last=drop_last,
        )  # fmt: skip

    def loader(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        **options: Any,
    ) -> Iterator[Share]:
        """Yield this rank's share of each global batch of an epoch, on the device.

        Every rank gets the same number of shares, and every row is in one of them, once (but for
        those of a smaller last batch, with ``drop_last=True``).

        Parameters
        ----------
        dataset : Dataset
            With a length and rows, such as a TensorDataset; the same on every rank.
        batch_size : int
            Of the global batch, whatever the number of ranks.
        seed, epoch, shuffle
            Which order: that of :func:`course_lib.data.batches`. For rows that are drawn at
            random, see :meth:`seed`.
        drop_last : bool
            Leave out the last batch if it is smaller than the others.
        **options
            For ``DataLoader``: ``num_workers``, ``collate_fn``, ...

        Raises
        ------
        ValueError
            If an option would choose other rows.
        ParallelError
            If num_workers > 0 where Dask does not let its workers start processes.
        """
        if taken := sorted({"batch_sampler", "sampler"} & set(options)):
            raise ValueError(
                f"loader: {taken[0]}= would choose other rows than this rank's share of each "
                "global batch; leave it out, or use ctx.sampler in a DataLoader of your own."
            )
        sampler = self.sampler(
            dataset, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle,
            drop_last=drop_last,
        )  # fmt: skip
        for i, (data, piece) in enumerate(read(self.comm, self.device, dataset, sampler, options)):
            if time.monotonic() - self._told > _PROGRESS:
                self._tell("progress", {"epoch": epoch, "batch": i, "batches": len(sampler)})
            yield Share(data, piece.own, piece.total, self.size)

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
        own: Any = None,
        **parts: Any,
    ) -> None:
        """Write a checkpoint, on rank 0; the other ranks go on, and need not call it without `own`.

        Parameters
        ----------
        directory : path
            A folder that the machine of rank 0 sees; a relative one is the driver's.
        step, keep, meta
            See :func:`course_lib.checkpoint.save`.
        own : optional
            What this rank alone has, such as ``{"noise": torch.get_rng_state()}``: tensors,
            arrays, numbers, strings, and dicts and lists of them. Every rank must give something
            then, and :meth:`load` gives it back to each.
        **parts
            Whatever has a ``state_dict`` and is the same on every rank: ``model=model,
            optimizer=optimizer``.
        """
        where = self._folder / check_path(directory, where="save", name="directory")
        path = save_parts(self.comm, where, parts, own, step=step, meta=meta, keep=keep)
        if self.rank == 0:
            self._tell("checkpoint", {"step": step}, path)

    def load(self, directory: StrPath, **parts: Any) -> Saved | None:
        """Give the parts the state of the newest whole checkpoint; None if there is none.

        Every rank must call it; rank 0 reads, and sends the others what it read.

        Returns
        -------
        Saved or None
            ``step``, ``meta`` and ``own``, as they were given to :meth:`save`.

        Raises
        ------
        CheckpointMismatch
            If the checkpoint has no such part, or that of another module or optimizer; or if it
            holds something of each rank's own, and there were more or fewer ranks.
        """
        where = self._folder / check_path(directory, where="load", name="directory")
        return load_parts(self.comm, where, parts)

    def _tell(self, kind: str, values: Mapping[str, Any], message: str = "") -> None:
        self._told = time.monotonic()
        event = {"rank": self.rank, "kind": kind, "values": dict(values), "message": message}
        self.comm.report(event)
