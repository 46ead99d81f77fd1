"""Typical wrong answers to the exercises of the chapter on applications."""

from __future__ import annotations

from typing import Any

import numpy as np


def _table(ids: Any, dy: Any, count: int) -> Any:
    out = np.zeros((count, dy.shape[-1]))
    np.add.at(out, ids, dy)
    return out


def _add_once(ids: Any, dy: Any, count: int) -> Any:
    out = np.zeros((count, dy.shape[-1]))
    out[ids] += dy
    return out


def _slide(x: Any, w: Any, places: int) -> Any:
    size = len(w)
    windows = [x[:, j : j + size] for j in range(places)]
    return np.stack([np.einsum("nac,acf->nf", v, w[: v.shape[1]]) for v in windows], axis=1)


def _scores(s: Any, w: Any) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(s, len(w), axis=1)
    return w[np.arange(len(w)), windows].sum(axis=2)


WRONG = {
    "applications.bits": {
        "nats": lambda p: -np.mean(np.log(p)),
        "log-of-the-mean": lambda p: -np.log2(np.mean(p)),
        "sum-not-mean": lambda p: -np.sum(np.log2(p)),
        "negative": lambda p: np.mean(np.log2(p)),
        "wrong-values": lambda p: float(np.sum(-p * np.log2(p))),
    },
    "applications.embedding_gradient": {
        "added-once": _add_once,
        "averaged": lambda ids, dy, count: (
            _table(ids, dy, count) / np.maximum(1, [[np.sum(ids == i)] for i in range(count)])
        ),
        "of-the-rows": lambda ids, dy, count: dy,
        "wrong-shape": lambda ids, dy, count: _table(ids, dy, ids.max() + 2),
    },
    "applications.conv1d": {
        "flipped": lambda x, w: _slide(x, w[::-1], x.shape[1] - 2),
        "one-short": lambda x, w: _slide(x, w, x.shape[1] - len(w)),
        "padded": lambda x, w: _slide(x, w, x.shape[1]),
        "channels-not-summed": lambda x, w: np.stack(
            [np.einsum("nac,acf->ncf", x[:, j : j + 3], w) for j in range(5)], axis=1
        ),
        "channels-swapped": lambda x, w: _slide(x, w[:, ::-1], x.shape[1] - 2),
    },
    "applications.both_strands": {
        "one-strand": lambda s, w: _scores(s, w).max(axis=1),
        "not-complemented": lambda s, w: np.maximum(
            _scores(s, w).max(axis=1), _scores(s[:, ::-1], w).max(axis=1)
        ),
        "not-reversed": lambda s, w: np.maximum(
            _scores(s, w).max(axis=1), _scores(3 - s, w).max(axis=1)
        ),
        "added": lambda s, w: _scores(s, w).max(axis=1) + _scores(3 - s[:, ::-1], w).max(axis=1),
        "wrong-shape": lambda s, w: np.maximum(_scores(s, w), _scores(3 - s[:, ::-1], w)),
        "last-place-missing": lambda s, w: np.maximum(
            _scores(s[:, :-1], w).max(axis=1), _scores(3 - s[:, :0:-1], w).max(axis=1)
        ),
    },
}
