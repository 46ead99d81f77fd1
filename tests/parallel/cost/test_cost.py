"""The formulas of parallel training: hand values, limits, and the counters of real runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.collectives.algorithms import ALL_REDUCE
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import (
    AlphaBeta,
    amdahl,
    checkpoint_interval,
    fit_alpha_beta,
    gustafson,
    karp_flatt,
    pipeline_bubble,
    predict_step,
    traffic,
    zero_memory,
)
from course_lib.parallel.cost.channel import CHAINS

CHANNEL = AlphaBeta(alpha=1e-4, beta=1e-9)


# --- Amdahl and Gustafson ---


def test_hand_values():
    assert amdahl(0.25, 3) == pytest.approx(2.0)  # 1 / (1/4 + 1/4)
    assert gustafson(0.25, 3) == pytest.approx(2.5)  # 1/4 + 9/4


@pytest.mark.parametrize("law", [amdahl, gustafson])
def test_nothing_serial_gives_p_and_nothing_parallel_gives_1(law):
    assert [law(0.0, p) for p in (1, 2, 7)] == [1, 2, 7]
    assert [law(1.0, p) for p in (1, 2, 7)] == [1, 1, 1]


def test_amdahl_grows_towards_1_over_s_and_gustafson_without_end():
    fixed = [amdahl(0.05, 2**k) for k in range(20)]
    assert fixed == sorted(fixed)
    assert fixed[-1] == pytest.approx(20, rel=1e-3) and fixed[-1] < 20
    assert gustafson(0.05, 2**19) > 0.9 * 2**19


def test_the_two_laws_are_one_law_with_the_share_measured_at_different_places():
    """With the serial share on p ranks, s / (s + (1-s)/p), Gustafson says what Amdahl says."""
    for s in (0.01, 0.3, 0.9):
        for p in (1, 4, 100):
            on_p = s / (s + (1 - s) / p)
            assert gustafson(on_p, p) == pytest.approx(amdahl(s, p), rel=1e-12)


@pytest.mark.parametrize("law", [amdahl, gustafson])
def test_a_fraction_is_between_0_and_1_and_ranks_are_counted(law):
    with pytest.raises(ValueError, match=r"serial_fraction must be .* >= 0 and <= 1, got 5"):
        law(5, 2)
    with pytest.raises(ValueError, match=r"p must be an integer of at least 1, got 0"):
        law(0.5, 0)


# --- alpha and beta ---


def test_collectives_by_hand():
    a, b, n = CHANNEL.alpha, CHANNEL.beta, 1000
    assert CHANNEL.message(n) == a + b * n
    assert CHANNEL.broadcast(5, n) == pytest.approx(3 * (a + b * n))
    assert CHANNEL.reduce_scatter(4, n) == pytest.approx(3 * a + 0.75 * n * b)
    assert CHANNEL.all_gather(4, n) == pytest.approx(3 * a + 0.75 * n * b)
    assert CHANNEL.all_reduce(3, n) == pytest.approx(4 * (a + b * n))
    assert CHANNEL.all_reduce(3, n, "tree") == pytest.approx(4 * (a + b * n))
    assert CHANNEL.all_reduce(3, n, "ring") == pytest.approx(4 * a + 4 / 3 * n * b)
    assert CHANNEL.all_reduce(8, n, "recursive_doubling") == pytest.approx(3 * (a + b * n))
    assert CHANNEL.all_reduce(9, n, "recursive_doubling") == pytest.approx(5 * (a + b * n))


def test_a_ring_is_a_reduce_scatter_and_an_all_gather():
    for p in range(1, 20):
        parts = CHANNEL.reduce_scatter(p, 7000) + CHANNEL.all_gather(p, 7000)
        assert CHANNEL.all_reduce(p, 7000, "ring") == pytest.approx(parts, rel=1e-12)


@pytest.mark.parametrize("algorithm", CHAINS)
def test_one_rank_pays_nothing_and_more_ranks_or_bytes_never_pay_less(algorithm):
    assert CHANNEL.all_reduce(1, 10**9, algorithm) == 0
    by_bytes = [CHANNEL.all_reduce(6, n, algorithm) for n in (0, 10, 1000, 10**6)]
    assert by_bytes == sorted(by_bytes)
    powers = [CHANNEL.all_reduce(2**k, 10**6, algorithm) for k in range(8)]
    assert powers == sorted(powers)


def test_recursive_doubling_and_ring_cross_where_their_formulas_are_equal():
    p, rounds = 16, 4
    a, b = CHANNEL.alpha, CHANNEL.beta
    crossing = (2 * (p - 1) - rounds) * a / ((rounds - 2 * (p - 1) / p) * b)
    for n, cheaper in ((0.99 * crossing, "recursive_doubling"), (1.01 * crossing, "ring")):
        assert min(CHAINS, key=lambda name: CHANNEL.all_reduce(p, n, name)) == cheaper


def test_the_ring_moves_less_than_twice_the_array_however_many_ranks():
    slow = AlphaBeta(alpha=0, beta=1)
    assert slow.all_reduce(10_000, 1.0, "ring") == pytest.approx(2, rel=1e-3)
    assert slow.all_reduce(10_000, 1.0, "ring") < 2


@pytest.mark.parametrize("algorithm", sorted(set(ALL_REDUCE) & set(CHAINS)))
@pytest.mark.parametrize("p", [1, 2, 3, 4, 5, 8])
def test_traffic_is_what_the_communicators_count(algorithm, p):
    array = np.ones(120)  # 120 is divided by every p here, so the parts of a ring are alike

    def program(comm):
        all_reduce(comm, array.copy(), algorithm)
        return comm.counters.messages, comm.counters.bytes

    assert run_threads(p, program) == [tuple(t) for t in traffic(p, array.nbytes, algorithm)]


@pytest.mark.parametrize("p", range(1, 18))
def test_traffic_in_all_is_that_of_the_literature(p):
    def total(algorithm):
        return sum(rank.messages for rank in traffic(p, 1, algorithm))

    assert total("ordered") == total("tree") == 2 * (p - 1)
    assert total("ring") == 2 * p * (p - 1)
    power = 2 ** int(math.log2(p))
    assert total("recursive_doubling") == power * int(math.log2(p)) + 2 * (p - power)
    # However it travels, the bytes of a ring are the fewest: each rank 2 (p - 1) / p of the array.
    assert sum(r.bytes for r in traffic(p, 8, "ring")) == pytest.approx(2 * (p - 1) * 8)


def test_wrong_channels_and_names_are_refused():
    with pytest.raises(ValueError, match=r"AlphaBeta: beta must be a finite number >= 0, got -1"):
        AlphaBeta(0.1, -1)
    with pytest.raises(ValueError, match=r"alpha must be a finite number >= 0, got nan"):
        AlphaBeta(math.nan, 0.1)
    with pytest.raises(ValueError, match=r"n \(bytes\) must be a finite number >= 0, got -8"):
        CHANNEL.message(-8)
    with pytest.raises(ValueError, match=r"p \(the number of ranks\) must be .* at least 1, got 0"):
        CHANNEL.broadcast(0, 8)
    with pytest.raises(ValueError, match=r"did you mean 'ring'"):
        CHANNEL.all_reduce(2, 8, "rng")
    with pytest.raises(ValueError, match=r"did you mean 'tree'"):
        traffic(2, 8, "tre")


# --- the fit ---

SIZES = [8, 100, 4_000, 400_000, 8_000_000]


def test_the_fit_finds_a_channel_exactly_from_exact_times():
    model, error = fit_alpha_beta([(n, CHANNEL.message(n)) for n in SIZES])
    assert model.alpha == pytest.approx(CHANNEL.alpha, rel=1e-9)
    assert model.beta == pytest.approx(CHANNEL.beta, rel=1e-9)
    assert error < 1e-9


def test_the_fit_stands_10_percent_of_noise():
    rng = np.random.default_rng(0)
    noisy = [(n, CHANNEL.message(n) * rng.uniform(0.9, 1.1)) for n in SIZES for _ in range(20)]
    model, error = fit_alpha_beta(noisy)
    # 100 values with a spread of 0.06: a parameter is off by 0.06 / sqrt(40) = 1 %; 4 of these.
    assert model.alpha == pytest.approx(CHANNEL.alpha, rel=0.04)
    assert model.beta == pytest.approx(CHANNEL.beta, rel=0.04)
    assert 0.04 < error < 0.08  # the spread of a uniform distribution: 0.1 / sqrt(3)


def test_without_the_weights_the_latency_would_be_lost():
    rng = np.random.default_rng(1)
    weighted, plain = [], []
    several_large = [8, 100, 4_000, 4_000_000, 6_000_000, 8_000_000]
    for _ in range(50):
        noisy = [(n, CHANNEL.message(n) * rng.uniform(0.9, 1.1)) for n in several_large]
        weighted.append(abs(fit_alpha_beta(noisy).model.alpha / CHANNEL.alpha - 1))
        sizes, times = np.array(noisy).T
        plain.append(abs(np.polyfit(sizes, times, 1)[1] / CHANNEL.alpha - 1))
    assert np.median(weighted) < 0.05 < 0.2 < np.median(plain)


@pytest.mark.parametrize(
    ("measurements", "alpha", "beta"),
    [
        ([(0, 2.0), (10, 1.0)], 1.2, 0.0),  # min ((a-2)/2)^2 + (a-1)^2: a = 6/5
        ([(1, 1.0), (10, 20.0)], 0.0, 1.2),  # min (b-1)^2 + ((10b-20)/20)^2: b = 6/5
    ],
)
def test_a_channel_is_never_negative(measurements, alpha, beta):
    model, error = fit_alpha_beta(measurements)
    assert (model.alpha, model.beta) == (pytest.approx(alpha), pytest.approx(beta))
    assert error > 0.1


def test_measurements_that_tell_nothing_are_refused():
    with pytest.raises(ValueError, match=r"one size cannot tell latency from bandwidth"):
        fit_alpha_beta([(8, 1.0), (8, 1.1)])
    with pytest.raises(ValueError, match=r"a time of 0 means that the clock is too coarse"):
        fit_alpha_beta([(8, 0.0), (80, 1.1)])
    with pytest.raises(ValueError, match=r"must be pairs \(bytes, seconds\), got .* \(3,\)"):
        fit_alpha_beta([1, 2, 3])


# --- a step ---


def test_a_free_channel_gives_p_times_the_speed():
    free = AlphaBeta(0, 0)
    for scaling in ("strong", "weak"):
        cost = predict_step(0.1, 4, 1000, free, scaling=scaling)
        assert (cost.speedup, cost.efficiency) == (pytest.approx(4), pytest.approx(1))


def test_a_free_channel_and_a_repeated_part_are_amdahls_law():
    cost = predict_step(0.1, 8, 1000, AlphaBeta(0, 0), repeated_seconds=0.02)
    assert cost.speedup == pytest.approx(amdahl(0.2, 8))


def test_strong_and_weak_scaling_by_hand():
    channel = AlphaBeta(alpha=1e-3, beta=1e-9)
    # 1e6 float32 numbers, tree over 4: 4 rounds of 1 ms + 4 ms.
    strong = predict_step(0.1, 4, 10**6, channel, dtype=np.float32, algorithm="tree")
    assert strong.communication == pytest.approx(0.02)
    assert strong.seconds == pytest.approx(0.025 + 0.02)
    assert strong.speedup == pytest.approx(0.1 / 0.045)
    weak = predict_step(0.1, 4, 10**6, channel, dtype=np.float32, algorithm="tree", scaling="weak")
    assert weak.seconds == pytest.approx(0.12)
    assert weak.efficiency == pytest.approx(0.1 / 0.12)


def test_one_rank_is_the_serial_step_and_a_small_step_gets_slower():
    assert predict_step(0.1, 1, 10**6, CHANNEL).speedup == 1
    assert predict_step(0.0001, 2, 10**5, CHANNEL).speedup < 1


def test_wrong_steps_are_refused():
    with pytest.raises(ValueError, match=r"compute_seconds must be a finite number > 0, got 0"):
        predict_step(0, 2, 10, CHANNEL)
    with pytest.raises(ValueError, match=r"repeated_seconds .* >= 0 and <= 1, got 2"):
        predict_step(1, 2, 10, CHANNEL, repeated_seconds=2)
    with pytest.raises(ValueError, match=r"unknown scaling 'week'; did you mean 'weak'"):
        predict_step(1, 2, 10, CHANNEL, scaling="week")
    with pytest.raises(ValueError, match=r"n_params must be an integer of at least 1"):
        predict_step(1, 2, 0, CHANNEL)
    with pytest.raises(
        ValueError, match=r"predict_step: p must be an integer of at least 1, got 0"
    ):
        predict_step(1, 0, 10, CHANNEL)
    with pytest.raises(ValueError, match=r"compute_seconds must be a finite number > 0, got inf"):
        predict_step(math.inf, 2, 10, CHANNEL)


# --- memory, pipelines, checkpoints ---


def test_the_memory_of_figure_1_of_the_zero_paper():
    """7.5 billion parameters on 64 ranks: 120, 31.4, 16.6 and 1.9 GB."""
    totals = [zero_memory(7_500_000_000, 64, s, dtype=None).total / 1e9 for s in range(4)]
    assert [round(total, 1) for total in totals] == [120.0, 31.4, 16.6, 1.9]


def test_memory_of_this_package():
    assert zero_memory(100, 3, 0) == (800, 800, 1600)
    assert zero_memory(100, 3, 1) == (800, 800, 16 * 34)  # the largest part has 34 numbers
    assert zero_memory(100, 3, 2, dtype=np.float32) == (400, 4 * 34, 8 * 34)
    assert zero_memory(100, 3, 3, dtype=np.float32, optimizer_vectors=0) == (136, 136, 0)


@pytest.mark.parametrize("dtype", [None, np.float32, np.float64])
def test_every_stage_needs_less_and_one_rank_gains_nothing(dtype):
    by_stage = [zero_memory(10**6, 4, s, dtype=dtype).total for s in range(4)]
    assert by_stage == sorted(by_stage, reverse=True)
    assert by_stage[3] * 4 == by_stage[0]
    assert len({zero_memory(10**6, 1, s, dtype=dtype) for s in range(4)}) == 1


def test_wrong_memory_questions_are_refused():
    with pytest.raises(ValueError, match=r"stage must be 0, 1, 2 or 3, got 4"):
        zero_memory(10, 2, 4)
    with pytest.raises(ValueError, match=r"optimizer_vectors must be an integer of at least 0"):
        zero_memory(10, 2, 1, optimizer_vectors=-1)


def test_the_bubble_by_hand_and_its_limits():
    assert pipeline_bubble(8, 32) == pytest.approx(7 / 39)
    assert pipeline_bubble(1, 5) == 0
    assert pipeline_bubble(4, 10**9) == pytest.approx(0, abs=1e-8)
    with pytest.raises(ValueError, match=r"pipeline_bubble: stages must be .* at least 1, got 0"):
        pipeline_bubble(0, 3)
    with pytest.raises(ValueError, match=r"micro_batches must be .* at least 1, got 0"):
        pipeline_bubble(3, 0)


def test_youngs_interval_is_where_the_expected_running_time_is_least():
    """Oracle: the expected time of a run with exponential failures, M (e^((T+C)/M) - 1) per T."""
    c, m = 2.0, 10_000.0
    intervals = np.linspace(20, 1000, 20_000)
    cost = m * np.expm1((intervals + c) / m) / intervals
    best = intervals[np.argmin(cost)]
    young = checkpoint_interval(c, m)
    assert young == 200
    assert young == pytest.approx(best, rel=2 * math.sqrt(c / m))  # the next order


def test_wrong_checkpoint_times_are_refused():
    with pytest.raises(ValueError, match=r"mtbf_seconds must be a finite number > 0, got 0"):
        checkpoint_interval(1, 0)
    with pytest.raises(ValueError, match=r"checkpoint_seconds must be a finite number > 0"):
        checkpoint_interval(-1, 10)
    with pytest.raises(ValueError, match=r"mtbf_seconds must be a finite number > 0, got inf"):
        checkpoint_interval(1, math.inf)


# --- wishes of a measurement: Karp and Flatt, and which all-reduce to take ---


@pytest.mark.parametrize("p", [2, 3, 8, 1000])
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 1.0])
def test_karp_and_flatt_undo_amdahl(fraction, p):
    assert karp_flatt(amdahl(fraction, p), p) == pytest.approx(fraction, abs=1e-12)


def test_karp_and_flatt_by_hand_and_their_limits():
    assert karp_flatt(2.0, 4) == pytest.approx((0.5 - 0.25) / 0.75)
    assert karp_flatt(5.0, 4) < 0  # faster than p workers can share
    with pytest.raises(ValueError, match="karp_flatt: workers must be an integer of at least 2"):
        karp_flatt(1.0, 1)
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="karp_flatt: speedup must be a finite number > 0"):
            karp_flatt(wrong, 2)


@pytest.mark.parametrize("channel", [CHANNEL, AlphaBeta(50e-6, 0.8e-9), AlphaBeta(2e-6, 1e-7)])
@pytest.mark.parametrize("p", [3, 4, 5, 6, 7, 8, 9, 16, 31, 64])
def test_the_crossover_is_where_a_search_over_all_sizes_finds_it(p, channel):
    def ring_wins(n):
        return channel.all_reduce(p, n, "ring") < channel.all_reduce(p, n, "recursive_doubling")

    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if ring_wins(middle) else (middle, high)
    # To a byte, and to the rounding of the two times where they meet.
    assert channel.crossover(p) == pytest.approx(high, abs=1.5, rel=1e-9)


def test_there_is_no_crossover_where_the_ring_never_wins():
    assert CHANNEL.crossover(1) == CHANNEL.crossover(2) == math.inf
    assert AlphaBeta(1e-4, 0.0).crossover(8) == math.inf
    with pytest.raises(ValueError, match="number of ranks"):
        CHANNEL.crossover(0)


def test_there_are_four_stages_of_zero():
    with pytest.raises(ValueError, match="zero_memory: stage must be 0, 1, 2 or 3, got 4"):
        zero_memory(100, 2, 4)
