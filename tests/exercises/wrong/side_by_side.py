"""Typical wrong answers to the exercises of the chapter on NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.activations import softmax
from course_lib.gradcheck import relative_error


def _named(layers: Any, turn: Any, step: int = 2) -> dict[str, Any]:
    named = {}
    for i, (w, b) in enumerate(layers):
        named |= {f"{step * i}.weight": turn(w), f"{step * i}.bias": b}
    return named


def _first(a: Any, b: Any, differ: Any) -> str:
    return next((name for name in a if differ(np.asarray(a[name]), np.asarray(b[name]))), "equal")


def _largest(a: Any, b: Any, limit: float = 1e-10) -> str:
    worst = max(a, key=lambda k: np.inf if np.shape(a[k]) != np.shape(b[k])
                else relative_error(np.asarray(a[k]), np.asarray(b[k])))  # fmt: skip
    return worst if relative_error(np.asarray(a[worst]), np.asarray(b[worst])) > limit else "equal"


def _zero_over_zero(u: Any, v: Any) -> bool:
    with np.errstate(invalid="ignore"):
        return not np.linalg.norm(u - v) / np.linalg.norm(v) < 1e-10


def _differ(u: Any, v: Any, limit: float = 1e-10) -> bool:
    return u.shape != v.shape or not relative_error(u, v) < limit


def _adam(g: Any, m: Any, s: Any, t: int, lr: float, beta1: float, beta2: float, eps: float,
          form: Any = None, sign: float = -1.0) -> Any:  # fmt: skip
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    step = form(m, s, c1, c2, eps) if form else m / c1 / (np.sqrt(s / c2) + eps)
    return sign * lr * step, m, s


def _form(form: Any, **more: Any) -> Any:
    return lambda *args, **kwargs: _adam(*args, **kwargs, form=form, **more)


def _swapped(*args: Any, **kwargs: Any) -> Any:
    change, m, s = _adam(*args, **kwargs)
    return change, s, m


def _weighted(z: Any, y: Any, w: Any, divide: Any = None, rows: Any = None) -> Any:
    p, at = softmax(z), np.arange(len(y))
    own = w[y]
    total = own.sum() if divide is None else divide(own)
    loss = -np.sum(own * np.log(p[at, y])) / total
    d = p.copy()
    d[at, y] -= 1
    return loss, (own[:, None] * d if rows is None else rows(w, d)) / total


WRONG = {
    "side_by_side.state_dict": {
        "not-transposed": lambda layers: _named(layers, lambda w: w),
        "reshaped": lambda layers: _named(layers, lambda w: w.reshape(w.shape[::-1])),
        "relu-not-counted": lambda layers: _named(layers, np.transpose, step=1),
        "wrong-names": lambda layers: {f"fc{i}.weight": w.T for i, (w, _) in enumerate(layers)},
        "not-a-dict": lambda layers: [w.T for w, _ in layers],
    },
    "side_by_side.first_difference": {
        "largest-instead-of-first": _largest,
        "absolute-difference": lambda a, b, limit=1e-10: _first(
            a, b, lambda u, v: not np.abs(u - v).max() < limit
        ),
        "nan-passes": lambda a, b, limit=1e-10: _first(
            a, b, lambda u, v: np.linalg.norm(u - v) > limit * np.linalg.norm(v)
        ),
        "equal-not-recognised": lambda a, b, limit=1e-10: _first(a, b, _zero_over_zero),
        "shape-ignored": lambda a, b, limit=1e-10: _first(
            a, b, lambda u, v: not np.abs(u - v).max() <= limit * np.abs(v).max()
        ),
        "limit-ignored": lambda a, b, limit=1e-10: _first(a, b, _differ),
        "nan-equals-nan": lambda a, b, limit=1e-10: _first(
            a, b, lambda u, v: u.tobytes() != v.tobytes() and _differ(u, v, limit)
        ),
        "compared-by-place": lambda a, b, limit=1e-10: _first(
            a, dict(zip(a, b.values(), strict=True)), lambda u, v: _differ(u, v, limit)
        ),
        "too-strict": lambda a, b, limit=1e-10: _first(
            a, b, lambda u, v: u.shape != v.shape or not relative_error(u, v) < 1e-14
        ),
    },
    "side_by_side.adam": {
        "uphill": _form(None, sign=1.0),
        "no-bias-correction": _form(lambda m, s, c1, c2, eps: m / (np.sqrt(s) + eps)),
        "epsilon-before-correction": _form(
            lambda m, s, c1, c2, eps: np.sqrt(c2) / c1 * m / (np.sqrt(s) + eps)
        ),
        "epsilon-inside-root": _form(lambda m, s, c1, c2, eps: m / c1 / np.sqrt(s / c2 + eps)),
        "wrong-values": _swapped,
        "not-three": lambda *args, **kwargs: _adam(*args, **kwargs)[0],
    },
    "side_by_side.class_weights": {
        "divided-by-rows": lambda z, y, w: _weighted(z, y, w, divide=len),
        "not-a-mean": lambda z, y, w: _weighted(z, y, w, divide=lambda own: 1.0),
        "gradient-not-weighted": lambda z, y, w: _weighted(z, y, w, rows=lambda w, d: d),
        "weights-by-column": lambda z, y, w: _weighted(z, y, w, rows=lambda w, d: w * d),
        "overflow": _weighted,  # log of a probability that is rounded to zero
        "not-two": lambda z, y, w: _weighted(z, y, w)[0],
    },
}
