"""A pipeline computes what the serial run computes, with either schedule to the same bits.

Tolerance 1e-10 relative against the serial run: the same numbers are added in another order.
"""

from __future__ import annotations

import pickle
from itertools import combinations, pairwise

import numpy as np
import pytest

from course_lib import SGD, Adam, EarlyStopping, fit, mlp
from course_lib.network import Activate, Dense, Dropout, Network
from course_lib.parallel import Pipeline, train
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import RankFailed
from course_lib.parallel.schedules import gpipe, one_f_one_b, simulate
from course_lib.parallel.strategies import Job, balanced_bounds
from course_lib.parallel.strategies.pipeline_stage import noise_per_row
from course_lib.workspace import Workspace

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)  # 53: prime, the last batch has 3 rows
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
OPTIONS = {"epochs": 2, "batch_size": 10, "seed": 5, "validation": (XV, YV)}
DEEP = mlp([7, 6, 5, 9, 4, 8, 5, 6, 3], hidden="tanh")  # 8 Dense layers, all of different sizes


def serial(net, optimizer, x=X, y=Y, **options):
    options = OPTIONS | options
    return fit(net, net.init(np.random.default_rng(options["seed"])), optimizer, x, y, **options)


def parallel(net, optimizer, strategy, x=X, y=Y, **options):
    options = {"comm": "inprocess", "timeout": 30, "workers": strategy.stages} | OPTIONS | options
    return train(net, (x, y), optimizer=optimizer, strategy=strategy, **options)


def assert_equal(result, reference, rtol=1e-10):
    scale = np.abs(reference.theta).max()
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=rtol * scale)
    assert result.history.keys() == reference.history.keys()
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=rtol, atol=rtol)
    assert result.state.keys() == reference.state.keys()
    for name, value in reference.state.items():
        np.testing.assert_allclose(result.state[name], value, rtol=0, atol=rtol)
    assert result.theta.dtype == reference.theta.dtype
    assert result.replicas_identical


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("micro_batches", [1, 2, 3, 8])
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8])
def test_training_in_stages_is_serial_training(stages, micro_batches, schedule):
    # Batches of 10 and 3 rows: pieces of unequal size, and sometimes fewer rows than pieces.
    strategy = Pipeline(stages, micro_batches, schedule)
    assert_equal(parallel(DEEP, Adam(0.01), strategy), serial(DEEP, Adam(0.01)))


@pytest.mark.parametrize("micro_batches", [2, 3, 8])
@pytest.mark.parametrize("stages", [2, 4])
def test_gpipe_and_1f1b_end_with_the_same_bits(stages, micro_batches):
    net = mlp([7, 6, 5, 9, 3], hidden="tanh", dropout=0.3)
    options = {"optimizer": SGD(0.1, momentum=0.9), "net": net}
    a, b = (
        parallel(strategy=Pipeline(stages, micro_batches, name), **options)
        for name in ("gpipe", "1f1b")
    )
    assert a.digests == b.digests
    assert a.history == b.history
    np.testing.assert_array_equal(a.state["v"], b.state["v"])


@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_dropout_uses_the_noise_of_the_serial_run(stages, micro_batches):
    net = mlp([7, 6, 5, 9, 3], hidden="tanh", dropout=0.4)
    result = parallel(net, Adam(0.01), Pipeline(stages, micro_batches, "1f1b"))
    assert_equal(result, serial(net, Adam(0.01)))
    # Else the test would be empty.
    other = parallel(net, Adam(0.01), Pipeline(stages, micro_batches), seed=6)
    assert np.abs(other.theta - result.theta).max() > 0.01


def test_dropout_on_the_data_and_two_in_a_row_also_count():
    layers = (Dropout(0.2), Dense(7, 4), Dropout(0.3), Dropout(0.0), Dense(4, 5))
    net = Network((*layers, Dropout(0.1), Dense(5, 3)), DEEP.loss)
    assert [noise_per_row(net, 7, end) for end in range(8)] == [0, 7, 7, 11, 15, 15, 20, 20]
    assert_equal(parallel(net, SGD(0.1), Pipeline(3, 4)), serial(net, SGD(0.1)))


def test_with_one_micro_batch_the_pipeline_is_the_serial_run_to_the_bit():
    """The same products of the same shapes, on other ranks."""
    result, reference = parallel(DEEP, Adam(0.01), Pipeline(3, 1)), serial(DEEP, Adam(0.01))
    np.testing.assert_array_equal(result.theta, reference.theta)
    assert result.history["loss"] == reference.history["loss"]


@pytest.mark.parametrize(
    ("loss", "y"), [("mse", X[:, :2] ** 2), ("binary_cross_entropy", Y % 2), ("hinge", Y)]
)
def test_other_losses(loss, y):
    net = mlp([7, 6, 5, {"mse": 2, "hinge": 3}.get(loss, 1)], hidden="tanh", loss=loss)
    options = {"y": y, "validation": None}
    result = parallel(net, SGD(0.05), Pipeline(3, 4, "1f1b"), **options)
    assert_equal(result, serial(net, SGD(0.05), **options))


