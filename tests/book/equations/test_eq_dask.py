"""The equations of the chapter on Dask, as printed, against the package and a simulated cluster."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from course_lib import mlp
from course_lib.gradcheck import numerical_gradient
from course_lib.parallel.cost import AlphaBeta, predict_step


@pytest.fixture
def regression():
    """Give 23 rows of 4 columns, targets, weights, and blocks of unequal height."""
    rng = np.random.default_rng(5)
    x, y, w = rng.normal(size=(23, 4)), rng.normal(size=23), rng.normal(size=4)
    cuts = [0, 1, 9, 16, 23]
    return x, y, w, [slice(a, b) for a, b in pairwise(cuts)]


@pytest.mark.equation("eq-dask-blocks")
def test_the_gradient_of_a_regression_is_a_sum_over_blocks_of_rows(regression):
    x, y, w, blocks = regression
    over_blocks = 2 / 23 * sum(x[k].T @ (x[k] @ w - y[k]) for k in blocks)
    assert over_blocks == pytest.approx(2 / 23 * x.T @ (x @ w - y), rel=1e-12)
    by_nudging = numerical_gradient(lambda v: float(np.mean((x @ v - y) ** 2)), w)
    assert over_blocks == pytest.approx(by_nudging, abs=1e-8)
    network = mlp([4, 1], loss="mse").loss_and_grad(np.append(w, 0.0), x, y)[1]
    assert over_blocks == pytest.approx(network[:4], rel=1e-12)


@pytest.mark.equation("eq-dask-normal")
def test_the_normal_equations_are_sums_over_blocks_of_rows(regression):
    x, y, _, blocks = regression
    gram = sum(x[k].T @ x[k] for k in blocks)
    moment = sum(x[k].T @ y[k] for k in blocks)
    assert np.linalg.solve(gram, moment) == pytest.approx(np.linalg.lstsq(x, y)[0], rel=1e-10)


def _cluster(n, p, t, o):
    """Return when the last of n tasks ends, each handed to the worker that is free first."""
    free = [0.0] * p
    for _ in range(n):
        first = free.index(min(free))
        free[first] += o + t
    return max(free)


@pytest.mark.equation("eq-dask-cost")
@pytest.mark.parametrize(("p", "t", "o"), [(2, 0.02, 0.003), (4, 0.001, 0.004), (3, 0.5, 0.0)])
def test_tasks_share_the_time_between_work_and_overhead(p, t, o):
    n = 60 * p
    assert _cluster(n, p, t, o) == pytest.approx(n / p * (t + o), rel=1e-12)
    speedup = n * t / _cluster(n, p, t, o)
    assert speedup == pytest.approx(p * t / (t + o), rel=1e-12)
    if p == 2:  # one message of recursive doubling stands for the overhead
        cost = predict_step(
            t, 2, 1, AlphaBeta(o, 0.0), algorithm="recursive_doubling", scaling="weak"
        )
        assert cost.speedup == pytest.approx(speedup, rel=1e-12)
        assert cost.efficiency == pytest.approx(t / (t + o), rel=1e-12)


@pytest.mark.equation("eq-dask-break-even")
@pytest.mark.parametrize("p", [2, 3, 10])
def test_tasks_beat_a_loop_above_the_break_even(p):
    o, n = 0.006, 30 * p
    even = o / (p - 1)
    assert _cluster(n, p, even, o) == pytest.approx(n * even, rel=1e-12)
    assert _cluster(n, p, 1.1 * even, o) < n * 1.1 * even
    assert _cluster(n, p, 0.9 * even, o) > n * 0.9 * even


@pytest.mark.equation("eq-dask-amortise")
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_many_steps_in_one_task_share_its_overhead(k):
    t, o = 0.0002, 0.001
    share = k * t / (k * t + o)
    working = sum(t for _ in range(k))
    assert share == pytest.approx(working / _cluster(1, 1, working, o), rel=1e-9)
    assert 1 - share == pytest.approx(o / _cluster(1, 1, working, o), rel=1e-9)
