"""Typical wrong answers to the exercises of the chapter on forward propagation."""

from __future__ import annotations

from typing import Any

import numpy as np


def _counted(sizes: Any, layers: Any, bias: int = 1) -> int:
    return sum((sizes[m - 1] + bias) * sizes[m] for m in layers)


def _by_columns(sizes: Any, layer: int, k: Any, j: int) -> int:
    m, n = sizes[layer - 1], sizes[layer]
    return _counted(sizes, range(1, layer)) + (m * n + j if k is None else j * m + k)


def _by_rows(sizes: Any, layer: int, k: Any, j: int, before: int) -> int:
    m, n = sizes[layer - 1], sizes[layer]
    return before + (m if k is None else k) * n + j


def _biases_first(sizes: Any, layer: int, k: Any, j: int) -> int:
    n = sizes[layer]
    return _counted(sizes, range(1, layer)) + (j if k is None else n + k * n + j)


def _classify(x: Any, layers: Any, mean: Any, spread: Any, axis: int = 0) -> Any:
    a = (x - mean) / spread
    for i, (W, b) in enumerate(layers):
        a = (a * (a > 0) if i else a) @ W + b
    return a.argmax(axis=axis)


def _of_batch(x: Any, layers: Any, axis: int) -> Any:
    return _classify(x, layers, x.mean(axis=0), x.std(axis=0), axis)


def _rows(sizes: Any, memory: int, itemsize: int, *leave_out: str) -> Any:
    kept = sum(sizes) + (0 if "a" in leave_out else sum(sizes[1:-1]))
    kept -= sizes[0] * ("x" in leave_out) + sizes[-1] * ("out" in leave_out)
    theta = 0 if "theta" in leave_out else _counted(sizes, range(1, len(sizes)))
    return (memory / itemsize - theta) / kept


def _piece(layers: Any, x: Any, *, after: int = 9, c_of: Any = None) -> Any:
    """Switch units off only in the first hidden layers; ``c_of`` makes another shift."""
    A, c, a = np.eye(len(x)), np.zeros(len(x)), x
    for i, (W, b) in enumerate(layers):
        A, c, a = A @ W, c @ W + b, a @ W + b
        if i < len(layers) - 1:
            on, a = a > 0, np.maximum(a, 0)
            A, c = (A * on, c * on) if i < after else (A, c)
    return A, c if c_of is None else c_of(layers, c, a)


def _all_biases(layers: Any, c: Any, value: Any) -> Any:
    total = np.zeros(len(layers[0][0]))
    for W, b in layers:
        total = total @ W + b
    return total


WRONG = {
    "forward.place": {
        "column-by-column": _by_columns,
        "biases-before-forgotten": lambda sizes, layer, k, j: _by_rows(
            sizes, layer, k, j, _counted(sizes, range(1, layer), bias=0)
        ),
        "one-layer-too-far": lambda sizes, layer, k, j: _by_rows(
            sizes, layer, k, j, _counted(sizes, range(1, layer + 1))
        ),
        "biases-first": _biases_first,
        "wrong-values": lambda sizes, layer, k, j: _by_rows(
            sizes, layer, k, j, 1 + _counted(sizes, range(1, layer))
        ),
        "raises-an-error": lambda sizes, layer, k, j: (
            _counted(sizes, range(1, layer)) + k * sizes[layer] + j
        ),
    },
    "forward.two_bugs": {
        "both-bugs-left": lambda x, layers, mean, spread: _of_batch(x, layers, 0),
        "batch-statistics": lambda x, layers, mean, spread: _of_batch(x, layers, 1),
        "best-row-of-a-class": _classify,
        "wrong-shape": lambda x, layers, mean, spread: _classify(x, layers, mean, spread, 1)[
            :, None
        ],
        "wrong-values": lambda x, layers, mean, spread: _classify(x, layers, mean, 1 / spread, 1),
    },
    "forward.largest_batch": {
        "theta-forgotten": lambda *task: int(_rows(*task, "theta")),
        "hidden-kept-once": lambda *task: int(_rows(*task, "a")),
        "inputs-forgotten": lambda *task: int(_rows(*task, "x")),
        "outputs-forgotten": lambda *task: int(_rows(*task, "out")),
        "bytes-are-not-numbers": lambda sizes, memory, itemsize: int(_rows(sizes, memory, 1)),
        "rounded-up": lambda *task: int(np.ceil(_rows(*task))),
        "less-than-nothing": lambda *task: int(np.floor(_rows(*task))),
        "wrong-values": lambda *task: int(_rows(*task)) // 2,
    },
    "forward.flat_piece": {
        "all-units-on": lambda layers, x: _piece(layers, x, after=0),
        "later-layers-all-on": lambda layers, x: _piece(layers, x, after=1),
        "transposed": lambda layers, x: (_piece(layers, x)[0].T, _piece(layers, x)[1]),
        "earlier-biases-lost": lambda layers, x: _piece(
            layers, x, c_of=lambda layers, c, value: layers[-1][1]
        ),
        "value-instead-of-shift": lambda layers, x: _piece(
            layers, x, c_of=lambda layers, c, value: value
        ),
        "biases-of-units-that-are-off": lambda layers, x: _piece(layers, x, c_of=_all_biases),
        "wrong-values": lambda layers, x: _piece(layers, -x),
        "not-a-pair": lambda layers, x: _piece(layers, x)[0],
    },
}
