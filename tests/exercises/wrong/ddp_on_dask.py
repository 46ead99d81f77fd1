"""Typical wrong answers to the exercises of the chapter on PyTorch DDP on Dask."""

from __future__ import annotations

from typing import Any

import numpy as np


def _mean_or_nothing(losses: Any, total: int, ranks: int) -> float:
    return float(losses.mean()) if len(losses) else 0.0


def _cut(batch: list[int], rank: int, size: int, *, up: bool) -> list[int]:
    n = -(-len(batch) // size) if up else len(batch) // size
    return batch[rank * n : (rank + 1) * n]


def _padded(batch: list[int], rank: int, size: int) -> list[int]:
    longer = batch + batch[: -len(batch) % size]
    return longer[rank::size]


def _rest_to_the_last(batch: list[int], rank: int, size: int) -> list[int]:
    n = len(batch) // size
    return batch[rank * n : None if rank == size - 1 else (rank + 1) * n]


def _statistics(
    n: Any, means: Any, variances: Any, *, between: bool = True, lost: int = 0, plain: bool = False
) -> tuple[float, float]:
    mean = np.average(means, weights=n)
    around = means.mean() if plain else mean
    squares = n * (variances + between * (means - around) ** 2)
    return mean, squares.sum() / (n.sum() - lost)


def _ends(
    ready: Any, sizes: Any, limit: float, alpha: float, beta: float, *,
    begin: str = "last", queue: bool = True, rest: bool = True,
) -> float:  # fmt: skip
    ends, first, inside = [0.0], None, 0.0
    for i, (r, n) in enumerate(zip(ready, sizes, strict=True)):
        first = r if first is None else first
        inside += n
        if inside >= limit or (rest and i + 1 == len(ready)):
            at = {"first": first, "last": r, "end": ready[-1]}[begin]
            ends.append(max(at, ends[-1] if queue else 0.0) + alpha + beta * inside)
            first, inside = None, 0.0
    return max(ends)


WRONG: dict[str, dict[str, Any]] = {
    "ddp_on_dask.scale": {
        "mean-of-own-rows": _mean_or_nothing,
        "empty-share": lambda losses, total, ranks: losses.mean(),
        "average-forgotten": lambda losses, total, ranks: losses.sum() / total,
        "not-divided": lambda losses, total, ranks: losses.sum(),
        "divided-twice": lambda losses, total, ranks: losses.sum() / (total * ranks),
        "wrong-values": lambda losses, total, ranks: losses.sum() * total / ranks,
    },
    "ddp_on_dask.share": {
        "rows-repeated": _padded,
        "rows-dropped": lambda batch, rank, size: _cut(batch, rank, size, up=False),
        "uneven": _rest_to_the_last,
        "places-not-rows": lambda batch, rank, size: list(range(len(batch)))[rank::size],
        "not-rows": lambda batch, rank, size: len(batch) // size,
    },
    "ddp_on_dask.batch_statistics": {
        "between-forgotten": lambda *a: _statistics(*a, between=False),
        "shards-not-weighted": lambda n, means, variances: (means.mean(), variances.mean()),
        "divided-by-n-minus-one": lambda *a: _statistics(*a, lost=1),
        "around-the-wrong-mean": lambda *a: _statistics(*a, plain=True),
        "not-a-pair": lambda n, means, variances: float(means.mean()),
    },
    "ddp_on_dask.exchange_ends": {
        "no-overlap": lambda *a: _ends(*a, begin="end"),
        "ready-at-the-first": lambda *a: _ends(*a, begin="first"),
        "buckets-at-once": lambda *a: _ends(*a, queue=False),
        "last-bucket-forgotten": lambda *a: _ends(*a, rest=False),
        "wrong-values": lambda *a: _ends(*a) - a[3],
    },
}