def test_float32_stays_float32():
    theta = DEEP.init(np.random.default_rng(5), dtype=np.float32)
    result = parallel(DEEP, Adam(0.01), Pipeline(3, 4), theta=theta)
    assert result.state["m"].dtype == np.float32
    reference = fit(DEEP, theta, Adam(0.01), X, Y, **OPTIONS)
    assert_equal(result, reference, rtol=1e-4)  # Adam's division enlarges the 1e-7 of float32


def test_early_stopping_stops_where_the_serial_run_stops():
    net, stop = mlp([7, 20, 3]), EarlyStopping(patience=2)
    reference = serial(net, SGD(0.5), stop=stop, epochs=40)
    assert 3 <= len(reference.history["loss"]) < 40
    assert_equal(parallel(net, SGD(0.5), Pipeline(2, 3), stop=stop, epochs=40), reference)


def sessions(strategy, size, look, net=DEEP, optimizer=None, **options):
    """Start a session on each rank and return what `look(session)` finds after two steps."""
    optimizer = optimizer or Adam(0.01)
    theta = net.init(np.random.default_rng(5))
    job = Job(net, optimizer, theta, X, Y, batch_size=10, strategy=strategy, seed=5, **options)
    order = RNG.permutation(53)

    def main(comm):
        session = strategy.start(comm, job, Stopwatch())
        for step in range(2):
            session.step(order[10 * step : 10 * step + 10], 0, step)
        return look(session)

    return run_threads(size, main, timeout=30)


@pytest.mark.parametrize(("name", "schedule"), [("gpipe", gpipe), ("1f1b", one_f_one_b)])
@pytest.mark.parametrize("micro_batches", [1, 3, 8])
@pytest.mark.parametrize("stages", [2, 4])
def test_a_stage_keeps_as_many_micro_batches_as_the_simulator_says(
    stages, micro_batches, name, schedule
):
    strategy = Pipeline(stages, micro_batches, name)
    found = sessions(strategy, stages, lambda s: (s.stage.most_in_flight, s.stage.in_flight))
    expected = simulate(schedule(stages, micro_batches)).in_flight
    assert found == [(most, 0) for most in expected]


@pytest.mark.parametrize("name", ["gpipe", "1f1b"])
@pytest.mark.parametrize("micro_batches", [1, 3, 5])
def test_the_memory_of_a_micro_batch_is_used_again_by_the_next_and_in_the_next_step(
    monkeypatch, micro_batches, name
):
    made, make = [], Workspace.__init__

    def count(self, *args):
        made.append(self)
        make(self, *args)

    monkeypatch.setattr(Workspace, "__init__", count)
    most = sessions(Pipeline(3, micro_batches, name), 3, lambda s: s.stage.most_in_flight)
    assert len(made) == sum(most)


def test_a_rank_holds_and_updates_its_slice_only():
    def look(session):
        return session.theta.size, session.state["m"].size, session.gather()[0].size

    bounds = balanced_bounds(DEEP, 3)
    sizes = [part.n_params for part in DEEP.split(bounds)]
    assert sessions(Pipeline(3, 2), 3, look) == [(n, n, DEEP.n_params) for n in sizes]


def test_messages_are_one_activation_and_one_gradient_per_cut_and_micro_batch():
    net = mlp([7, 6, 5, 3])
    result = parallel(net, SGD(0.1), Pipeline(3, 2), epochs=1, batch_size=53, validation=None)
    n = [part.n_params for part in net.split((2, 4))]
    assert balanced_bounds(net, 3) == (2, 4)
    sent = {0: 53 * 6, 1: 53 * (6 + 5), 2: 53 * 5}
    messages = {0: 2, 1: 4, 2: 2}
    for rank, timing in enumerate(result.timing):
        # Beside: the slice to two others at the end, and the history: rank 0 sends it to both.
        end = 2 if rank == 0 else 1
        assert timing.messages == messages[rank] + 2 + end
        assert timing.bytes == 8 * (sent[rank] + 2 * n[rank] + end)


def test_a_session_goes_on_where_another_was_stopped_to_the_bit():
    net, optimizer = mlp([7, 6, 5, 3], hidden="tanh", dropout=0.2), Adam(0.01)
    first = serial(net, optimizer, epochs=1)
    whole = serial(net, optimizer, epochs=2)

    from course_lib.data import batches

    strategy = Pipeline(3, 1)
    job = Job(
        net, optimizer, first.theta, X, Y,
        batch_size=10, strategy=strategy, seed=5, state=first.state,
    )  # fmt: skip
    before = first.state["m"].copy()

    def main(comm):
        session = strategy.start(comm, job, Stopwatch())
        for step, rows in enumerate(batches(53, 10, seed=5, epoch=1)):
            session.step(rows, 1, step)
        assert session.extra() == {}
        return session.gather()

    for theta, state in run_threads(3, main, timeout=30):
        np.testing.assert_array_equal(theta, whole.theta)
        np.testing.assert_array_equal(state["s"], whole.state["s"])
        assert state["t"] == whole.state["t"]
    np.testing.assert_array_equal(first.state["m"], before)  # the job is everybody's


