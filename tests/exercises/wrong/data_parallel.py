"""Typical wrong answers to the exercises of the chapter on data parallelism."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from course_lib.parallel.collectives import all_reduce


def _rows(saved: Any, whole: Any = lambda n: math.floor(n) + 1) -> Any:
    return lambda c, k, p: math.inf if p == 1 else whole(k / (c * saved(p)))


def _one_rank(c: float, k: float, p: int) -> float:
    return 1 if p == 1 else math.floor(k / (c * (1 - 1 / p))) + 1


def _weighted(comm: Any, gradients: Any, weights: Any, *, by: str) -> Any:
    own = weights.sum()
    part = weights @ gradients
    if by == "nothing":
        return all_reduce(comm, part)
    if by == "plain":
        rows = all_reduce(comm, np.array([float(len(weights))]))
        return all_reduce(comm, gradients.sum(axis=0)) / rows
    if by == "rows":
        return all_reduce(comm, part) / all_reduce(comm, np.array([float(len(weights))]))
    if by == "own":
        return all_reduce(comm, part) / own
    mean = part / own if by == "careless" or own else np.zeros(gradients.shape[1])
    if by == "alone":
        return mean
    if by == "careless":
        total = all_reduce(comm, np.array([own]))
        return all_reduce(comm, mean * own) / total
    added = all_reduce(comm, mean)
    return added / comm.size if by == "means" else added


def _silent_rank(comm: Any, gradients: Any, weights: Any) -> Any:
    if len(weights) < 2:
        return np.zeros(3)
    total = np.append(weights @ gradients, weights.sum())
    all_reduce(comm, total)
    return total[:-1] / total[-1]


def _floor(n: int, speeds: list[float]) -> Any:
    exact = [n * s / sum(speeds) for s in speeds]
    return exact, [math.floor(e + 1e-9) for e in exact]


def _to_fastest(n: int, speeds: list[float]) -> list[int]:
    _, rows = _floor(n, speeds)
    rows[speeds.index(max(speeds))] += n - sum(rows)
    return rows


def _to_first(n: int, speeds: list[float]) -> list[int]:
    _, rows = _floor(n, speeds)
    for r in range(n - sum(rows)):
        rows[r] += 1
    return rows


def _to_fraction(n: int, speeds: list[float]) -> list[int]:
    exact, rows = _floor(n, speeds)
    fractions = sorted(range(len(rows)), key=lambda r: rows[r] - exact[r])
    for r in fractions[: n - sum(rows)]:
        rows[r] += 1
    return rows


def _swapped(n: int, speeds: list[float]) -> list[int]:
    return _to_fraction(n, [1 / s for s in speeds])


WRONG = {
    "data_parallel.rows_to_pay": {
        "a-draw-counted": _rows(lambda p: 1 - 1 / p, math.ceil),
        "not-whole": _rows(lambda p: 1 - 1 / p, float),
        "all-of-it-saved": _rows(lambda p: 1),
        "share-instead-of-saving": _rows(lambda p: 1 / p),
        "one-rank-wins": _one_rank,
        "raises-an-error": lambda c, k, p: math.floor(k / (c * (p - 1) / p)) + 1,
    },
    "data_parallel.with_penalty": {
        "penalty-left-out": lambda g, theta, decay, rank, size: g,
        "penalty-from-every-rank": lambda g, theta, decay, rank, size: g + decay * theta,
        "loss-instead-of-gradient": lambda g, theta, decay, rank, size: (
            g + decay / 2 * theta**2 / size
        ),
        "half-kept": lambda g, theta, decay, rank, size: g + decay / 2 * theta / size,
        "all-divided": lambda g, theta, decay, rank, size: (g + decay * theta) / size,
        "uphill": lambda g, theta, decay, rank, size: g - (rank == 0) * decay * theta,
    },
    "data_parallel.weighted_rows": {
        "mean-of-means": lambda *a: _weighted(*a, by="means"),
        "divided-by-rows": lambda *a: _weighted(*a, by="rows"),
        "own-weights": lambda *a: _weighted(*a, by="own"),
        "own-rows-only": lambda *a: _weighted(*a, by="alone"),
        "sum-of-means": lambda *a: _weighted(*a, by="sum"),
        "never-divided": lambda *a: _weighted(*a, by="nothing"),
        "weights-left-out": lambda *a: _weighted(*a, by="plain"),
        "empty-rank": lambda *a: _weighted(*a, by="careless"),
        "waits-in-vain": _silent_rank,
    },
    "data_parallel.unequal_ranks": {
        "even": lambda n, speeds: [
            n // len(speeds) + (r < n % len(speeds)) for r, _ in enumerate(speeds)
        ],
        "rest-to-the-fastest": _to_fastest,
        "rest-to-the-first": _to_first,
        "largest-fraction-first": _to_fraction,
        "slow-ranks-favoured": _swapped,
        "rows-lost-or-invented": lambda n, speeds: [round(n * s / sum(speeds)) for s in speeds],
        "not-whole": lambda n, speeds: [n * s / sum(speeds) for s in speeds],
    },
}
