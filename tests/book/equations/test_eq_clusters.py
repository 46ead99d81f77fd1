"""The equations of the chapter on clusters, as printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from course_lib.parallel.cost import AlphaBeta, checkpoint_interval, predict_step

_CHANNEL = AlphaBeta(alpha=1e-4, beta=1e-9)


@pytest.mark.equation("eq-clusters-threads")
@pytest.mark.parametrize("b", [1, 2])
def test_threads_of_workers_and_of_their_matrix_products_multiply(b):
    """Counted by threadpoolctl in w = 2 fresh processes with t = 1 thread of Python each."""
    pytest.importorskip("threadpoolctl")
    program = (
        "import json, numpy, threading, threadpoolctl as t\n"
        "pools = [p['num_threads'] for p in t.threadpool_info() if p['user_api'] == 'blas']\n"
        "print(json.dumps([threading.active_count(), max(pools, default=0)]))"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(b))}
    workers = [
        json.loads(subprocess.check_output([sys.executable, "-c", program], env=environment))
        for _ in range(2)
    ]
    if any(blas == 0 for _, blas in workers):
        pytest.skip("NumPy's matrix products are of a library that threadpoolctl does not know")
    cores = os.cpu_count() or 1
    if cores < b:
        pytest.skip("a library does not start more threads than there are cores")
    assert sum(t * blas for t, blas in workers) == 2 * 1 * b


@pytest.mark.equation("eq-clusters-data")
@pytest.mark.parametrize("p", [1, 4, 16])
def test_sending_to_all_and_reading_in_parts(p):
    n, speed = 10e9, 1.25e9
    link = AlphaBeta(alpha=0.0, beta=1 / speed)
    send = sum(link.message(n) for _ in range(p))  # one after the other
    read = max(link.message(part) for part in [n / p] * p)  # all at once
    assert send == pytest.approx(p * n / speed)
    assert read == pytest.approx(n / (p * speed))
    assert send / read == pytest.approx(p**2)


@pytest.mark.equation("eq-clusters-cost")
def test_hours_and_costs_of_a_training():
    """Played through hour by hour: p workers are paid from the moment they are asked for."""
    price, startup, steps, p = 3.0, 0.5, 7200, 4
    seconds = predict_step(1.0, p, 1000, AlphaBeta(0.0, 0.0)).seconds
    assert seconds == pytest.approx(1 / 4)
    hours = startup + steps * seconds / 3600
    assert hours == pytest.approx(1.0)  # half an hour of waiting, 7200 quarters of a second
    assert price * p * hours == pytest.approx(12.0)


@pytest.mark.equation("eq-clusters-efficiency")
@pytest.mark.parametrize("p", [1, 2, 8])
def test_the_price_relative_to_one_worker_is_one_over_the_efficiency(p):
    steps, price = 1000, 2.0
    one, many = (predict_step(0.1, q, 1_000_000, _CHANNEL, algorithm="ring") for q in (1, p))
    costs = [price * q * steps * s.seconds / 3600 for q, s in ((1, one), (p, many))]
    assert many.efficiency == pytest.approx(one.seconds / (p * many.seconds))
    assert costs[1] / costs[0] == pytest.approx(1 / many.efficiency)


@pytest.mark.equation("eq-clusters-loss")
@pytest.mark.parametrize(("p", "hours"), [(1, 500.0), (8, 100.0), (64, 24.0)])
def test_the_chance_of_no_loss(p, hours):
    each = 2000.0
    first = np.random.default_rng(0).exponential(each, size=(20_000, p)).min(axis=1)
    # 20 000 draws: the standard error of a share is below 0.004, that of the mean below 0.8 %.
    assert (first > hours).mean() == pytest.approx(np.exp(-p * hours / each), abs=0.016)
    assert first.mean() == pytest.approx(each / p, rel=0.03)
    # Young's interval, which takes M: sqrt(2 C M).
    assert checkpoint_interval(10, 3600 * each / p) == pytest.approx(
        np.sqrt(2 * 10 * 3600 * each / p)
    )
