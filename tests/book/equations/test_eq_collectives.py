"""The equations of the chapter on collectives, as printed, against the package."""

from __future__ import annotations

import math

import numpy as np
import pytest

from course_lib.parallel.collectives import (
    algorithms,
    all_gather,
    all_reduce,
    broadcast,
    reduce_scatter,
)
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import AlphaBeta, fit_alpha_beta, traffic

SIZES = [1, 2, 3, 4, 5, 8]


def _own(rank, n=24):
    """Give each rank whole numbers of its own, so that sums are exact in any order."""
    return np.random.default_rng(rank).integers(-99, 99, size=n).astype(float)


@pytest.mark.equation("eq-collectives-rounds")
@pytest.mark.parametrize("p", [*SIZES, 100])
def test_a_broadcast_sends_one_message_per_rank_but_one_in_the_printed_rounds(p):
    # The rounds are those of a rumour: in each, everybody who knows tells one who does not.
    know = rounds = 1
    while know < p:
        know, rounds = min(p, 2 * know), rounds + 1
    assert math.ceil(math.log2(p)) == rounds - 1
    assert AlphaBeta(1.0, 0.0).broadcast(p, 8) == rounds - 1
    if p <= 8:
        sent = run_threads(p, lambda c: (broadcast(c, _own(c.rank)), c.counters.messages)[1])
        assert sum(sent) == p - 1


@pytest.mark.equation("eq-collectives-ring")
@pytest.mark.parametrize("p", [2, 3, 4, 5])
def test_after_k_steps_of_the_ring_a_rank_holds_the_sum_of_k_plus_1_ranks(p, monkeypatch):
    """Look at the package's own ring after each message it receives."""
    seen = {}
    receive = algorithms.receive_like

    def watched(comm, source, tag, part):
        got = receive(comm, source, tag, part)
        seen.setdefault(comm.rank, []).append((got + part).copy())  # what part becomes
        return got

    monkeypatch.setattr(algorithms, "receive_like", watched)
    run_threads(p, lambda c: reduce_scatter(c, _own(c.rank), "ring"))
    for r in range(p):
        for k in range(1, p):
            j = (r - k - 1) % p
            terms = [np.array_split(_own((r - i) % p), p)[j] for i in range(k + 1)]
            np.testing.assert_array_equal(seen[r][k - 1], sum(terms))


@pytest.mark.equation("eq-collectives-volume")
@pytest.mark.parametrize("p", SIZES)
def test_every_rank_of_a_ring_sends_less_than_two_arrays_and_rank_0_of_the_ordered_sum_p_minus_1(p):
    n = 8 * 120  # bytes; all these p divide 120

    def bytes_sent(name):
        return run_threads(p, lambda c: (all_reduce(c, np.ones(120), name), c.counters.bytes)[1])

    assert bytes_sent("ring") == [2 * (p - 1) * n // p] * p
    assert bytes_sent("ordered")[0] == (p - 1) * n
    for name in ("ring", "ordered"):
        assert bytes_sent(name) == [rank.bytes for rank in traffic(p, n, name)]


@pytest.mark.equation("eq-collectives-halves")
@pytest.mark.parametrize("p", SIZES)
@pytest.mark.parametrize("name", ["ordered", "ring"])
def test_all_gather_after_reduce_scatter_is_all_reduce(p, name):
    def rank(comm):
        rng = np.random.default_rng(comm.rank)
        array = rng.normal(size=23)  # rounding counts: the halves must add in the same order
        part = reduce_scatter(comm, array.copy(), name)
        return np.concatenate(all_gather(comm, part)), all_reduce(comm, array, name)

    for halves, whole in run_threads(p, rank):
        np.testing.assert_array_equal(halves, whole)


@pytest.mark.equation("eq-collectives-alpha-beta")
def test_a_message_costs_alpha_and_beta_per_byte():
    channel = AlphaBeta(alpha=2e-3, beta=5e-9)
    assert channel.message(0) == 2e-3
    assert channel.message(1_000_000) == pytest.approx(2e-3 + 5e-3)
    assert channel.message(2e-3 / 5e-9) == pytest.approx(2 * 2e-3)  # alpha / beta bytes


@pytest.mark.equation("eq-collectives-fit")
def test_the_fit_has_the_smallest_sum_of_squared_relative_errors():
    rng = np.random.default_rng(0)
    n = np.array([8.0, 1e3, 3e4, 5e5, 4e6])
    t = (1e-3 + 2e-9 * n) * np.exp(0.3 * rng.normal(size=5))

    def objective(alpha, beta):
        return np.sum(((alpha + beta * n - t) / t) ** 2)

    best = fit_alpha_beta(list(zip(n, t, strict=True))).model
    least = objective(best.alpha, best.beta)
    for a, b in rng.uniform(0.5, 1.5, size=(2000, 2)):
        assert objective(a * best.alpha, b * best.beta) >= least * (1 - 1e-12)
    # Plain squares would say something else: the division is not decoration.
    plain = np.linalg.lstsq(np.stack([np.ones(5), n / 4e6], axis=1), t)[0]
    assert abs(plain[0] / best.alpha - 1) > 0.01


@pytest.mark.equation("eq-collectives-times")
@pytest.mark.parametrize("p", [2, 4, 8, 16])
def test_the_times_of_the_four_algorithms_are_as_printed(p):
    alpha, beta, n = 3e-4, 2e-9, 5e5
    channel, rounds = AlphaBeta(alpha, beta), math.ceil(math.log2(p))
    printed = {
        "ordered": 2 * (p - 1) * (alpha + beta * n),
        "tree": 2 * rounds * (alpha + beta * n),
        "recursive_doubling": rounds * (alpha + beta * n),
        "ring": 2 * (p - 1) * alpha + 2 * (p - 1) / p * beta * n,
    }
    for name, seconds in printed.items():
        assert channel.all_reduce(p, n, name) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.equation("eq-collectives-crossover")
@pytest.mark.parametrize("p", [4, 8, 32])
def test_below_the_crossover_doubling_wins_and_above_it_the_ring(p):
    channel, rounds = AlphaBeta(3e-4, 2e-9), p.bit_length() - 1
    n = 3e-4 / 2e-9 * (2 * (p - 1) - rounds) / (rounds - 2 * (p - 1) / p)
    for factor, sign in ((0.9, 1), (1.1, -1)):
        ring = channel.all_reduce(p, factor * n, "ring")
        doubling = channel.all_reduce(p, factor * n, "recursive_doubling")
        assert sign * (ring - doubling) > 0
