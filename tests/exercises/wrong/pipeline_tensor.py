"""Typical wrong answers to the exercises of the chapter on pipeline and tensor parallelism."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np


def _smallest(stages: int, idle: float) -> float:
    return (stages - 1) * (1 - idle) / idle


def _one_f_one_b(stage: int, stages: int, micro_batches: int, *, ahead: int) -> list[str]:
    ahead = min(ahead, micro_batches)
    actions = [f"{stage}F{i}" for i in range(ahead)]
    for i in range(micro_batches):
        if ahead + i < micro_batches:
            actions.append(f"{stage}F{ahead + i}")
        actions.append(f"{stage}B{i}")
    return actions


def _gpipe(stage: int, stages: int, micro_batches: int) -> list[str]:
    return [f"{stage}{kind}{i}" for kind in "FB" for i in range(micro_batches)]


def _backward(
    x: Any, columns: Any, biases: Any, rows: Any, dz: Any, *, slope: Any, add: Any = sum
) -> Any:
    shares, dw1 = [], []
    for v1, c1, v2 in zip(columns, biases, rows, strict=True):
        dz1 = (dz @ v2.T) * slope(np.tanh(x @ v1 + c1))
        dw1.append(x.T @ dz1)
        shares.append(dz1 @ v1.T)
    return add(shares), dw1


def _right(h: Any) -> Any:
    return 1 - h**2


def _by_number(costs: list[int], stages: int) -> list[int]:
    lengths = [len(part) for part in np.array_split(costs, stages)]
    return [int(c) for c in np.cumsum(lengths)[:-1]]


def _to_the_average(costs: list[int], stages: int) -> list[int]:
    cuts, load = [], 0.0
    for i, cost in enumerate(costs):
        if load >= sum(costs) / stages and len(cuts) < stages - 1:
            cuts.append(i)
            load = 0.0
        load += cost
    spare = [i for i in reversed(range(1, len(costs))) if i not in cuts]
    return sorted(cuts + spare[: stages - 1 - len(cuts)])


def _tried(costs: list[int], stages: int) -> tuple[int, ...]:
    """Return the best of all cuts."""

    def slowest(cuts: tuple[int, ...]) -> int:
        return max(sum(part) for part in np.split(costs, cuts))

    return min(combinations(range(1, len(costs)), stages - 1), key=slowest)


WRONG: dict[str, dict[str, Any]] = {
    "pipeline_tensor.micro_batches": {
        "idle-over-work": lambda p, idle: max(1, math.ceil((p - 1) / idle)),
        "rounded-down": lambda p, idle: max(1, math.floor(_smallest(p, idle))),
        "one-too-many": lambda p, idle: math.floor(_smallest(p, idle)) + 1,
        "no-micro-batch": lambda p, idle: math.ceil(_smallest(p, idle)),
        "wrong-values": lambda p, idle: 4 * p,
    },
    "pipeline_tensor.one_stage": {
        "gpipe-instead": _gpipe,
        "too-many-in-flight": lambda s, p, m: _one_f_one_b(s, p, m, ahead=p - 1),
        "stages-idle": lambda s, p, m: _one_f_one_b(s, p, m, ahead=0),
        "not-a-schedule": lambda s, p, m: _one_f_one_b(s, p, m, ahead=p - 1 - s)[:-1],
    },
    "pipeline_tensor.pair_backward": {
        "dx-of-one-rank": lambda *a: _backward(*a, slope=_right, add=lambda shares: shares[-1]),
        "dx-averaged": lambda *a: _backward(*a, slope=_right, add=lambda s: sum(s) / len(s)),
        "derivative-missing": lambda *a: _backward(*a, slope=np.ones_like),
        "derivative-at-h": lambda *a: _backward(*a, slope=lambda h: 1 - np.tanh(h) ** 2),
        "not-a-pair": lambda *a: _backward(*a, slope=_right)[0],
        "wrong-values": lambda *a: _backward(*a, slope=lambda h: 1 - h),
    },
    "pipeline_tensor.best_cut": {
        "cut-by-number": _by_number,
        "not-the-best": _to_the_average,
        "numbers-of-layers": lambda costs, stages: np.diff(
            [0, *_tried(costs, stages), len(costs)]
        ).tolist(),
        "wrong-number-of-cuts": lambda costs, stages: [*_by_number(costs, stages), len(costs)],
        "empty-stage": lambda costs, stages: [c - 1 for c in _tried(costs, stages)],
        "not-a-list-of-cuts": lambda costs, stages: max(costs),
    },
}
