"""The equations of the chapter on failures, as printed, against the package."""

from __future__ import annotations

import math

import numpy as np
import pytest

from course_lib import Adam, mlp
from course_lib.data import batches
from course_lib.parallel import train
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_agree
from course_lib.parallel.collectives.aligned_tree import AlignedTree
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import checkpoint_interval


@pytest.mark.equation("eq-when-workers-die-survival")
@pytest.mark.parametrize(("n", "t"), [(1, 50.0), (7, 20.0), (40, 3.0)])
def test_a_gang_survives_as_often_as_all_of_its_machines(n, t):
    fail, runs = 100.0, 20_000
    rng = np.random.default_rng(0)
    lives = -fail * np.log(1 - rng.random((runs, n)))  # by inversion, not by rng.exponential
    share = np.mean((lives > t).all(axis=1))
    expected = math.exp(-n * t / fail)
    # Four standard deviations of a share.
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / runs)


@pytest.mark.equation("eq-when-workers-die-mtbf")
def test_n_machines_fail_n_times_as_often():
    rng = np.random.default_rng(1)
    for n in (2, 5, 50):
        # Failures of each machine over a long time, all put on one line.
        count = rng.poisson(10_000 / 100.0, size=n).sum()
        assert 10_000 / count == pytest.approx(100.0 / n, rel=4 / math.sqrt(count))


@pytest.mark.equation("eq-when-workers-die-pure")
def test_a_step_depends_on_nothing_that_a_checkpoint_does_not_hold(tmp_path):
    rng = np.random.default_rng(2)
    net, x, y = mlp([7, 6, 3]), rng.normal(size=(40, 7)), rng.integers(3, size=40)
    optimizer, theta = Adam(0.01), net.init(np.random.default_rng(5))
    state = optimizer.init(theta)
    for epoch in range(3):
        for rows in batches(40, 9, seed=5, epoch=epoch):
            _, gradient = net.loss_and_grad(theta, x[rows], y[rows])
            theta, state = optimizer.step(theta, gradient, state)
    options = {"optimizer": optimizer, "batch_size": 9, "seed": 5, "workers": 1}
    for epochs in (1, 2, 3):  # each from the checkpoint that the one before has left
        result = train(net, (x, y), epochs=epochs, comm="inprocess", checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(result.theta, theta)
    assert result.state.keys() == state.keys()
    assert all(np.array_equal(result.state[name], value) for name, value in state.items())


def _lost(period, cost, mtbf, restart, periods, rng):
    """Play failures on a time line and return the lost share."""
    clock = 0.0
    next_failure = rng.exponential(mtbf)
    for _ in range(periods):
        needed = period + cost
        while clock + needed > next_failure:
            clock = next_failure
            next_failure += rng.exponential(mtbf)
            needed = restart + period + cost
        clock += needed
    return 1 - periods * period / clock


@pytest.mark.equation("eq-when-workers-die-waste")
@pytest.mark.parametrize("period", [50.0, 100.0, 200.0])
def test_the_lost_share_to_first_order(period):
    cost, mtbf = 0.5, 10_000.0
    lost = _lost(period, cost, mtbf, 0.0, 60_000, np.random.default_rng(3))
    assert lost == pytest.approx(cost / period + period / (2 * mtbf), rel=0.1)


@pytest.mark.equation("eq-when-workers-die-young")
@pytest.mark.parametrize(("cost", "mtbf"), [(2.0, 10_000.0), (5.0, 1000.0), (60.0, 86_400.0)])
def test_youngs_interval_is_the_minimum_of_the_lost_share(cost, mtbf):
    periods = np.linspace(1, 5000, 500_000)
    waste = cost / periods + periods / (2 * mtbf)
    best = checkpoint_interval(cost, mtbf)
    assert best == pytest.approx(math.sqrt(2 * cost * mtbf), rel=1e-12)
    assert best == pytest.approx(periods[np.argmin(waste)], rel=1e-3)
    assert waste.min() == pytest.approx(math.sqrt(2 * cost / mtbf), rel=1e-6)


@pytest.mark.equation("eq-when-workers-die-daly")
@pytest.mark.parametrize("restart", [0.0, 30.0])
@pytest.mark.parametrize("period", [20.0, 100.0, 400.0])
def test_the_expected_time_of_a_period_is_that_of_a_simulation(period, restart):
    cost, mtbf, periods = 5.0, 300.0, 40_000
    lost = _lost(period, cost, mtbf, restart, periods, np.random.default_rng(4))
    simulated = period / (1 - lost)
    expected = mtbf * math.exp(restart / mtbf) * (math.exp((period + cost) / mtbf) - 1)
    assert simulated == pytest.approx(expected, rel=0.03)


@pytest.mark.equation("eq-when-workers-die-tree")
@pytest.mark.parametrize("p", [1, 2, 3, 4, 8])
def test_the_brackets_of_the_sum_do_not_depend_on_the_ranks(p):
    g = np.random.default_rng(5).normal(size=(8, 33)) * 10.0 ** np.arange(8)[:, None]
    printed = ((g[0] + g[1]) + (g[2] + g[3])) + ((g[4] + g[5]) + (g[6] + g[7]))

    def rank(comm):
        tree = AlignedTree(comm, 8, 33, float, Stopwatch())
        return tree.sum(lambda index, out: np.copyto(out, g[index])).copy()

    for total in run_threads(p, rank):
        np.testing.assert_array_equal(total, printed)
    from_left = sum(g)
    assert not np.array_equal(from_left, printed)  # so that the order matters here


@pytest.mark.equation("eq-when-workers-die-agree")
@pytest.mark.parametrize("votes", [[True], [True, True, True], [True, False, True], [False] * 2])
def test_all_agree_is_the_conjunction(votes):
    answers = run_threads(len(votes), lambda comm: all_agree(comm, votes[comm.rank]))
    assert answers == [min(votes)] * len(votes)
