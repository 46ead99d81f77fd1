"""Typical wrong answers to the exercises of the chapter on a network in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib import mlp


def _shares(table: Any) -> tuple[Any, Any]:
    return table.diagonal() / table.sum(axis=1), table.diagonal() / table.sum(axis=0)


def _fixed(table: Any) -> tuple[Any, Any]:
    found, named = _shares(table)
    return found, np.nan_to_num(named)


def _stop(losses: list[float], patience: int) -> tuple[int, int]:
    for last in range(len(losses)):
        best = losses.index(min(losses[: last + 1]))
        if last - best == patience:
            return best, last + 1
    return losses.index(min(losses)), len(losses)


def _rises(losses: list[float], patience: int) -> tuple[int, int]:
    bad, last = 0, 0
    for last in range(1, len(losses)):
        bad = bad + 1 if losses[last] >= losses[last - 1] else 0
        if bad == patience:
            break
    return losses.index(min(losses[: last + 1])), last + 1


def _not_worse(losses: list[float], patience: int) -> tuple[int, int]:
    lowest, best, last = np.inf, 0, 0
    for last, loss in enumerate(losses):
        if loss <= lowest:
            lowest, best = loss, last
        elif last - best >= patience:
            break
    return best, last + 1


def _late(losses: list[float], patience: int) -> tuple[int, int]:
    return _stop(losses, patience + 1)


def _gradients(params: Any, inputs: Any, dz: Any, *, relu: bool = True, turn: bool = True) -> Any:
    out = []
    for (W, _), a in zip(params[::-1], inputs[::-1], strict=True):
        out.append((a.T @ dz, dz.sum(axis=0)))
        dz = dz @ W.T * ((a > 0) if relu else 1)
    return out[::-1] if turn else out


def _untransposed(params: Any, inputs: Any, dz: Any) -> Any:
    out = []
    for (W, _), a in zip(params[::-1], inputs[::-1], strict=True):
        out.insert(0, (a.T @ dz, dz.sum(axis=0)))
        dz = (dz @ W if W.shape == (dz.shape[1],) * 2 else dz @ W.T) * (a > 0)
    return out


def _own_sign(params: Any, inputs: Any, dz: Any) -> Any:
    out = []
    for (W, _), a in zip(params[::-1], inputs[::-1], strict=True):
        out.insert(0, (a.T @ dz, dz.sum(axis=0)))
        dz = np.maximum(dz @ W.T, 0)
    return out


def _simulated(x: Any, k: int) -> float:
    net = mlp([x.shape[1], 64, k])
    starts = [net.init(np.random.default_rng(seed)) for seed in range(200)]
    y = np.arange(len(x)) % k
    return float(np.mean([net.loss_value(theta, x, y) for theta in starts]))


WRONG = {
    "numpy_network.found_and_right": {
        "never-answered": _shares,
        "rows-and-columns-exchanged": lambda table: _fixed(table.T),
        "divided-by-all": lambda table: (np.diag(table) / table.sum(), _fixed(table)[1]),
        "accuracy-instead": lambda table: (np.trace(table) / table.sum(),) * 2,
        "not-a-pair": lambda table: _fixed(table)[0],
    },
    "numpy_network.stopping": {
        "looks-ahead": lambda losses, n: (int(np.argmin(losses)), _stop(losses, n)[1]),
        "last-instead-of-best": lambda losses, n: (_stop(losses, n)[1] - 1, _stop(losses, n)[1]),
        "counts-rises": _rises,
        "equal-is-better": _not_worse,
        "one-epoch-late": _late,
        "number-from-zero": lambda losses, n: (_stop(losses, n)[0], _stop(losses, n)[1] - 1),
        "wrong-epochs": lambda losses, n: (0, 1),
    },
    "numpy_network.deeper": {
        "relu-left-out": lambda *a: _gradients(*a, relu=False),
        "last-layer-first": lambda *a: _gradients(*a, turn=False),
        "weights-not-transposed": _untransposed,
        "gate-on-the-gradient": _own_sign,
        "divided-again": lambda p, a, dz: _gradients(p, a, dz / len(dz)),
        "bias-summed-over-units": lambda *a: [
            (dW, np.full_like(db, db.sum())) for dW, db in _gradients(*a)
        ],
        "not-a-pair-per-layer": lambda *a: _gradients(*a)[0],
    },
    "numpy_network.first_loss": {
        "log-k-only": lambda x, k: np.log(k),
        "classes-left-out": lambda x, k: np.log(k) + np.mean(x * x),
        "twice-too-far": lambda x, k: np.log(k) + 2 * np.mean(x * x) * (k - 1) / k,
        "he-factor-left-out": lambda x, k: np.log(k) + np.mean(x * x) / 4 * (k - 1) / k,
        "one-layer-only": lambda x, k: np.log(k) + np.mean(x * x) / 2 * (k - 1) / k,
        "sum-of-squares": lambda x, k: np.log(k) + (x * x).sum() / len(x) * (k - 1) / k,
        "spread-about-the-mean": lambda x, k: np.log(k) + x.var() * (k - 1) / k,
        "close-only": _simulated,
    },
}
