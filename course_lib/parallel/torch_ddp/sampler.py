"""Each rank's share of each global batch: every sample once per epoch, for any number of ranks.

``torch.utils.data.DistributedSampler`` repeats samples until all ranks have equally many, and its
batch size is per rank, so the result of a training depends on the number of ranks. Here the global
batches are those of :func:`course_lib.data.batches`, and each rank takes its part of each.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from course_lib.arrays import check_integer
from course_lib.data import batches
from course_lib.parallel.collectives import shard


@dataclass(frozen=True)
class Share:
    """One rank's part of a global batch.

    Attributes
    ----------
    data : object
        What the dataset's rows were collated to, on this rank's device.
    rows : int
        How many rows of it count: 0 for a rank that has none. Its `data` then holds one row all
        the same, since a forward and a backward pass must take place on every rank, and
        :meth:`mean` gives it no weight.
    total : int
        Rows of the global batch.
    ranks : int
        How many ranks share it.

    Examples
    --------
    >>> Share(None, rows=3, total=8, ranks=2).mean(torch.tensor(12.0))
    tensor(3.)
    """

    data: Any
    rows: int
    total: int
    ranks: int

    def mean(self, loss_sum: torch.Tensor) -> torch.Tensor:
        """Return what to call ``backward()`` on, given the SUM of the loss over this rank's rows.

        DistributedDataParallel averages the gradients of the ranks; this factor, ranks / total,
        makes of it the gradient of the mean over the global batch, however unequal the shares.
        """
        return loss_sum * (self.ranks / self.total if self.rows else 0.0)


class ShareSampler(Sampler[list[int]]):
    """A ``batch_sampler`` for a DataLoader: this rank's rows of each global batch.

    Parameters
    ----------
    n : int
        Samples in the dataset.
    batch_size : int
        Of the global batch; the last one may be smaller.
    rank, size : int
        Which rank, of how many.
    seed, epoch : int
        Which permutation.
    shuffle : bool
        False: in order.

    Examples
    --------
    Ten rows in global batches of four, shared by three ranks; the last batch has one row for the
    first two ranks each, and a stand-in for the third:

    >>> for rank in range(3):
    ...     sampler = ShareSampler(10, 4, rank, 3, shuffle=False)
    ...     print(list(sampler), sampler.rows)
    [[0, 1], [4, 5], [8]] [2, 2, 1]
    [[2], [6], [9]] [1, 1, 1]
    [[3], [7], [8]] [1, 1, 0]
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        rank: int,
        size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
    ) -> None:
        where = "sampler"
        self._n = check_integer(n, where=where, name="len(dataset)", at_least=1)
        self._batch_size = check_integer(batch_size, where=where, name="batch_size", at_least=1)
        self._rank, self._size, self._seed, self._shuffle = rank, size, seed, shuffle
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose another permutation, as with ``DistributedSampler``."""
        self._epoch = epoch

    @property
    def totals(self) -> list[int]:
        """Rows of each global batch."""
        full, rest = divmod(self._n, self._batch_size)
        return [self._batch_size] * full + [rest] * (rest > 0)

    @property
    def rows(self) -> list[int]:
        """Rows of each batch that are this rank's."""
        parts = (shard(total, self._rank, self._size) for total in self.totals)
        return [part.stop - part.start for part in parts]

    def __len__(self) -> int:
        """Count the batches: the same number on every rank."""
        return len(self.totals)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this rank's row numbers of each batch; at least one."""
        for batch in self._batches():
            part = shard(len(batch), self._rank, self._size)
            yield batch[part].tolist() or batch[:1].tolist()

    def _batches(self) -> Iterator[Any]:
        if self._shuffle:
            yield from batches(self._n, self._batch_size, seed=self._seed, epoch=self._epoch)
        else:
            starts = range(0, self._n, self._batch_size)
            yield from (np.arange(i, min(i + self._batch_size, self._n)) for i in starts)