def test_gathering_changes_nothing():
    def look(session):
        first = session.gather()[0].copy()
        return first, session.gather()[0]

    for first, second in sessions(Pipeline(2, 2), 2, look):
        np.testing.assert_array_equal(first, second)


def test_where_to_cut_can_be_chosen():
    result = parallel(DEEP, SGD(0.1), Pipeline(3, 2, bounds=(1, 5)))  # between Dense and tanh too
    assert_equal(result, serial(DEEP, SGD(0.1)))


@pytest.mark.parametrize("stages", range(1, 7))
def test_the_largest_stage_is_as_small_as_can_be(stages):
    """The oracle tries all cuts."""
    rng = np.random.default_rng(stages)
    for _ in range(30):
        sizes = rng.integers(1, 20, 7).tolist()
        net = mlp(sizes)
        weights = [a * b for a, b in pairwise(sizes)]

        def largest(cuts, weights=weights):
            return max(sum(weights[a:b]) for a, b in pairwise([0, *cuts, len(weights)]))

        best = min(map(largest, combinations(range(1, len(weights)), stages - 1)))
        bounds = balanced_bounds(net, stages)
        assert len(bounds) == stages - 1 == len(set(bounds))
        assert all(isinstance(net.layers[i], Dense) for i in bounds)
        assert largest([i // 2 for i in bounds]) == best


def test_groups_of_layers_stay_together():
    net = mlp([4, 50, 4, 50, 4, 50, 4])
    assert balanced_bounds(net, 3, together=2) == (4, 8)
    assert balanced_bounds(mlp([4, 8, 8, 3]), 2, together=2) == (4,)


def test_more_stages_than_dense_layers_are_refused():
    net = Network((Dense(7, 4), Activate(DEEP.layers[1].activation), Dense(4, 3)), DEEP.loss)
    message = r"3 stages needs a network with at least as many Dense layers, this one has 2; use"
    with pytest.raises(ValueError, match=message):
        balanced_bounds(net, 3)
    with pytest.raises(ValueError, match=message):
        parallel(net, SGD(0.1), Pipeline(3, 2))
    with pytest.raises(ValueError, match="as many groups of 2 Dense layers, this one has 1"):
        balanced_bounds(net, 2, together=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": 0}, "Pipeline: stages must be an integer of at least 1, got 0"),
        ({"micro_batches": 0}, "Pipeline: micro_batches must be an integer of at least 1, got 0"),
        ({"schedule": "2f2b"}, r"unknown pipeline schedule '2f2b'.* Known: gpipe, 1f1b"),
        ({"bounds": (2, 4)}, r"bounds: 2 stages need 1 cuts, got \[2, 4\]"),
    ],
)
def test_plans_that_cannot_be_are_refused_when_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pipeline(**{"stages": 2, "micro_batches": 2} | arguments)


def test_the_number_of_workers_must_be_that_of_the_stages():
    with pytest.raises(ValueError, match=r"1 x 3 x 1 .* needs 3 ranks, got 2; pass workers=3"):
        parallel(DEEP, SGD(0.1), Pipeline(3, 2), workers=2)


def test_cuts_outside_the_network_are_refused():
    with pytest.raises(ValueError, match=r"bounds must increase within 1..14, got \[20\]"):
        parallel(DEEP, SGD(0.1), Pipeline(2, 2, bounds=(20,)))


def test_other_backends_are_refused():
    with pytest.raises(ValueError, match=r"only backend='numpy' does; got backend='torch'"):
        parallel(DEEP, SGD(0.1), Pipeline(2, 2), backend="torch")


def test_a_diverging_run_says_so():
    net = mlp([7, 6, 3], hidden="relu", loss="mse")
    y = RNG.normal(size=(53, 3))
    with pytest.raises(RankFailed, match="the training has diverged; lower the learning rate"):
        parallel(net, SGD(1e6), Pipeline(2, 2), y=y, epochs=9, validation=None)


def test_a_strategy_documents_itself_and_travels():
    strategy = Pipeline(2, 4, "1f1b")
    assert repr(strategy) == "Pipeline(stages=2, micro_batches=4, schedule='1f1b', bounds=None)"
    assert pickle.loads(pickle.dumps(strategy)) == strategy


def test_a_pipeline_of_dask_workers_is_the_serial_run(client):
    net = mlp([7, 6, 5, 9, 3], hidden="tanh", dropout=0.3)
    result = parallel(net, Adam(0.01), Pipeline(3, 4, "1f1b"), comm="dask", client=client)
    assert_equal(result, serial(net, Adam(0.01)))
    threads = parallel(net, Adam(0.01), Pipeline(3, 4, "gpipe"))
    assert threads.digests == result.digests
