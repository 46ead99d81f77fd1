"""The equations of the chapter on where the time goes, as printed, against the package."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import numpy as np
import pytest

from course_lib import mlp
from course_lib.parallel.cost import AlphaBeta, amdahl, fit_alpha_beta, gustafson, predict_step
from course_lib.timing import Comparison


def _traced_step(sizes, rows):
    """Return the shapes of all matrix products of a training step."""
    net, rng, shapes = mlp(sizes), np.random.default_rng(0), []
    product = np.matmul

    def trace(a, b, **options):
        shapes.append((*a.shape, b.shape[1]))
        return product(a, b, **options)

    x, y = rng.random((rows, sizes[0])), rng.integers(sizes[-1], size=rows)
    with mock.patch("numpy.matmul", trace):
        net.loss_and_grad(net.init(rng), x, y)
    return shapes


@pytest.mark.equation("eq-where-step-flops")
@pytest.mark.parametrize("sizes", [[3, 2], [7, 4, 3], [5, 6, 4, 2]])
def test_a_step_is_three_products_per_layer_less_one(sizes):
    n = 11
    called = sum(2 * a * b * c for a, b, c in _traced_step(sizes, n))
    products = [m * k for m, k in pairwise(sizes)]
    assert called == 2 * n * (3 * sum(products) - sizes[0] * sizes[1])


@pytest.mark.equation("eq-where-intensity")
def test_the_three_products_of_a_layer_have_the_same_intensity():
    n, sizes, item = 11, [7, 4, 3], 8
    # Of the second layer (4 -> 3): forward, weights, inputs.
    own = [s for s in _traced_step(sizes, n) if sorted(s) == [3, 4, n]]
    assert len(own) == 3
    printed = 2 * n * 4 * 3 / (item * (n * 4 + 4 * 3 + n * 3))
    for a, b, c in own:
        arrays = np.ones((a, b)), np.ones((b, c)), np.ones((a, c))
        flops = a * c * b * 2
        assert flops / sum(x.nbytes for x in arrays) == pytest.approx(printed, rel=1e-15)
    # One row of a large layer: two operations per number of the weights.
    one = 2 * 10**8 / (8 * (10**4 + 10**8 + 10**4))
    assert one == pytest.approx(2 / 8, rel=1e-3)


@pytest.mark.equation("eq-where-roofline")
def test_under_the_roof_the_slower_of_memory_and_arithmetic_decides():
    peak, bandwidth = 40e9, 10e9
    for flops, moved in ((1e9, 4e9), (1e9, 2.5e8), (1e9, 1e6)):
        seconds = max(flops / peak, moved / bandwidth)  # perfect overlap of the two
        intensity = flops / moved
        assert flops / seconds == pytest.approx(min(peak, intensity * bandwidth), rel=1e-15)
    assert min(peak, peak / bandwidth * bandwidth) == peak  # the corner lies on both


@pytest.mark.equation("eq-where-overhead")
def test_half_of_the_throughput_is_reached_at_alpha_over_beta():
    alpha, beta = 200e-6, 3e-6
    line = AlphaBeta(alpha, beta)
    for rows in (1, 7, 100, 10_000):
        half = alpha / beta
        assert line.message(rows) == pytest.approx(alpha + beta * rows, rel=1e-15)
        assert rows / line.message(rows) == pytest.approx(
            1 / beta * rows / (rows + half), rel=1e-12
        )
    assert (alpha / beta) / line.message(alpha / beta) == pytest.approx(0.5 / beta, rel=1e-12)
    fitted = fit_alpha_beta([(n, alpha + beta * n) for n in (1, 4, 64, 1024)]).model
    assert (fitted.alpha, fitted.beta) == pytest.approx((alpha, beta), rel=1e-9)


@pytest.mark.equation("eq-where-ratio")
def test_what_is_compared_is_the_median_of_the_ratios_of_neighbours():
    a, b = (9.0, 1.0, 6.0), (1.0, 2.0, 3.0)
    by_hand = sorted([9.0, 0.5, 2.0])[1]
    assert Comparison(("a", "b"), a, b).ratio == by_hand
    # Not the ratio of the medians, which mixes runs of different moments.
    assert np.median(a) / np.median(b) != by_hand


@pytest.mark.equation("eq-where-speedup")
def test_speedup_and_efficiency_of_a_predicted_step():
    channel = AlphaBeta(1e-3, 1e-9)
    cost = predict_step(0.1, 4, 1_000_000, channel, algorithm="ring")
    assert cost.speedup == pytest.approx(0.1 / cost.seconds, rel=1e-12)
    assert cost.efficiency == pytest.approx(cost.speedup / 4, rel=1e-15)


@pytest.mark.equation("eq-where-amdahl")
@pytest.mark.parametrize("p", [1, 2, 9, 1000])
def test_amdahl_is_the_ratio_of_two_schedules(p):
    s, total = 0.1, 10.0
    schedule = [s * total, (1 - s) * total / p]  # one after the other; the second shared
    assert amdahl(s, p) == pytest.approx(total / sum(schedule), rel=1e-12)
    assert amdahl(s, p) == pytest.approx(1 / (s + (1 - s) / p), rel=1e-15)
    assert amdahl(s, p) < 1 / s


@pytest.mark.equation("eq-where-gustafson")
@pytest.mark.parametrize("p", [1, 2, 9, 1000])
def test_gustafson_asks_how_long_one_processor_would_need(p):
    serial, shared = 1.0, 9.0  # minutes on p processors
    one = serial + sum(shared for _ in range(p))
    s = serial / (serial + shared)
    assert gustafson(s, p) == pytest.approx(one / (serial + shared), rel=1e-12)
    assert gustafson(s, p) == pytest.approx(s + (1 - s) * p, rel=1e-15)


@pytest.mark.equation("eq-where-fractions")
@pytest.mark.parametrize("p", [1, 3, 100])
@pytest.mark.parametrize("s_p", [0.0, 0.1, 0.9, 1.0])
def test_both_laws_describe_one_run(p, s_p):
    s_1 = s_p / (s_p + (1 - s_p) * p)
    assert amdahl(s_1, p) == pytest.approx(gustafson(s_p, p), rel=1e-12)


@pytest.mark.equation("eq-where-karp-flatt")
@pytest.mark.parametrize("p", [2, 3, 64])
@pytest.mark.parametrize("s", [0.0, 0.01, 0.3, 1.0])
def test_the_serial_share_is_read_back_from_the_speedup(p, s):
    speedup = amdahl(s, p)
    assert (1 / speedup - 1 / p) / (1 - 1 / p) == pytest.approx(s, abs=1e-12)
