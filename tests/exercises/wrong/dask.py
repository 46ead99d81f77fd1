"""Typical wrong answers to the exercises of the chapter on Dask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _steps(step: float, overhead: float, share: float) -> float:
    return share / (1 - share) * overhead / step


def _about_own_mean(block: Any) -> Any:
    return len(block), block.mean(axis=0), ((block - block.mean(axis=0)) ** 2).sum(axis=0)


def _common(notes: Any, *, between: bool = True, less: int = 0) -> Any:
    n = sum(k for k, _, _ in notes)
    mean = sum(k * m for k, m, _ in notes) / n
    squares = sum(q + (k * (m - mean) ** 2 if between else 0) for k, m, q in notes)
    return mean, np.sqrt(squares / (n - less))


def _mean_of_means(notes: Any) -> Any:
    return np.mean([m for _, m, _ in notes], axis=0), _common(notes)[1]


def _raw_sums(block: Any) -> Any:
    return len(block), block.sum(axis=0), (block**2).sum(axis=0)


def _from_raw_sums(notes: Any) -> Any:
    n, total, squares = (sum(note[i] for note in notes) for i in range(3))
    return total / n, np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))


def _simulated(n: int, p: int, work: float, order: float, *, ahead: bool) -> float:
    free, clock = [0.0] * p, 0.0
    for _ in range(n):
        first = free.index(min(free))
        clock = (clock if ahead else max(clock, free[first])) + order
        free[first] = max(clock, free[first]) + work
    return max(free)


WRONG = {
    "dask.steps_per_task": {
        "not-whole": _steps,
        "rounded-down": lambda *args: max(1, math.floor(_steps(*args))),
        "share-of-the-overhead": lambda step, overhead, share: math.ceil(share * overhead / step),
        "half-and-half": lambda step, overhead, share: math.ceil(overhead / step / share),
        "wrong-values": lambda step, overhead, share: 1,
    },
    "dask.throw_dice": {
        "waits-in-the-loop": lambda c, die, n: [
            c.submit(die, pure=False).result() for _ in range(n)
        ],
        "pure-by-mistake": lambda c, die, n: c.gather([c.submit(die) for _ in range(n)]),
        "futures-returned": lambda c, die, n: [c.submit(die, pure=False) for _ in range(n)],
        "not-on-the-cluster": lambda c, die, n: [die() for _ in range(n)],
        "not-a-list": lambda c, die, n: sum(
            c.gather([c.submit(die, pure=False) for _ in range(n)])
        ),
        "raises-an-error": lambda c, die, n: c.gather(c.map(die, range(n), pure=False)),
        "wrong-values": lambda c, die, n: c.gather(
            [c.submit(die, pure=False) for _ in range(n)]
        )[::-1],
    },
    "dask.block_std": {
        "not-a-pair": lambda blocks: blocks,
        "whole-block-sent": (lambda block: block, lambda notes: np.vstack(notes).std(axis=0)),
        "not-mean-and-deviation": (_about_own_mean, lambda notes: _common(notes)[1]),
        "mean-of-means": (_about_own_mean, _mean_of_means),
        "between-blocks-ignored": (_about_own_mean, lambda notes: _common(notes, between=False)),
        "divided-by-n-minus-1": (_about_own_mean, lambda notes: _common(notes, less=1)),
        "digits-lost": (_raw_sums, _from_raw_sums),
    },
    "dask.busy_scheduler": {
        "scheduler-ignored": lambda n, p, work, order: math.ceil(n / p) * work,
        "one-order-only": lambda n, p, work, order: order + math.ceil(n / p) * work,
        "a-scheduler-per-worker": lambda n, p, work, order: math.ceil(n / p) * (work + order),
        "scheduler-waits": lambda *args: _simulated(*args, ahead=False),
        "bound-instead": lambda n, p, work, order: max(n * order, n * work / p),
        "wrong-values": lambda n, p, work, order: n * (work + order),
    },
}  # fmt: skip
