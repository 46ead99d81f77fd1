"""Typical wrong answers to the exercises of the chapter on where the time goes."""

from __future__ import annotations

import math
from statistics import fmean, median
from typing import Any

import numpy as np


def _ranks(target: float, serial: float) -> float:
    return (1 - serial) / (1 / target - serial)


def _rows(
    m: int, n: int, item: int, peak: float, bandwidth: float, *, numbers: bool = False
) -> float:
    c = peak / bandwidth * item
    rows = c * m * n / (2 * m * n - c * (m + n))
    return rows / item if numbers else rows


def _timed(clock: Any, f: Any) -> float:
    began = clock()
    f()
    return float(clock() - began)


def _turns(a: Any, b: Any, clock: Any, n: int, *, warm: bool = True) -> tuple[list[float], ...]:
    if warm:
        a()
        b()
    pairs = [(_timed(clock, a), _timed(clock, b)) for _ in range(n)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _blocks(a: Any, b: Any, clock: Any, n: int) -> float:
    a()
    b()
    first = [_timed(clock, a) for _ in range(n)]
    return median(first) / median([_timed(clock, b) for _ in range(n)])


def _ratios(times: tuple[list[float], ...]) -> list[float]:
    return [x / y for x, y in zip(*times, strict=True)]


def _fit(p: Any, left: Any, first: Any) -> Any:
    columns = np.stack([first, p - 1.0], axis=1)
    s, c = np.linalg.lstsq(columns, left)[0]
    return s, c, math.sqrt(abs((1 - s) / c))


def _no_square(p: Any, speedups: Any) -> Any:
    s, c, _ = _fit(p, 1 / speedups - 1 / p, 1 - 1 / p)
    return s, c, math.sqrt(1 / c)


WRONG = {
    "where_time_goes.ranks_for": {
        "rounded-down": lambda target, serial: math.floor(_ranks(target, serial)),
        "not-whole": _ranks,
        "gustafson-instead": lambda t, s: math.ceil((t - s) / (1 - s)),
        "limit-not-noticed": lambda t, s: max(1, math.ceil(
            (1 - s) / ((1 / t - s) or -1.0) - 1e-9)),
        "rounding-error-rounded-up": lambda t, s: (
            math.inf if t * s >= 1 else max(1, math.ceil(_ranks(t, s)))
        ),
        "raises-an-error": lambda t, s: math.ceil(_ranks(t, s) / int(s > 0)),
    },
    "where_time_goes.rows_to_corner": {
        "only-weights-counted": lambda m, n, item, peak, b: math.ceil(peak / b * item / 2),
        "not-rounded-up": lambda *layer: int(_rows(*layer)),
        "numbers-for-bytes": lambda *layer: math.ceil(_rows(*layer, numbers=True)),
        "out-of-reach-not-noticed": lambda *layer: math.ceil(_rows(*layer)),
        "wrong-values": lambda m, n, item, peak, b: math.ceil(peak / b),
    },
    "where_time_goes.stopwatch": {
        "no-warm-up": lambda a, b, clock, n: median(_ratios(_turns(a, b, clock, n, warm=False))),
        "not-in-turns": _blocks,
        "mean-of-ratios": lambda a, b, clock, n: fmean(_ratios(_turns(a, b, clock, n))),
        "ratio-of-medians": lambda *args: (lambda x, y: median(x) / median(y))(*_turns(*args)),
        "upside-down": lambda a, b, clock, n: 1 / median(_ratios(_turns(a, b, clock, n))),
        "wrong-number-of-runs": lambda a, b, clock, n: median(
            _ratios(_turns(a, b, clock, n + 1))
        ),
    },
    "where_time_goes.diagnose": {
        "exchange-blamed-on-serial": lambda p, s: (
            float(np.mean((1 / s - 1 / p) / (1 - 1 / p))), 0.0, math.inf,
        ),
        "speedup-not-inverted": lambda p, s: _fit(p, s - p, 1 - 1 / p),
        "serial-part-twice": lambda p, s: _fit(p, 1 / s - 1 / p, np.ones(len(p))),
        "serial-part-shared": _no_square,
        "wrong-shape": lambda p, s: _fit(p, 1 / s - 1 / p, 1 - 1 / p)[:2],
    },
}  # fmt: skip
