"""Typical wrong answers to the exercises of the chapter on backpropagation."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.activations import sigmoid


def _neuron(x: Any, w: Any, b: Any, y: Any, rule: Any) -> Any:
    z = np.dot(w, x) + b
    dz = rule(z, sigmoid(z), y)
    return dz * x, dz


def _slope(z: Any) -> Any:
    return sigmoid(z) * sigmoid(-z)


def _layer(x: Any, W: Any, a: Any, da: Any, slope: Any = None, db: Any = None) -> Any:
    dz = da * (1 - a * a if slope is None else slope(a))
    return dz @ W.T, x.T @ dz, dz.sum(axis=0) if db is None else db(dz)


def _mean(x: Any, W: Any, a: Any, da: Any) -> Any:
    dx, dW, db = _layer(x, W, a, da)
    return dx, dW / len(x), db / len(x)


def _breadth_first(made_from: Any, result: Any) -> Any:
    order = [result]
    for name in order:
        order += [v for v in dict.fromkeys(made_from[name]) if v not in order]
    return order


def _every_visit(made_from: Any, result: Any) -> Any:
    return [result] + [v for u in made_from[result] for v in _every_visit(made_from, u)]


def _values(made_from: Any, result: Any) -> Any:
    order: list[Any] = []
    for operand in made_from[result]:
        order += [v for v in _values(made_from, operand) if v not in order]
    return [*order, result]


def _one_path(made_from: Any, result: Any) -> Any:
    return [result, *(_one_path(made_from, made_from[result][0]) if made_from[result] else [])]


def _block(x: Any, W1: Any, W2: Any, dy: Any, join: Any, bend: bool = True) -> Any:
    a = np.tanh(x @ W1)
    dz = (dy @ W2.T) / np.cosh(x @ W1) ** 2
    through = (dz if bend else dy @ W2.T) @ W1.T
    return join(dy, through), x.T @ dz, a.T @ dy


def _add(p: Any, q: Any) -> Any:
    return p + q


WRONG = {
    "backpropagation.neuron": {
        "bend-left-out": lambda *v: _neuron(*v, lambda z, a, y: 2 * (a - y)),
        "factor-of-two-missing": lambda *v: _neuron(*v, lambda z, a, y: (a - y) * _slope(z)),
        "slope-taken-at-a": lambda *v: _neuron(*v, lambda z, a, y: 2 * (a - y) * _slope(a)),
        "sign-reversed": lambda *v: _neuron(*v, lambda z, a, y: 2 * (y - a) * _slope(z)),
        "inputs-left-out": lambda x, w, b, y: _neuron(
            np.ones(3), w, b + w @ (x - 1), y, lambda z, a, y: 2 * (a - y) * _slope(z)
        ),
        "wrong-values": lambda *v: _neuron(*v, lambda z, a, y: abs(a - y) * _slope(z)),
        "other-results": lambda *v: _neuron(*v, lambda z, a, y: 2 * (a - y) * _slope(z))[0],
    },
    "backpropagation.layer": {
        "bend-left-out": lambda *v: _layer(*v, slope=np.ones_like),
        "slope-taken-at-a": lambda *v: _layer(*v, slope=lambda a: np.cosh(a) ** -2),
        "slope-is-not-squared": lambda *v: _layer(*v, slope=lambda a: 1 - a),
        "divided-again": _mean,
        "bias-summed-over-units": lambda *v: _layer(*v, db=lambda dz: np.repeat(dz.sum(), 3)),
        "wrong-shape": lambda *v: _layer(*v, db=lambda dz: dz),
        "other-results": lambda *v: _layer(*v)[1:],
        "wrong-values": lambda *v: _layer(*v, slope=lambda a: a * (1 - a)),
    },
    "backpropagation.order": {
        "too-early": _breadth_first,
        "handled-twice": _every_visit,
        "values-first": _values,
        "left-out": _one_path,
        "not-below-the-result": lambda made_from, result: sorted(made_from, reverse=True),
        "not-a-list": lambda made_from, result: result,
    },
    "backpropagation.shortcut": {
        "shortcut-forgotten": lambda *v: _block(*v, join=lambda dy, through: through),
        "only-the-shortcut": lambda *v: _block(*v, join=lambda dy, through: dy),
        "paths-multiplied": lambda *v: _block(*v, join=np.multiply),
        "bend-left-out": lambda *v: _block(*v, join=_add, bend=False),
        "bend-left-out-of-dW1": lambda x, W1, W2, dy: (
            _block(x, W1, W2, dy, join=_add)[0],
            x.T @ dy @ W2.T,
            np.tanh(x @ W1).T @ dy,
        ),
        "wrong-values": lambda *v: _block(*v, join=np.subtract),
        "other-results": lambda *v: _block(*v, join=_add)[0],
    },
}
