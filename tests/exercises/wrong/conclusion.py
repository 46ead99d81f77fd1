"""Typical wrong answers to the exercises of the chapter that concludes the course."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.activations import softmax
from course_lib.data import batches
from course_lib.parallel import shard
from course_lib.parallel.collectives import all_reduce


def _logits(params: Any, x: Any) -> Any:
    W1, b1, W2, b2 = params
    return (x + np.tanh(x @ W1 + b1)) @ W2 + b2


def _gradient(
    *,
    slope: Callable[[Any, Any], Any] = lambda bent, h: 1 - bent**2,
    bias: Callable[[Any], Any] = lambda d: d.sum(axis=0),
    scale: Callable[[Any, float], float] = lambda x, n: n,
    grad_scale: Callable[[float], float] = lambda n: 1.0,
    sign: float = 1.0,
    keep: int = 4,
) -> Any:
    def answer(params: Any, x: Any, y: Any, denominator: Any) -> Any:
        W1, b1, W2, b2 = params
        n = scale(x, denominator)
        bent = np.tanh(x @ W1 + b1)
        h = x + bent
        p = softmax(h @ W2 + b2)
        rows = np.arange(len(y))
        loss = -np.log(p[rows, y]).sum() / n
        dz = sign * (p - np.eye(p.shape[1])[y]) / n * grad_scale(n)
        inner = (dz @ W2.T) * slope(bent, h)
        return loss, [x.T @ inner, bias(inner), h.T @ dz, bias(dz)][:keep]

    return answer


def _train(
    *,
    own_rows: bool = False,
    share: bool = True,
    add: bool = True,
    after: Callable[[Any, Any], Any] = lambda total, comm: total,
    rows_of: Callable[[int, int, int, Any], Any] = lambda n, size, epoch, seed: batches(
        n, size, seed=seed, epoch=epoch
    ),
    skip_empty: bool = False,
) -> Any:
    def answer(
        comm: Any, loss_and_grads: Any, params: Any, x: Any, y: Any, *,
        epochs: Any, batch_size: Any, lr: Any, seed: Any,
    ) -> Any:  # fmt: skip
        for epoch in range(epochs):
            for rows in rows_of(len(x), batch_size, epoch, seed):
                mine = rows[shard(len(rows), comm.rank, comm.size)] if share else rows
                if skip_empty and len(mine) == 0:
                    continue
                n = max(len(mine), 1) if own_rows else len(rows)
                _, grads = loss_and_grads(params, x[mine], y[mine], n)
                if add:
                    grads = [after(all_reduce(comm, g), comm) for g in grads]
                params = [p - lr * g for p, g in zip(params, grads, strict=True)]
        return params

    return answer


def _whole_batches(n: int, size: int, epoch: int, seed: Any) -> Any:
    return [rows for rows in batches(n, size, seed=seed, epoch=epoch) if len(rows) == size]


WRONG = {
    "conclusion.forward": {
        "road-forgotten": lambda params, x: _logits(params, x) - x @ params[2],
        "road-inside-tanh": lambda p, x: np.tanh(x + x @ p[0] + p[1]) @ p[2] + p[3],
        "tanh-at-the-end": lambda params, x: np.tanh(_logits(params, x)),
        "softmax-at-the-end": lambda params, x: softmax(_logits(params, x)),
        "bias-forgotten": lambda p, x: (x + np.tanh(x @ p[0])) @ p[2],
        "wrong-shape": lambda params, x: _logits(params, x).argmax(axis=1),
    },
    "conclusion.gradient": {
        "own-rows": _gradient(scale=lambda x, n: len(x)),
        "not-divided": _gradient(scale=lambda x, n: 1),
        "gradient-not-divided": _gradient(grad_scale=lambda n: n),
        "sign-reversed": _gradient(sign=-1.0),
        "no-slope": _gradient(slope=lambda bent, h: 1.0),
        "slope-of-the-sum": _gradient(slope=lambda bent, h: 1 - h**2),
        "one-bias-for-all": _gradient(bias=lambda d: np.full(d.shape[1], d.sum())),
        "not-four-gradients": _gradient(keep=2),
        "wrong-values": _gradient(slope=lambda bent, h: bent * (1 - bent)),
    },
    "conclusion.together": {
        "mean-of-means": _train(own_rows=True, after=lambda g, comm: g / comm.size),
        "not-divided-among-ranks": _train(share=False),
        "divided-twice": _train(after=lambda g, comm: g / comm.size),
        "ranks-differ": _train(add=False),
        "short-batch-dropped": _train(rows_of=_whole_batches),
        "same-order-each-epoch": _train(
            rows_of=lambda n, size, epoch, seed: batches(n, size, seed=seed, epoch=0)
        ),
        "every-rank-does-all": _train(share=False, add=False),
        "ranks-wait": _train(skip_empty=True),
    },
}
