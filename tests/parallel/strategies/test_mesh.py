"""Data, pipeline and tensor parallelism at once still are the serial run.

Tolerance 1e-10 relative: the same numbers are added in another order.
"""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, fit, mlp
from course_lib.parallel import Mesh, Pipeline, TensorParallel, TrainResult, train
from course_lib.parallel.channels import OnChannel
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import SubComm, run_threads
from course_lib.parallel.errors import RankFailed
from course_lib.parallel.launch import run_processes
from course_lib.parallel.strategies import Job, grid
from course_lib.parallel.strategies.mesh import indices_of
from course_lib.parallel.training.replica import train_replica

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
OPTIONS = {"epochs": 2, "batch_size": 10, "seed": 5, "validation": (XV, YV)}
NET = mlp([7, 11, 6, 9, 5, 3], hidden="tanh", dropout=0.3)


def serial(net=NET, optimizer=None, **options):
    options, optimizer = OPTIONS | options, optimizer or Adam(0.01)
    return fit(net, net.init(np.random.default_rng(options["seed"])), optimizer, X, Y, **options)


def parallel(mesh, net=NET, optimizer=None, **options):
    options = {"comm": "inprocess", "timeout": 30, "workers": mesh.size} | OPTIONS | options
    return train(net, (X, Y), optimizer=optimizer or Adam(0.01), strategy=mesh, **options)


