"""How a rank reads its rows: with PyTorch's loader, onto its device, and with noise of its own.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import ParallelError
from course_lib.parallel.torch_ddp.noise import seed_noise
from course_lib.parallel.torch_ddp.sampler import Piece, ShareSampler


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


class Seeded(Dataset[Any]):
    """The rows of a dataset, read in pieces of which each has noise of its own.

    The noise of a piece is a function of the key and of its number, wherever it is read and
    whatever was read before: in this process or in one of a loader's, from the first piece on or
    from one in the middle.
    """

    def __init__(self, dataset: Any, key: tuple[int, ...]) -> None:
        self._dataset, self._key = dataset, key

    def __getitems__(self, piece: list[int]) -> Any:
        """Return rows; the first number is that of the piece."""
        number, *rows = piece
        seed_noise(*self._key, number)
        many = getattr(self._dataset, "__getitems__", None)
        return [self._dataset[row] for row in rows] if many is None else many(rows)


def read(
    comm: Comm, device: torch.device, dataset: Any, sampler: ShareSampler,
    options: Mapping[str, Any], noise: tuple[int, ...] | None = None,
) -> Iterator[tuple[Any, Piece]]:  # fmt: skip
    """Yield each piece of a sampler's, its rows collated and on the device.

    `options` are those of the ``DataLoader``; `noise` is the key of the noise that the rows draw,
    None for what the global generators give.
    """
    if options.get("num_workers", 0) and multiprocessing.current_process().daemon:
        raise ParallelError(
            f"loader: num_workers={options['num_workers']} starts processes, which this Dask "
            "worker may not: it is a daemonic process itself. Use num_workers=0, or start the "
            "workers where dask.config.set({'distributed.worker.daemon': False}) holds (for "
            "`dask worker`: DASK_DISTRIBUTED__WORKER__DAEMON=False in its environment)."
        )
    if options.get("num_workers", 0):
        options = {"timeout": comm.timeout, **options}
    options = {"pin_memory": device.type == "cuda", **options}
    rows: Any = sampler
    if noise is not None:
        dataset = Seeded(dataset, noise)
        rows = ([piece.number, *piece.rows] for piece in sampler.pieces())
    loader: Any = DataLoader(dataset, batch_sampler=rows, **options)
    for data, piece in zip(loader, sampler.pieces(), strict=True):
        comm.check()
        yield to_device(data, device), piece
