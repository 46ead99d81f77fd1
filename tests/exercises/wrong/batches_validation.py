"""Typical wrong answers to the exercises of the chapter on batches and validation."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import numpy as np


def _var(p: float) -> float:
    return p - p * p


def _by_rows(groups: Any, k: int) -> list[Any]:
    rows = np.arange(len(groups))
    return [(rows[rows % k != j], rows[rows % k == j]) for j in range(k)]


def _rows_of(groups: Any, some: Any) -> Any:
    return np.array([i for i, patient in enumerate(groups) if patient in set(some)], dtype=int)


def _by_patients(groups: Any, parts: Any) -> list[Any]:
    patients = sorted(set(groups.tolist()))
    return [
        (_rows_of(groups, [p for p in patients if p not in part]), _rows_of(groups, part))
        for part in parts
    ]


def _good(groups: Any, k: int) -> list[Any]:
    patients = sorted(set(groups.tolist()))
    return _by_patients(groups, [patients[j::k] for j in range(k)])


def _rest_in_the_last(groups: Any, k: int) -> list[Any]:
    patients = sorted(set(groups.tolist()))
    return _by_patients(groups, [[patients[j]] for j in range(k - 1)] + [patients[k - 1 :]])


def _drawn_anew(groups: Any, k: int) -> list[Any]:
    patients, rng = np.unique(groups), np.random.default_rng(3)
    return _by_patients(groups, [rng.permutation(patients)[: len(patients) // k] for _ in range(k)])


def _last_forgotten(groups: Any, k: int) -> list[Any]:
    patients = sorted(set(groups.tolist()))
    size = len(patients) // k
    return _by_patients(groups, [patients[j * size : (j + 1) * size] for j in range(k)])


def _compare(
    train: Any,
    *,
    inputs: bool = True,
    labels: bool = True,
    how_many: int = 8,
    own: bool = False,
    ask: Callable[[Any, Any], Any] | None = None,
) -> bool:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, how_many)), (np.arange(30) % 2).astype(int)
    points, first = rng.normal(size=(6, how_many)), train(x, y, np.arange(15))
    spoiled, flipped, start = x.copy(), y.copy(), 0 if own else 15
    if inputs:
        spoiled[start:] = 20 * rng.normal(size=(30 - start, how_many)) - 3
    if labels:
        flipped[start:] = 0
    second = train(spoiled, flipped, np.arange(15))
    return bool(np.abs(first(points) - second(points)).max() > 0)


def _better_than_chance(train: Any) -> bool:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(400, 6)), rng.integers(0, 2, 400)
    said = train(x, y, np.arange(200))(x[200:]) > 0.5
    return bool(abs(np.mean(said == y[200:]) - 0.5) > 0.15)


def _fit(x: Any, y: Any) -> tuple[Any, Any]:
    hat = x @ np.linalg.solve(x.T @ x, x.T)
    return y - hat @ y, hat.diagonal()


def _left_out(rule: Callable[[Any, Any], Any], *, bias: bool = True) -> Callable[[Any, Any], Any]:
    def answer(x: Any, y: Any) -> Any:
        return rule(*_fit(np.hstack([x, np.ones((len(x), int(bias)))]), y))

    return answer


WRONG = {
    "batches_validation.samples_needed": {
        "one-error-bar-only": lambda a, b, errors=2: ceil(errors**2 * _var(a) / (a - b) ** 2),
        "errors-added": lambda a, b, errors=2: ceil(
            (errors * (_var(a) ** 0.5 + _var(b) ** 0.5) / (a - b)) ** 2
        ),
        "errors-not-squared": lambda a, b, errors=2: ceil(
            errors * (_var(a) + _var(b)) / (a - b) ** 2
        ),
        "not-rounded-up": lambda a, b, errors=2: floor(
            errors**2 * (_var(a) + _var(b)) / (a - b) ** 2
        ),
        "wrong-values": lambda a, b, errors=2: ceil(
            errors**2 * (_var(a) + _var(b)) / abs(a - b) ** 1
        ),
        "wrong-arguments": lambda a, b: 1000,
    },
    "batches_validation.grouped_folds": {
        "patients-torn-apart": _by_rows,
        "wrong-number-of-folds": lambda groups, k: _by_patients(
            groups, [[p] for p in sorted(set(groups.tolist()))]
        ),
        "trained-on-what-it-judges": lambda groups, k: [
            (np.arange(len(groups)), fold) for _, fold in _good(groups, k)
        ],
        "held-out-twice": _drawn_anew,
        "never-held-out": _last_forgotten,
        "rows-left-out": lambda groups, k: [
            (rest[groups[rest] != groups[rest[0]]], fold) for rest, fold in _good(groups, k)
        ],
        "folds-unequal": _rest_in_the_last,
        "empty-part": lambda groups, k: _by_patients(
            groups, [sorted(set(groups.tolist()))] + [[]] * (k - 1)
        ),
        "patients-instead-of-rows": lambda groups, k: [
            (np.unique(groups[rest]), np.unique(groups[fold])) for rest, fold in _good(groups, k)
        ],
        "no-row-numbers": lambda groups, k: [
            (~np.isin(np.arange(len(groups)), fold), np.isin(np.arange(len(groups)), fold))
            for _, fold in _good(groups, k)
        ],
        "no-pairs": lambda groups, k: [fold for _, fold in _good(groups, k)],
    },
    "batches_validation.find_leak": {
        "false-alarm": lambda train: _compare(train, own=True),
        "statistics-not-noticed": _better_than_chance,
        "labels-not-noticed": lambda train: _compare(train, labels=False),
        "choice-not-noticed": lambda train: _compare(train, how_many=1),
        "not-true-or-false": lambda train: "perhaps",
    },
    "batches_validation.leave_one_out": {
        "training-error": _left_out(lambda r, h: np.mean(r**2)),
        "bias-left-out": _left_out(lambda r, h: np.mean(r**2 / (1 - h) ** 2), bias=False),
        "square-after-division": _left_out(lambda r, h: np.mean(r**2 / (1 - h))),
        "all-shares-alike": _left_out(lambda r, h: np.mean(r**2) / (1 - np.mean(h)) ** 2),
        "multiplied": _left_out(lambda r, h: np.mean(r**2 * (1 - h) ** 2)),
        "not-a-mean": _left_out(lambda r, h: (r / (1 - h)) ** 2),
        "wrong-values": _left_out(lambda r, h: np.mean(r**2 / h**2)),
    },
}
