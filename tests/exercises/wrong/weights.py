"""Typical wrong answers to the exercises of the chapter on weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.weights import he_uniform


def _count(sizes: Any, biases: int) -> int:
    return int(np.dot(sizes[:-1], sizes[1:])) + biases


def _uniform(rng: Any, fan_in: int, fan_out: int, limit: float) -> Any:
    return limit * (2 * rng.random((fan_in, fan_out)) - 1)


def _groups(*parts: Any) -> int:
    return len({tuple(row) for row in np.concatenate(parts, axis=1).tolist()})


def _alone(W1: Any, b1: Any, W2: Any) -> int:
    rows = [tuple(r) for r in np.hstack([W1.T, b1[:, None], W2]).tolist()]
    return sum(rows.count(row) == 1 for row in rows)


def _pairs(W1: Any, b1: Any, W2: Any) -> int:
    rows = np.hstack([W1.T, b1[:, None], W2])
    return len(rows) - sum(
        np.array_equal(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)
    )


def _forward(matrices: Any, x: Any, size: Any, bend: Any = lambda z: z * (z > 0)) -> Any:
    done = []
    for W in matrices:
        done.append(W / size(x @ W))
        x = bend(x @ done[-1])
    return done


def _rms(z: Any) -> Any:
    return np.linalg.norm(z) / np.sqrt(z.size)


def _all_at_once(matrices: Any, x: Any) -> Any:
    done = []
    for W in matrices:
        done.append(W / _rms(x @ W))
        x = np.maximum(x @ W, 0)
    return done


def _overwrite(matrices: Any, x: Any) -> Any:
    for W in matrices:
        W /= _rms(x @ W)
        x = np.maximum(x @ W, 0)
    return matrices


WRONG = {
    "weights.count": {
        "biases-forgotten": lambda sizes, biases: _count(sizes, 0),
        "inputs-have-biases": lambda sizes, biases: _count(sizes, biases * sum(sizes)),
        "one-bias-per-layer": lambda sizes, biases: _count(sizes, biases * (len(sizes) - 1)),
        "bias-per-input": lambda sizes, biases: _count(sizes, biases * sum(sizes[:-1])),
        "biases-always-counted": lambda sizes, biases: _count(sizes, sum(sizes[1:])),
        "wrong-values": lambda sizes, biases: int(np.prod(sizes)),
        "wrong-arguments": lambda sizes: _count(sizes, sum(sizes[1:])),
    },
    "weights.leaky": {
        "another-generator": lambda rng, n, m, a: he_uniform(np.random.default_rng(7), n, m),
        "not-centred": lambda rng, n, m, a: np.sqrt(6 / ((1 + a**2) * n)) * rng.random((n, m)),
        "slope-ignored": lambda rng, n, m, a: he_uniform(rng, n, m),
        "slope-not-squared": lambda rng, n, m, a: _uniform(rng, n, m, np.sqrt(6 / (1 + a) / n)),
        "fan-out-used": lambda rng, n, m, a: _uniform(rng, n, m, np.sqrt(6 / (1 + a * a) / m)),
        "limit-is-not-the-spread": lambda rng, n, m, a: _uniform(
            rng, n, m, np.sqrt(2 / (1 + a * a) / n)
        ),
        "variance-for-spread": lambda rng, n, m, a: _uniform(
            rng, n, m, np.sqrt(3) * 2 / (1 + a * a) / n
        ),
        "limit-without-root": lambda rng, n, m, a: _uniform(rng, n, m, 6 / (1 + a * a) / n),
        "half-forgotten": lambda rng, n, m, a: _uniform(rng, n, m, np.sqrt(3 / (1 + a * a) / n)),
        "not-uniform": lambda rng, n, m, a: rng.normal(0, np.sqrt(2 / (1 + a * a) / n), (n, m)),
        "wrong-spread": lambda rng, n, m, a: _uniform(rng, n, m, 1.0),
        "wrong-shape": lambda rng, n, m, a: _uniform(rng, m, n, np.sqrt(6 / (1 + a * a) / n)),
    },
    "weights.twins": {
        "outgoing-forgotten": lambda W1, b1, W2: _groups(W1.T, b1[:, None]),
        "incoming-forgotten": lambda W1, b1, W2: _groups(W2),
        "bias-forgotten": lambda W1, b1, W2: _groups(W1.T, W2),
        "groups-left-out": _alone,
        "pairs-counted": _pairs,
        "wrong-values": lambda W1, b1, W2: np.linalg.matrix_rank(W1),
    },
    "weights.rescale": {
        "all-at-once": _all_at_once,
        "spread-instead-of-rms": lambda matrices, x: _forward(matrices, x, np.std),
        "relu-forgotten": lambda matrices, x: _forward(matrices, x, _rms, lambda z: z),
        "wrong-sizes": lambda matrices, x: [W / W.std() for W in matrices],
        "not-one-factor": lambda matrices, x: [W - W.mean() for W in matrices],
        "input-changed": _overwrite,
        "not-a-list": lambda matrices, x: matrices[0] / _rms(x @ matrices[0]),
    },
}
