"""A search gives one result: by the book, on any number of workers, in any order, with losses."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from course_lib import SGD, Adam, fit, mlp
from course_lib.parallel.errors import (
    ClusterUnreachable,
    NotEnoughWorkers,
    ParallelError,
    WorkersBusy,
)
from course_lib.parallel.search import (
    Candidate,
    Integers,
    LogUniform,
    Trial,
    Uniform,
    fit_objective,
    grid,
    halving_rungs,
    hyperband,
    hyperband_brackets,
    random,
    sample,
    successive_halving,
)
from course_lib.parallel.search.rungs import Rung, climb, trial_seed
from course_lib.parallel.search.spaces import every
from course_lib.parallel.search.trials import run_trial
from tests.patience import patient

SPACE = {"lr": LogUniform(1e-3, 1.0), "width": Integers(2, 9), "kind": ["a", "b"]}


def saturating(trial):
    """A score that tends to its limit with the budget; the state counts the units trained."""
    trained = (trial.state or 0) + trial.budget - trial.done
    noise = np.random.default_rng([trial.seed, trial.budget]).normal() / trained
    return -abs(np.log(trial.config["lr"] / 0.03)) + noise, trained


# --- spaces ---


def test_a_grid_has_every_combination_once():
    configs = every({"a": [1, 2, 3], "b": ["x", "y"], "c": (None,)})
    assert len(configs) == 3 * 2 * 1
    assert len({json.dumps(config) for config in configs}) == 6
    assert every({}) == [{}]


def test_draws_depend_on_the_seed_and_their_number_only():
    assert sample(SPACE, 20, seed=3)[:7] == sample(SPACE, 7, seed=3)
    assert sample(SPACE, 7, seed=3) != sample(SPACE, 7, seed=4)


def test_draws_are_in_range_and_spread_as_said():
    configs = sample({**SPACE, "p": Uniform(-1, 3)}, 2000, seed=0)
    assert {config["width"] for config in configs} == set(range(2, 10))
    assert {config["kind"] for config in configs} == {"a", "b"}
    assert all(type(c["lr"]) is float and type(c["width"]) is int for c in configs)
    # Means of 2000 draws; 5 standard errors.
    assert np.mean([c["p"] for c in configs]) == pytest.approx(1, abs=5 * 4 / 12**0.5 / 2000**0.5)
    logs = [np.log10(c["lr"]) for c in configs]
    assert np.mean(logs) == pytest.approx(-1.5, abs=5 * 3 / 12**0.5 / 2000**0.5)
    assert min(logs) >= -3 and max(logs) <= 0


def test_wrong_spaces_are_refused():
    with pytest.raises(ValueError, match=r"grid: 'lr' is a distribution.*search at random"):
        grid(saturating, SPACE, comm="inprocess")
    with pytest.raises(ValueError, match=r"space: 'a' has no choices"):
        every({"a": []})
    with pytest.raises(TypeError, match=r"space: 'a' must have a list of choices .* got 3"):
        every({"a": 3})
    with pytest.raises(TypeError, match=r"'a' must have a list of choices .* got 'relu'"):
        sample({"a": "relu"}, 3, seed=0)
    with pytest.raises(
        ValueError, match=r"Uniform: low must be below high, and the range finite, got 2"
    ):
        Uniform(2, 1)
    with pytest.raises(ValueError, match=r"LogUniform: low must be a finite number > 0, got 0"):
        LogUniform(0, 1)
    with pytest.raises(TypeError, match=r"Integers: high must be an integer, got 2.5"):
        Integers(1, 2.5)


# --- plans ---


def test_the_brackets_of_the_hyperband_paper():
    """Li et al. 2018, algorithm 1, for R = 81 and eta = 3."""
    assert [[tuple(rung) for rung in bracket] for bracket in hyperband_brackets(81, eta=3)] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize("largest", [1, 2, 5, 9, 27, 80, 81, 100, 243, 1000])
def test_brackets_keep_to_the_algorithm(largest, eta):
    """Oracle: the formulas in exact fractions, with the logarithm by search."""
    s_max = max(s for s in range(20) if eta**s <= largest)
    brackets = hyperband_brackets(largest, eta=eta)
    assert [len(rungs) for rungs in brackets] == list(range(s_max + 1, 0, -1))
    for s, rungs in zip(range(s_max, -1, -1), brackets, strict=True):
        exact = Fraction((s_max + 1) * eta**s, s + 1)
        assert 0 <= rungs[0].n - exact < 1
        for i, (n, budget) in enumerate(rungs):
            assert n == int(Fraction(rungs[0].n, eta**i))
            assert budget == int(Fraction(largest * eta**i, eta**s))
        assert rungs[-1].n >= 1 and rungs[-1].budget == largest
        # Each bracket costs about (s_max + 1) R; rounding n up adds less than a rung's worth each.
        assert sum(n * b for n, b in rungs) <= (s_max + 1) * largest + (s + 1) * largest


def test_halving_ends_with_one_and_every_rung_costs_no_more_than_the_first():
    assert halving_rungs(16, eta=2) == [(16, 1), (8, 2), (4, 4), (2, 8), (1, 16)]
    assert halving_rungs(1, min_budget=7) == [(1, 7)]
    for n in range(1, 100):
        rungs = halving_rungs(n, min_budget=2)
        assert rungs[-1].n < 3
        assert max(rung.n * rung.budget for rung in rungs) == n * 2


def test_wrong_plans_are_refused():
    with pytest.raises(ValueError, match=r"hyperband: eta must be an integer of at least 2, got 1"):
        hyperband_brackets(9, eta=1)
    with pytest.raises(ValueError, match=r"hyperband: max_budget must be .* at least 1, got 0"):
        hyperband(saturating, SPACE, max_budget=0, comm="inprocess")
    with pytest.raises(ValueError, match=r"successive_halving: n must be .* at least 1, got 0"):
        successive_halving(saturating, SPACE, n=0, comm="inprocess")
    with pytest.raises(ValueError, match=r"random: budget must be .* at least 1, got 0"):
        random(saturating, SPACE, n=2, budget=0, comm="inprocess")


# --- what is run ---


def test_a_grid_and_a_random_search_run_each_configuration_once_with_the_budget():
    seen = []

    def objective(trial):
        seen.append(trial)
        return trial.config["a"]

    result = grid(objective, {"a": [1, 5, 3]}, budget=4, comm="inprocess", workers=1)
    assert [(t.index, t.budget, t.done, t.state) for t in seen] == [
        (0, 4, 0, None), (1, 4, 0, None), (2, 4, 0, None),
    ]  # fmt: skip
    assert (result.best.trial, result.best.score, result.budget) == (1, 5.0, 12)
    assert [row["config"] for row in result.table] == [{"a": 1}, {"a": 5}, {"a": 3}]
    result = random(lambda trial: 0, SPACE, n=5, seed=9, comm="inprocess")
    assert [row.config for row in result.rows] == sample(SPACE, 5, seed=9)
    assert result.best.trial == 0  # of equals the first


def test_halving_promotes_the_best_third_and_gives_them_their_states():
    seen = []

    def objective(trial):
        seen.append((trial.index, trial.done, trial.budget, trial.state))
        return trial.config["x"], f"{trial.index} after {trial.budget}"

    result = successive_halving(objective, {"x": Uniform(0, 1)}, n=9, comm="inprocess", workers=1)
    order = sorted(range(9), key=lambda i: -result.rows[i].score)
    assert seen[:9] == [(i, 0, 1, None) for i in range(9)]
    assert seen[9:12] == [(i, 1, 3, f"{i} after 1") for i in order[:3]]
    assert seen[12:] == [(order[0], 3, 9, f"{order[0]} after 3")]
    assert result.budget == 9 * 1 + 3 * 2 + 1 * 6
    assert result.best.trial == order[0]
    assert result.best.budget == 9  # the same score at every budget: the longest counts
    assert result.state == f"{order[0]} after 9"


def test_without_states_every_rung_starts_anew():
    result = successive_halving(
        lambda t: t.config["x"] - t.done, {"x": Uniform(0, 1)}, n=9, comm="inprocess"
    )
    assert result.budget == 9 * 1 + 3 * 3 + 1 * 9
    assert all(row.spent == row.budget for row in result.rows)


def test_hyperband_spends_exactly_what_its_brackets_say():
    result = hyperband(saturating, SPACE, max_budget=81, comm="inprocess")
    brackets = hyperband_brackets(81)
    for b, rungs in enumerate(brackets):
        for r, (n, budget) in enumerate(rungs):
            rows = [row for row in result.rows if (row.bracket, row.rung) == (b, r)]
            assert [row.budget for row in rows] == [budget] * n
    before = [[Rung(0, 0), *rungs] for rungs in brackets]
    assert result.budget == sum(
        n * (budget - done) for rungs in before for (_, done), (n, budget) in pairwise(rungs)
    )
    trials = {row.trial for row in result.rows}
    assert trials == set(range(81 + 34 + 15 + 8 + 5))


def test_warm_starts_count_every_unit_once():
    """The state of `saturating` counts what was trained: it must equal the budget."""
    result = hyperband(saturating, SPACE, max_budget=27, comm="inprocess")
    assert result.state == result.best.budget


# --- the same result whatever happens ---


class Shuffled:
    """A pool that ends its trials in a random order."""

    def __init__(self, objective, seed):
        self.objective, self.rng, self.waiting = objective, np.random.default_rng(seed), []

    def submit(self, trial):
        self.waiting.append(trial)

    def wait(self):
        trial = self.waiting.pop(self.rng.integers(len(self.waiting)))
        return trial, run_trial(self.objective, trial)


def test_the_order_in_which_trials_end_changes_nothing():
    expected = hyperband(saturating, SPACE, max_budget=27, seed=5, comm="inprocess", workers=1)
    configs = [row.config for row in expected.rows if row.rung == 0]
    for seed in range(10):
        order = []
        rows, state = climb(
            configs, hyperband_brackets(27), Shuffled(saturating, seed), seed=5,
            on_row=lambda row, order=order: order.append(row.trial),
        )  # fmt: skip
        assert order != [row.trial for row in expected.rows]
        assert (rows, state) == (expected.rows, expected.state)


def test_ties_go_to_the_configuration_with_the_lower_number():
    for seed in range(5):
        pool = Shuffled(lambda trial: (1.0 if trial.index > 3 else 0.0, "s"), seed)
        rows, _ = climb([{}] * 9, [halving_rungs(9)], pool, seed=0, on_row=lambda row: None)
        assert [row.trial for row in rows if row.rung == 1] == [4, 5, 6]


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_any_number_of_threads_gives_the_same(workers):
    one = successive_halving(saturating, SPACE, n=27, seed=1, comm="inprocess", workers=1)
    assert (
        successive_halving(saturating, SPACE, n=27, seed=1, comm="inprocess", workers=workers)
        == one
    )


def test_seeds_of_trials_differ():
    seeds = {trial_seed(seed, index) for seed in range(30) for index in range(30)}
    assert len(seeds) == 900


# --- failures ---


def fragile(trial):
    if trial.index % 3 == 0:
        raise FloatingPointError(f"trial {trial.index} diverged")
    if trial.index == 1:
        return float("nan")
    return saturating(trial)


def test_a_trial_that_fails_is_a_row_and_is_not_promoted():
    result = successive_halving(fragile, SPACE, n=9, comm="inprocess")
    errors = {row.trial: row.error for row in result.rows if row.rung == 0 and row.error}
    assert errors == {
        0: "FloatingPointError: trial 0 diverged",
        1: "ValueError: search: the score must be a finite number, got nan.",
        3: "FloatingPointError: trial 3 diverged",
        6: "FloatingPointError: trial 6 diverged",
    }
    assert {row.trial for row in result.rows if row.rung == 1} <= {2, 4, 5, 7, 8}
    assert sum(row.rung == 1 for row in result.rows) == 3
    report = result.report()
    assert report.count("failed") == 4 + 1
    assert "FloatingPointError: trial 3 diverged" in report
    assert "9 configurations, 13 runs, budget 21, 4 failed; best: trial" in report


def test_when_all_fail_the_search_ends_and_best_says_why():
    result = successive_halving(lambda trial: 1 / 0, SPACE, n=9, comm="inprocess")
    assert len(result.rows) == 9
    with pytest.raises(ParallelError, match=r"all 9 runs .* ZeroDivisionError: division by zero"):
        _ = result.best
    assert result.report().endswith("9 failed; none succeeded")


@pytest.mark.parametrize(
    "value",
    ["good", "0.5", None, True, [0.5], np.array([0.5]), np.nan, np.inf, -np.inf, 1j, {}, object],
    ids=repr,
)
def test_something_else_than_a_score_is_a_failure_and_the_others_go_on(value):
    result = grid(lambda t: t.config["a"] if t.index else value, {"a": [9, 1, 2]}, comm="inprocess")
    assert "search: the score must be a finite number, got" in result.rows[0].error
    assert [row.score for row in result.rows] == [None, 1.0, 2.0]
    assert result.best.config == {"a": 2}


@pytest.mark.parametrize(
    "value", [3, 3.0, Fraction(3), np.float32(3), np.int64(3), np.array(3.0)], ids=repr
)
def test_a_score_may_be_any_kind_of_number(value):
    (row,) = grid(lambda trial: (value, "state"), {"a": [1]}, comm="inprocess").rows
    assert (row.score, type(row.score)) == (3.0, float)


def test_what_build_returns_is_looked_at():
    objective = fit_objective(lambda config: mlp([1, 1]), (np.ones((4, 1)), np.zeros(4, int)))
    (row,) = grid(objective, {"a": [1]}, comm="inprocess").rows
    assert "fit_objective: build must return a Candidate(net, optimizer" in row.error


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"client must be left out with comm='inprocess'"):
        grid(saturating, {"lr": [1]}, comm="inprocess", client="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"unknown comm 'dsk'; did you mean 'dask'"):
        grid(saturating, {"lr": [1]}, comm="dsk")
    with pytest.raises(ValueError, match=r"search: workers must be .* at least 1, got 0"):
        grid(saturating, {"lr": [1]}, workers=0, comm="inprocess")
    with pytest.raises(ValueError, match=r"search: retries must be .* at least 0, got -1"):
        grid(saturating, {"lr": [1]}, retries=-1, comm="inprocess")
    with pytest.raises(TypeError, match=r"objective must be a function of \(trial\), got 0.5"):
        grid(0.5, {"lr": [1]}, comm="inprocess")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'wrokers'"):
        grid(saturating, {"lr": [1]}, wrokers=3)


def test_events_and_the_progress_bar(capsys):
    seen = []
    result = grid(
        saturating, {"lr": [0.1, 0.2]}, comm="inprocess", on_event=seen.append, progress=True
    )
    assert sorted(seen, key=lambda row: row.trial) == list(result.rows)
    assert "2/2" in capsys.readouterr().err


# --- networks ---


def build(config):
    net = mlp([4, config["width"], 3], hidden="tanh", dropout=config["dropout"])
    return Candidate(net, Adam(config["lr"]), batch_size=7)


def classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    return x, np.argmax(x[:, :3] @ rng.normal(size=(3, 3)), axis=1)


CONFIG = {"width": 6, "dropout": 0.2, "lr": 0.01}


def test_training_with_breaks_is_training_without_to_the_bit():
    objective = fit_objective(build, classes())
    first_score, state = objective(Trial(0, CONFIG, seed=3, budget=2))
    kept = state[0].copy()
    score, (theta, _) = objective(Trial(0, CONFIG, seed=3, budget=5, done=2, state=state))
    assert np.array_equal(state[0], kept)  # the run can be repeated from the same state
    net, optimizer, batch_size = build(CONFIG)
    theta_0 = net.init(np.random.default_rng(3))
    straight = fit(
        net, theta_0, optimizer, objective.x, objective.y, epochs=5, batch_size=batch_size, seed=3,
        validation=(objective.x_held_out, objective.y_held_out),
    )  # fmt: skip
    assert np.array_equal(theta, straight.theta)
    assert [first_score, score] == [straight.history["val_accuracy"][i] for i in (1, 4)]


def test_a_candidate_has_batches_of_32_unless_it_says_so():
    assert Candidate(mlp([1, 1]), SGD(0.1)).batch_size == 32


def test_the_held_out_rows_are_not_trained_on():
    x, y = classes()
    objective = fit_objective(build, (x, y), held_out=0.25, seed=1)
    assert len(objective.x_held_out) == 15
    rows = np.concatenate([objective.x, objective.x_held_out])
    assert np.array_equal(np.sort(rows, axis=0), np.sort(x, axis=0))
    with pytest.raises(ValueError, match=r"held_out must be a finite number > 0 and < 1, got 1.0"):
        fit_objective(build, (x, y), held_out=1.0)


def test_a_diverging_network_is_a_failed_row():
    x = np.linspace(-1, 1, 30)[:, None]
    objective = fit_objective(
        lambda config: Candidate(mlp([1, 1], loss="mse"), SGD(config["lr"]), 5), (x, 3 * x)
    )
    result = grid(objective, {"lr": [0.1, 1e9]}, budget=30, comm="inprocess")
    assert result.best.config == {"lr": 0.1}
    assert "the training has diverged; lower the learning rate" in result.rows[1].error


# --- a real cluster ---


def test_on_a_cluster_with_three_workers_one_at_a_time_and_in_process_alike(client):
    objective = fit_objective(build, classes())
    space = {"width": [3, 6], "dropout": [0.0, 0.2], "lr": LogUniform(1e-3, 1e-1)}
    expected = successive_halving(objective, space, n=9, comm="inprocess")
    for workers in ({}, {"workers": 1}):
        result = successive_halving(objective, space, n=9, client=client, **workers)
        assert result == expected
        assert result.state[0] == pytest.approx(expected.state[0], rel=1e-10)


def most_at_once(folder, **options):
    """Run trials of 0.3 s that write down when they ran; count the most at a time."""

    def objective(trial):
        begin = time.time()
        time.sleep(0.3)
        (folder / f"{begin}-{trial.index}").write_text(f"{begin} {time.time()}")
        return 0.0

    folder.mkdir()
    random(objective, SPACE, n=6, **options)
    spans = [tuple(map(float, file.read_text().split())) for file in folder.iterdir()]
    assert len(spans) == 6
    return max(sum(begin <= start < end for begin, end in spans) for start, _ in spans)


def test_all_threads_of_a_cluster_are_used_unless_fewer_are_wanted(client, tmp_path):
    assert most_at_once(tmp_path / "all", client=client) == 3
    assert most_at_once(tmp_path / "one", client=client, workers=1) == 1


class KillsItsWorker:
    """Kills the process that it runs in: for some trials the first time, for some always."""

    def __init__(self, folder, *, once=(), always=()):
        self.folder, self.once, self.always = folder, once, always

    def __call__(self, trial):
        marker = self.folder / f"{trial.index}"
        first = not marker.exists()
        marker.touch()
        if trial.index in self.always or (trial.index in self.once and first):
            os.kill(os.getpid(), signal.SIGKILL)
        return saturating(trial)


def test_a_worker_killed_in_the_middle_changes_nothing(client, tmp_path):
    expected = hyperband(saturating, SPACE, max_budget=9, comm="inprocess")
    objective = KillsItsWorker(tmp_path, once=[4])
    result = hyperband(objective, SPACE, max_budget=9, client=client)
    assert (tmp_path / "4").exists()  # it did happen
    assert result == expected


def test_a_worker_killed_from_outside_changes_nothing(client):
    def slow(trial):
        time.sleep(0.05)
        return saturating(trial)

    pids = client.run(os.getpid)
    timer = threading.Timer(0.5, os.kill, (next(iter(pids.values())), signal.SIGKILL))
    timer.start()
    result = successive_halving(slow, SPACE, n=27, client=client)
    timer.join()
    assert result.seconds > 0.5  # the kill came in the middle
    assert result == successive_halving(saturating, SPACE, n=27, comm="inprocess")


def test_a_trial_that_always_kills_its_worker_fails_alone(tmp_path):
    objective = KillsItsWorker(tmp_path, always=[1])
    result = random(objective, SPACE, n=4, workers=2, retries=1, timeout=30)
    lost = result.rows[1]
    assert lost.error == "WorkerLost: its worker was lost 2 times: killed or out of memory"
    expected = random(saturating, SPACE, n=4, comm="inprocess")
    assert [*result.rows[:1], *result.rows[2:]] == [*expected.rows[:1], *expected.rows[2:]]


def test_an_error_in_the_callback_ends_the_search_and_the_cluster_can_be_used_again(client):
    def stop(row):
        raise InterruptedError("enough")

    start = time.monotonic()
    with pytest.raises(InterruptedError, match="enough"):
        random(lambda t: time.sleep(0.2) or 0.0, SPACE, n=300, client=client, on_event=stop)
    assert time.monotonic() - start < patient(15)  # all of them would take 20 s
    assert len(random(saturating, SPACE, n=3, client=client).rows) == 3


def test_what_can_not_be_sent_is_said(client):
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"can not be sent to a worker .* must not hold open files"):
        grid(lambda trial: lock.locked(), {"a": [1]}, client=client)
    result = grid(lambda trial: (1.0, threading.Lock()), {"a": [1]}, client=client)
    assert "a state can not be sent" in result.rows[0].error


def test_a_worker_that_lacks_a_module_is_said(client, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def objective(trial):\n    return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    with pytest.raises(ParallelError, match=r"could not run the objective \(ModuleNotFoundError"):
        grid(only_here.objective, {"a": [1]}, client=client)


def test_a_cluster_without_workers_and_no_cluster_at_all():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(NotEnoughWorkers, match=r"the search has no worker since 0.6 s"),
    ):
        grid(saturating, {"lr": [1]}, client=cluster.scheduler_address, timeout=0.6)
    with pytest.raises(ClusterUnreachable, match=r"no Dask scheduler could be reached"):
        grid(saturating, {"lr": [1]}, client="tcp://127.0.0.1:9", timeout=1)


# --- what is handed out, and to whom ---


class FakeFuture:
    def __init__(self, key, trial):
        self.key, self.trial, self.status, self.told = key, trial, "pending", None

    def add_done_callback(self, fn):
        self.told = fn

    def end(self, status, value=None):
        self.status, self.value = status, value
        self.told(self)

    def result(self, timeout):
        return self.value


class FakeClient:
    """A cluster of two workers, whose tasks end when the test says so."""

    status = "running"

    def __init__(self):
        self.started, self.futures, self.held = [], {}, set()
        self.threads = {"a": 1, "b": 1}

    def nthreads(self):
        return dict(self.threads)

    def submit(self, fn, *args, workers=(), **_):
        from distributed.protocol import pickle

        trial = pickle.loads(args[1]) if len(args) == 2 else None
        future = FakeFuture(len(self.started), trial)
        if trial is not None:
            self.started.append((trial.index, *workers))
            self.futures[trial.index] = future
        return future

    def cancel(self, futures, force):
        pass


@pytest.fixture
def pool(monkeypatch):
    """A pool on it, without the limit of its own on how many at once."""
    pytest.importorskip("distributed")
    from course_lib.parallel.search import dask_pool

    client = FakeClient()
    monkeypatch.setattr(dask_pool, "held_workers", lambda _, places: client.held & set(places))
    pool = dask_pool.DaskPool(client, saturating, at_once=None, retries=1, timeout=0.2)
    pool.client = client
    for index in range(4):
        pool.submit(Trial(index, {}, seed=0, budget=1))
    return pool


def ended(score):
    from distributed.protocol import pickle

    from course_lib.parallel.search.trials import TrialResult

    return "finished", pickle.dumps(TrialResult(score))


def test_a_trial_that_was_lost_is_run_again_before_those_that_wait(pool):
    client = pool.client
    pool._fill()
    assert client.started == [(0, "a"), (1, "b")]
    client.futures[0].end("cancelled")
    threading.Timer(0.1, lambda: client.futures[1].end(*ended(1.0))).start()
    trial, result = pool.wait()
    assert (trial.index, result.score) == (1, 1.0)
    assert client.started[2] == (0, "a")
    pool._fill()
    assert client.started[3] == (2, "b")
    client.futures[0].end("cancelled")  # a second time: no more than one retry
    trial, result = pool.wait()
    assert trial.index == 0 and "its worker was lost 2 times" in result.error


def test_a_worker_that_a_run_holds_gets_no_trial_until_it_is_free(pool):
    client = pool.client
    client.held = {"a"}
    pool._fill()
    assert client.started == [(0, "b")]
    client.held = set()
    pool._fill()
    assert client.started == [(0, "b"), (1, "a")]
    pool._fill()
    assert len(client.started) == 2  # both are full


@pytest.mark.parametrize("left", [{"a": 1, "b": 1}, {}], ids=["held", "none"])
def test_a_search_that_nobody_can_run_ends_and_says_whose_workers_they_are(pool, left):
    pool.client.held, pool.client.threads = {"a", "b"}, left
    expected, text = (WorkersBusy, "other runs hold them") if left else (NotEnoughWorkers, "no wor")
    with pytest.raises(expected, match=text):
        pool.wait()


def test_a_range_is_one_that_can_be_drawn_from():
    with pytest.raises(ValueError, match="Uniform: low must be below high, and the range finite"):
        Uniform(-1e308, 1e308)
    for low, high in ((0, 2**63), (-(2**63) - 1, 0)):
        with pytest.raises(ValueError, match="Integers: .* must be an integer of 64 bits, got"):
            Integers(low, high)
    assert Integers(-(2**63), 2**63 - 1).draw(np.random.default_rng(0)) is not None
    for kind in (np.float32, np.float64):
        found = Uniform(kind(0.25), kind(0.5))
        assert repr(found) == "Uniform(low=0.25, high=0.5)"


def test_data_of_an_objective_has_a_target_per_row():
    with pytest.raises(ValueError, match=r"data must have as many targets as rows, got .*\(3,\)"):
        fit_objective(lambda config: None, (np.ones((4, 1)), np.ones(3)))


@pytest.mark.parametrize("timeout", [1e300, 0, -1, np.nan, np.inf, "60"])
def test_no_clock_waits_for_ever(timeout):
    with pytest.raises(
        (ValueError, TypeError), match="search: timeout must be a finite number > 0"
    ):
        grid(lambda trial: 1.0, {"a": [1]}, comm="inprocess", timeout=timeout)
