"""The equations of the chapter on search, as printed, against the package and simulations."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from sklearn.model_selection import KFold

from course_lib.parallel.search import (
    LogUniform,
    Uniform,
    halving_rungs,
    hyperband,
    hyperband_brackets,
    random,
    sample,
    successive_halving,
)


def _greedy(lengths, p):
    """Return when the last trial ends, each taken by the worker that is free first."""
    free = [0.0] * p
    for length in lengths:
        first = free.index(min(free))
        free[first] += length
    return max(free)


def _shortest(lengths, p):
    """Return the end of the best of all plans, by trying every one."""
    ends = []
    for plan in np.ndindex(*[p] * len(lengths)):
        ends.append(max(sum(t for t, w in zip(lengths, plan, strict=True) if w == k)
                        for k in range(p)))  # fmt: skip
    return min(ends)


CASES = [([1.0, 1.0, 1.0, 5.0], 2), ([2.0, 1.0, 3.0, 2.5, 0.5], 3), ([4.0, 1.0], 3), ([1.0], 1)]


@pytest.mark.equation("eq-search-bound")
@pytest.mark.parametrize(("lengths", "p"), CASES)
def test_no_plan_beats_the_mean_load_or_the_longest_trial(lengths, p):
    bound = max(sum(lengths) / p, max(lengths))
    assert _shortest(lengths, p) >= bound - 1e-12


@pytest.mark.equation("eq-search-greedy")
@pytest.mark.parametrize(("lengths", "p"), CASES)
def test_the_greedy_plan_is_never_far_off(lengths, p):
    bound = sum(lengths) / p + (1 - 1 / p) * max(lengths)
    assert _greedy(lengths, p) <= bound + 1e-12
    assert _greedy(lengths, p) >= _shortest(lengths, p) - 1e-12
    # The worst case, a long trial that starts last, attains the bound.
    worst = [1.0] * (p * (p - 1)) + [float(p)]
    assert _greedy(worst, p) == pytest.approx(sum(worst) / p + (1 - 1 / p) * p, rel=1e-12)


@pytest.mark.equation("eq-search-log-uniform")
@pytest.mark.parametrize("c", [2e-4, 1e-2, 0.5])
def test_log_uniform_draws_have_the_printed_distribution(c):
    a, b, n = 1e-4, 1.0, 4000
    share = np.mean([s["x"] <= c for s in sample({"x": LogUniform(a, b)}, n, seed=3)])
    printed = math.log(c / a) / math.log(b / a)
    assert share == pytest.approx(printed, abs=4 * math.sqrt(0.25 / n))  # four standard errors


@pytest.mark.equation("eq-search-hits")
@pytest.mark.parametrize(("n", "q"), [(1, 0.3), (5, 0.2), (20, 0.05)])
def test_the_chance_that_a_random_search_hits_the_best_share(n, q):
    printed = 1 - (1 - q) ** n
    by_number_of_hits = sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(1, n + 1))
    assert printed == pytest.approx(by_number_of_hits, rel=1e-12)
    searches = [
        random(lambda t: t.config["u"], {"u": Uniform(0, 1)}, n=n, seed=s, comm="inprocess")
        for s in range(150)
    ]
    hits = np.mean([s.best.score > 1 - q for s in searches])
    assert hits == pytest.approx(printed, abs=4 * math.sqrt(0.25 / 150))


@pytest.mark.equation("eq-search-halving")
@pytest.mark.parametrize(("n", "r", "eta"), [(27, 1, 3), (30, 2, 3), (10, 5, 2), (1, 4, 3)])
def test_the_rungs_of_successive_halving(n, r, eta):
    rungs = halving_rungs(n, min_budget=r, eta=eta)
    for i, rung in enumerate(rungs):
        assert rung == (math.floor(n * eta**-i + 1e-9), r * eta**i)
    assert n // eta ** len(rungs) == 0


def _objective(trial):
    return trial.config["x"] * trial.budget, trial.budget


@pytest.mark.equation("eq-search-budget")
@pytest.mark.parametrize(("n", "r", "eta"), [(27, 1, 3), (30, 2, 3), (10, 5, 2)])
def test_trials_that_keep_their_state_pay_for_the_difference_only(n, r, eta):
    rungs = halving_rungs(n, min_budget=r, eta=eta)
    printed = n * r + sum(b.n * (b.budget - a.budget) for a, b in pairwise(rungs))
    result = successive_halving(
        _objective, {"x": Uniform(0, 1)}, n=n, min_budget=r, eta=eta, comm="inprocess"
    )
    assert result.budget == printed
    if (n, r, eta) == (27, 1, 3):
        assert printed == 27 + 9 * 2 + 3 * 6 + 1 * 18


@pytest.mark.equation("eq-search-hyperband")
@pytest.mark.parametrize(("largest", "eta"), [(27, 3), (81, 3), (16, 2), (10, 4)])
def test_the_brackets_of_hyperband(largest, eta):
    s_max = max(s for s in range(20) if eta**s <= largest)
    brackets = hyperband_brackets(largest, eta=eta)
    assert len(brackets) == s_max + 1
    for s, bracket in zip(range(s_max, -1, -1), brackets, strict=True):
        n = math.ceil((s_max + 1) * eta**s / (s + 1))
        assert bracket[0] == (n, math.floor(largest / eta**s))
        assert [rung.n for rung in bracket] == [math.floor(n / eta**i) for i in range(s + 1)]
        assert bracket[-1].budget == largest
    result = hyperband(
        _objective, {"x": Uniform(0, 1)}, max_budget=largest, eta=eta, comm="inprocess"
    )
    assert sum(row.rung == 0 for row in result.rows) == sum(bracket[0].n for bracket in brackets)


@pytest.mark.equation("eq-search-curse")
@pytest.mark.parametrize("n", [1, 2, 10, 300])
def test_the_best_of_many_equal_scores_flatters_within_the_bound(n):
    # E[max] is the integral of the quantile function of the maximum: no simulation needed.
    from scipy.stats import norm

    sigma, u = 0.03, (np.arange(200_000) + 0.5) / 200_000
    exact = sigma * np.mean(norm.ppf(u ** (1 / n)))
    assert exact <= sigma * math.sqrt(2 * math.log(n)) + 1e-9
    if n == 2:  # known in closed form
        assert exact == pytest.approx(sigma / math.sqrt(math.pi), rel=1e-3)


@pytest.mark.equation("eq-search-folds")
def test_the_mean_of_equal_folds_is_the_mean_over_all_rows():
    right = np.random.default_rng(0).integers(2, size=60).astype(float)
    folds = [held for _, held in KFold(5).split(right[:, None])]
    s = [right[held].mean() for held in folds]
    assert 1 / 5 * sum(s) == pytest.approx(right.mean(), rel=1e-12)
