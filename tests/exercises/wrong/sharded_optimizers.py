"""Typical wrong answers to the exercises of the chapter on sharded optimizers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from course_lib.parallel import shard
from course_lib.parallel.collectives import all_gather, all_reduce, reduce_scatter


def _bytes(
    n: int, p: int, stage: int, *, state: int = 12, order: str = "sgp", up: bool = True
) -> float:
    part = math.ceil(n / p) if up else n / p
    size = {"s": state, "g": 2, "p": 2}
    return sum(size[what] * (part if stage > i else n) for i, what in enumerate(order))


def _all(n: int, p: int, stage: int) -> float:
    return 16 * math.ceil(n / p) if stage else 16 * n


def _scaled(slices: Any, factor: float) -> Any:
    return [v * factor for v in slices]


def _own_norm(slices: Any, limit: float) -> Any:
    return [v * min(1, limit / np.linalg.norm(v)) for v in slices]


def _norm(slices: Any) -> float:
    return math.sqrt(sum((v**2).sum() for v in slices))


def _step(
    comm: Any, theta: Any, gradient: Any, velocity: Any, lr: float, momentum: float, how: str
) -> Any:
    mine = shard(len(theta), comm.rank, comm.size)
    if how == "alone":
        summed = gradient[mine]
    elif how == "everything":
        summed = all_reduce(comm, gradient.copy())[mine]
    else:
        summed = reduce_scatter(comm, gradient.copy())
    velocity = momentum * velocity + summed
    theta = theta.copy()
    theta[mine] -= lr * velocity
    if how != "keep":
        theta = np.concatenate(all_gather(comm, theta[mine]))
    return theta, np.zeros(len(theta)) if how == "whole" else velocity


def _zero(how: str) -> Any:
    return lambda comm, theta, gradient, velocity, *, lr, momentum: _step(
        comm, theta, gradient, velocity, lr, momentum, how
    )


WRONG = {
    "sharded_optimizers.stage_bytes": {
        "master-copy-forgotten": lambda n, p, stage: _bytes(n, p, stage, state=8),
        "everything-cut": _all,
        "wrong-order": lambda n, p, stage: _bytes(n, p, stage, order="gsp"),
        "not-rounded-up": lambda n, p, stage: _bytes(n, p, stage, up=False),
        "wrong-values": lambda n, p, stage: 16 * n / (1 + stage),
    },
    "sharded_optimizers.clip": {
        "own-norm": _own_norm,
        "norms-added": lambda g, limit: _scaled(g, limit / sum(map(np.linalg.norm, g))),
        "short-one-changed": lambda g, limit: _scaled(g, limit / _norm(g)),
        "root-forgotten": lambda g, limit: _scaled(g, min(1, limit / _norm(g) ** 2)),
        "entries-clipped": lambda g, limit: [np.clip(v, -limit, limit) for v in g],
        "not-slices": lambda g, limit: np.concatenate(g),
    },
    "sharded_optimizers.zero_step": {
        "gradient-not-summed": _zero("alone"),
        "not-gathered": _zero("keep"),
        "too-much-sent": _zero("everything"),
        "whole-state": _zero("whole"),
    },
}