def assert_equal(result, reference, rtol=1e-10):
    scale = np.abs(reference.theta).max()
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=rtol * scale)
    assert result.history.keys() == reference.history.keys()
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=rtol, atol=rtol)
    for name, value in reference.state.items():
        np.testing.assert_allclose(result.state[name], value, rtol=0, atol=rtol)
    assert result.replicas_identical


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize(
    "axes",
    [
        (1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (3, 1, 1), (1, 3, 1), (2, 2, 1), (2, 1, 2),
        (1, 2, 2), (4, 1, 1), (1, 2, 3), (2, 2, 2), (2, 4, 1), (4, 2, 1), (4, 1, 2), (2, 1, 4),
        (8, 1, 1),
    ],
)  # fmt: skip
def test_training_on_a_mesh_is_serial_training(axes, schedule):
    # The last batch has 3 rows: with 4 or 8 replicas some have none. Dropout everywhere.
    assert_equal(parallel(Mesh(*axes, micro_batches=3, schedule=schedule)), serial())


@pytest.mark.parametrize("algorithm", ["ordered", "tree", "ring", "recursive_doubling", "auto"])
def test_every_way_to_add_gives_the_serial_result(algorithm):
    mesh = Mesh(2, 2, 2, micro_batches=2, algorithm=algorithm)
    assert_equal(parallel(mesh), serial())


def test_both_schedules_end_with_the_same_bits():
    results = [parallel(Mesh(2, 2, 2, micro_batches=4, schedule=s)) for s in ("gpipe", "1f1b")]
    assert results[0].digests == results[1].digests
    assert results[0].history == results[1].history


def test_neighbours_share_layers_and_replicas_lie_far_apart():
    ranks = grid(2, 3, 4)
    assert ranks.shape == (2, 3, 4)
    assert ranks[1, 2].tolist() == [20, 21, 22, 23]
    assert ranks[:, 1, 2].tolist() == [6, 18]
    assert sorted(ranks.ravel().tolist()) == list(range(24))


def test_each_axis_is_a_group_and_together_they_cover_the_mesh():
    mesh = Mesh(2, 2, 2)
    found = run_threads(8, lambda c: [(axis.rank, axis.size) for axis in mesh.axes(c)])
    for rank, (data, pipeline, tensor, replica) in enumerate(found):
        assert (data, pipeline, tensor) == ((rank // 4, 2), (rank // 2 % 2, 2), (rank % 2, 2))
        assert replica == (rank % 4, 4)


def test_an_axis_of_all_ranks_is_the_channel_itself():
    """Only the channel itself can add by other means than messages."""
    found = run_threads(2, lambda c: [axis is c for axis in Mesh(data=2).axes(c)])
    assert found == [[True, False, False, False]] * 2
    assert all(run_threads(2, lambda c: isinstance(Mesh(data=2).axes(c)[1], SubComm)))


@pytest.mark.parametrize("tensor", [1, 2, 3])
@pytest.mark.parametrize("bounds", [(), (6,), (3, 6)])
def test_the_slices_of_a_replica_cover_theta(bounds, tensor):
    ranks = (len(bounds) + 1) * tensor
    slices = [indices_of(NET, bounds, rank, tensor) for rank in range(ranks)]
    assert sorted(set(np.concatenate(slices).tolist())) == list(range(NET.n_params))
    assert all(len(set(s.tolist())) == len(s) for s in slices)


def test_a_resumed_session_goes_on_to_the_bit():
    mesh = Mesh(2, 2, 2, micro_batches=2)
    batches = [RNG.permutation(53)[:10] for _ in range(4)]

    def run(comm, job, steps):
        session = mesh.start(comm, job, Stopwatch())
        for step in steps:
            session.step(batches[step], 0, step)
        return session.gather()

    def threads(theta, state, steps):
        job = Job(NET, Adam(0.01), theta, X, Y, batch_size=10, strategy=mesh, state=state)
        return run_threads(8, lambda comm: run(comm, job, steps), timeout=30)[0]

    theta = NET.init(np.random.default_rng(5))
    whole, state = threads(theta, None, range(4))
    half, half_state = threads(theta, None, range(2))
    again, again_state = threads(half, half_state, range(2, 4))
    np.testing.assert_array_equal(again, whole)
    np.testing.assert_array_equal(again_state["m"], state["m"])
    assert again_state["t"] == state["t"] == 4


def test_cuts_keep_pairs_of_layers_together():
    first_is_large = mlp([40, 5, 5, 5, 5])
    assert Mesh(pipeline=2).cuts(first_is_large) == (2,)
    assert Mesh(pipeline=2, tensor=2).cuts(first_is_large) == (4,)
    assert Mesh(pipeline=2, tensor=2, bounds=(3,)).cuts(NET) == (3,)
    assert_equal(parallel(Mesh(1, 2, 2, bounds=(3,))), serial())


def test_a_replica_without_rows_still_takes_part():
    options = {"batch_size": 2}
    assert_equal(parallel(Mesh(3, 2, 1, micro_batches=4), **options), serial(**options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": 0}, "Mesh: data must be an integer of at least 1, got 0"),
        ({"tensor": -1}, "Mesh: tensor must be an integer of at least 1, got -1"),
        ({"schedule": "gpip"}, "unknown pipeline schedule 'gpip'; did you mean 'gpipe'"),
        ({"algorithm": "rink"}, "unknown all_reduce algorithm 'rink'"),
        ({"pipeline": 2, "bounds": ()}, r"bounds: 2 stages need 1 cuts, got \[\]"),
    ],
)
def test_meshes_that_cannot_be_are_refused_when_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mesh(**arguments)


def test_the_number_of_workers_must_be_that_of_the_mesh():
    message = r"a mesh of 2 x 2 x 2 \(data x pipeline x tensor\) needs 8 ranks, got 4; pass workers"
    with pytest.raises(ValueError, match=message):
        parallel(Mesh(2, 2, 2), workers=4)
    with pytest.raises(ValueError, match="needs 8 ranks, got 4"):
        parallel(Mesh(2, 2, 2), workers=(4, 8))
    with pytest.raises(RankFailed, match=r"a mesh of 1 x 2 x 2 .* needs 4 ranks, got 3"):
        run_threads(3, Mesh(1, 2, 2).axes)


@pytest.mark.parametrize(
    ("strategy", "net", "message"),
    [
        (Mesh(data=3), NET, "needs 3 ranks, got 2"),
        (Mesh(pipeline=2), mlp([7, 3]), "as many Dense layers, this one has 1"),
        (Pipeline(3, 2), NET, "needs 3 ranks, got 2"),
        (TensorParallel(), mlp([7, 1, 3]), "layer 0 has 1 hidden units to be shared out"),
    ],
    ids=["mesh", "shallow", "pipeline", "tensor"],
)
def test_what_can_not_work_is_said_before_anything_is_started(strategy, net, message):
    """No scheduler listens at this address, and nobody asked it."""
    with pytest.raises(ValueError, match=message):
        train(
            net, (X, Y), optimizer=Adam(0.01), strategy=strategy, workers=2, epochs=1,
            batch_size=10, client="tcp://127.0.0.1:9", timeout=1,
        )  # fmt: skip


def test_a_failing_rank_stops_the_whole_mesh():
    net = mlp([7, 8, 6, 3], loss="mse")
    y = RNG.normal(size=(53, 3))
    with pytest.raises(RankFailed, match="the training has diverged"):
        train(
            net, (X, y), optimizer=SGD(1e6), strategy=Mesh(2, 2, 2), workers=8, comm="inprocess",
            epochs=9, batch_size=10, timeout=30,
        )  # fmt: skip


@pytest.mark.parametrize("axes", [(1, 1, 4), (1, 2, 2)])
def test_a_mesh_of_processes_that_share_memory_is_the_serial_run(axes):
    mesh = Mesh(*axes, micro_batches=2)
    theta = NET.init(np.random.default_rng(5))
    job = Job(NET, Adam(0.01), theta, X, Y, 10, mesh, epochs=2, seed=5, validation=(XV, YV))
    ranks = run_processes(4, OnChannel(train_replica, "shared_memory"), job, timeout=30)
    assert_equal(TrainResult.of(ranks, 0.0, 0), serial())
    # In rank order, whoever adds.
    threads = parallel(Mesh(*axes, micro_batches=2, algorithm="ordered"))
    assert threads.digests == tuple(rank.digest for rank in ranks)


def test_a_mesh_of_dask_workers_is_the_serial_run(client):
    mesh = Mesh(data=3, micro_batches=2)
    assert_equal(parallel(mesh, comm="dask", client=client), serial())
    mesh = Mesh(pipeline=3, micro_batches=2)
    assert_equal(parallel(mesh, comm="dask", client=client), serial())
