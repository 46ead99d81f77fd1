"""Typical wrong answers to the exercises of the chapter on asynchronous and compressed training."""

from __future__ import annotations

from typing import Any

import numpy as np


def _top(v: Any, k: int, *, signed: bool = False) -> Any:
    kept = np.argsort(v if signed else np.abs(v))[-k:]
    sent = np.zeros_like(v)
    sent[kept] = v[kept]
    return sent


def _feedback(gradient: Any, residual: Any, k: int, *, signed: bool = False, owed: str = "") -> Any:
    v = gradient + residual
    sent = _top(v, k, signed=signed)
    rest = {"": v - sent, "gradient": gradient - sent, "twice": residual + v - sent}[owed]
    return sent, rest


def _ignored(gradient: Any, residual: Any, k: int) -> Any:
    sent = _top(gradient, k)
    return sent, residual + gradient - sent


def _finish(times: Any, s: int, *, lag: int = 1) -> float:
    p, steps = times.shape
    done = np.zeros((p, steps))
    for k in range(steps):
        ready = done[:, k - 1] if k else np.zeros(p)
        if k - s - lag >= 0:
            ready = np.maximum(ready, done[:, k - s - lag].max())
        done[:, k] = ready + times[:, k]
    return float(done.max())


def _power(
    matrices: Any, q: Any, *, own: bool = False, orth: bool = True, mean: bool = False
) -> Any:
    if own:
        pairs = [(m, np.linalg.qr(m @ q)[0]) for m in matrices]
        return sum(p @ (p.T @ m) for m, p in pairs), sum(m.T @ p for m, p in pairs)
    p = sum(m @ q for m in matrices)
    if orth:
        p = np.linalg.qr(p)[0]
    new = sum(m.T @ p for m in matrices)
    if mean:
        new = new / len(matrices)
    return p @ new.T, new


def _normalised(matrices: Any, q: Any) -> Any:
    total = sum(matrices)
    p = total @ q
    p = p / np.sqrt((p**2).sum(axis=0))
    return p @ (total.T @ p).T, total.T @ p


WRONG = {
    "async_local_compressed.feedback": {
        "residual-ignored": _ignored,
        "sign-counts": lambda g, e, k: _feedback(g, e, k, signed=True),
        "old-residual-dropped": lambda g, e, k: _feedback(g, e, k, owed="gradient"),
        "residual-twice": lambda g, e, k: _feedback(g, e, k, owed="twice"),
        "not-a-pair": lambda g, e, k: _feedback(g, e, k)[0],
    },
    "async_local_compressed.finish": {
        "nobody-waits": lambda times, s: times.sum(axis=1).max(),
        "staleness-ignored": lambda times, s: _finish(times, 0),
        "one-step-too-strict": lambda times, s: _finish(times, max(0, s - 1)),
        "one-step-too-free": lambda times, s: _finish(times, s, lag=2),
        "not-a-number": lambda times, s: times.max(axis=0),
    },
    "async_local_compressed.power_step": {
        "not-orthonormal": lambda m, q: _power(m, q, orth=False),
        "own-p": lambda m, q: _power(m, q, own=True),
        "old-q-used": lambda m, q: (np.linalg.qr(sum(m) @ q)[0] @ q.T, _power(m, q)[1]),
        "not-at-right-angles": _normalised,
        "mean-instead": lambda m, q: _power(m, q, mean=True),
        "nothing-saved": lambda m, q: (sum(m), q),
        "q-not-renewed": lambda m, q: (_power(m, q)[0], q),
    },
}
