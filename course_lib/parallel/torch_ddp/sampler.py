"""Each rank's share of each global batch: every sample once per epoch, for any number of ranks.

``torch.utils.data.DistributedSampler`` repeats samples until all ranks have equally many, and its
batch size is per rank, so the result of a training depends on the number of ranks. Here the global
batches are those of :func:`course_lib.data.batches`, and each rank takes its part of each.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from course_lib.arrays import Array, check_integer
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
    total : float
        Rows of the global batch; if they have weights, the sum of these.
    ranks : int
        How many ranks share it.
    weights : Tensor, shape (rows,), or None
        Of this rank's rows; None if each counts as one.

    Examples
    --------
    >>> Share(None, rows=3, total=8, ranks=2).mean(torch.tensor(12.0))
    tensor(3.)
    >>> Share(None, 2, 8, 2, torch.tensor([1.0, 3.0])).sum(torch.tensor([5.0, 7.0]))
    tensor(26.)
    """

    data: Any
    rows: int
    total: float
    ranks: int
    weights: torch.Tensor | None = None

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of one number per row, each times the weight of its row."""
        if self.weights is None or not self.rows:
            return values.sum()
        return (values * self.weights.to(values.dtype)).sum()

    def mean(self, loss_sum: torch.Tensor) -> torch.Tensor:
        """Return what to call ``backward()`` on, given the SUM of the loss over this rank's rows.

        DistributedDataParallel averages the gradients of the ranks; this factor, ranks / total,
        makes of it the gradient of the mean over the global batch, however unequal the shares.
        """
        return loss_sum * (self.ranks / self.total if self.rows and self.total else 0.0)


class Piece(NamedTuple):
    """One rank's row numbers of a global batch, or of a part of it that is run on its own.

    Attributes
    ----------
    number, step : int
        Which piece of the epoch, and of which step, both from 0.
    rows : list of int
        At least one row, also for a rank that has none.
    own : int
        How many of them count.
    total : float
        Rows of the global batch, or the sum of their weights.
    ends : bool
        Whether it is the last piece of its step.

    Examples
    --------
    >>> next(ShareSampler(10, 4, 1, 2, shuffle=False, accumulate=2).pieces())
    Piece(number=0, step=0, rows=[1], own=1, total=4, ends=False)
    """

    number: int
    step: int
    rows: list[int]
    own: int
    total: float
    ends: bool


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
    drop_last : bool
        Leave out the last batch of an epoch if it is smaller than the others.
    accumulate : int
        In how many pieces each global batch is cut, which are run one after the other and shared
        by the ranks each; a batch of fewer rows has a piece for each.
    weights : array, shape (n,), optional
        How much each row counts; by default 1.
    draw : array, shape (n,), optional
        How often each row is drawn, relative to the others: an epoch is then n draws with
        replacement, the same for any number of ranks, instead of a permutation.
    first : int
        The step to begin with, for an epoch that goes on in its middle.

    Raises
    ------
    ValueError
        If there is no batch at all.

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
        drop_last: bool = False,
        accumulate: int = 1,
        weights: Array | None = None,
        draw: Array | None = None,
        first: int = 0,
    ) -> None:
        where = "sampler"
        self._accumulate, self._weights, self._draw = accumulate, weights, draw
        self._first = first
        self._n = check_integer(n, where=where, name="len(dataset)", at_least=1)
        self._batch_size = check_integer(batch_size, where=where, name="batch_size", at_least=1)
        self._rank, self._size, self._seed, self._shuffle = rank, size, seed, shuffle
        self._drop_last = drop_last
        if not self.totals:
            raise ValueError(
                f"{where}: the dataset has {n} rows, so drop_last=True leaves none of a batch of "
                f"{batch_size}; choose a smaller batch_size."
            )
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose another permutation, as with ``DistributedSampler``."""
        self._epoch = epoch

    @property
    def totals(self) -> list[int]:
        """Rows of each global batch."""
        full, rest = divmod(self._n, self._batch_size)
        return [self._batch_size] * full + [rest] * (rest > 0 and not self._drop_last)

    @property
    def rows(self) -> list[int]:
        """Rows of each batch that are this rank's."""
        parts = (shard(total, self._rank, self._size) for total in self.totals)
        return [part.stop - part.start for part in parts]

    def __len__(self) -> int:
        """Count the batches, or the pieces of them: the same number on every rank."""
        return sum(min(total, self._accumulate) for total in self.totals[self._first :])

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this rank's row numbers of each batch; at least one."""
        return (piece.rows for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """Yield the same, with what is to be known of them."""
        for step, batch in islice(enumerate(self._batches()), self._first, len(self.totals)):
            total = self._weight(batch)
            parts = min(self._accumulate, len(batch))
            for part in range(parts):
                whole = batch[shard(len(batch), part, parts)]
                own = whole[shard(len(whole), self._rank, self._size)].tolist()
                number, ends = step * self._accumulate + part, part == parts - 1
                yield Piece(number, step, own or whole[:1].tolist(), len(own), total, ends)

    def epoch_weight(self) -> float:
        """Return the weights of all batches of the epoch together, those before `first` too."""
        if self._weights is None:
            return sum(self.totals)
        return sum(map(self._weight, islice(self._batches(), len(self.totals))))

    def _weight(self, batch: Any) -> float:
        return len(batch) if self._weights is None else float(self._weights[batch].sum())

    def _batches(self) -> Iterator[Any]:
        if self._shuffle and self._draw is None:
            return batches(self._n, self._batch_size, seed=self._seed, epoch=self._epoch)
        order = np.arange(self._n)
        if self._draw is not None:
            rng = np.random.default_rng([self._seed, self._epoch])
            order = rng.choice(self._n, self._n, p=self._draw / self._draw.sum())
        return (order[i : i + self._batch_size] for i in range(0, self._n, self._batch_size))
