"""The equations of the chapter on pipeline and tensor parallelism, as printed."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.gradcheck import numerical_gradient, relative_error
from course_lib.parallel import Pipeline, TensorParallel, shard
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import pipeline_bubble
from course_lib.parallel.schedules import gpipe, one_f_one_b, simulate
from course_lib.parallel.strategies import Job, grid
from course_lib.parallel.strategies.tensor_layers import Operators, tensor_chain, tensor_indices

PIPELINES = [(1, 1), (2, 3), (3, 2), (4, 8), (5, 5)]


@pytest.fixture
def case():
    """Give a network 4-6-5-3 with biases that are not zero, and a batch of seven rows."""
    rng = np.random.default_rng(3)
    net = mlp([4, 6, 5, 3], hidden="tanh")
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    return net, theta, rng.normal(size=(7, 4)), rng.integers(3, size=7)


@pytest.mark.equation("eq-pipeline-chain")
def test_stages_that_see_their_neighbours_only_give_the_gradient(case):
    net, theta, x, y = case
    stages = net.split((2, 4))
    ends = np.cumsum([0, *(stage.n_params for stage in stages)])
    parts = [theta[a:b] for a, b in pairwise(ends)]
    a, caches = x, []
    for stage, part in zip(stages, parts, strict=True):
        a, kept = stage.forward(part, a)
        caches.append(kept)
    assert relative_error(a, net.forward(theta, x)[0]) < 1e-14
    da = net.loss.f(a, y)[1] / len(x)
    found = []
    for stage, part, kept in zip(stages[::-1], parts[::-1], caches[::-1], strict=True):
        da, piece = stage.backward(part, kept, da)
        found.insert(0, piece)
    # Central differences, far from any wrong gradient.
    truth = numerical_gradient(lambda t: net.loss_value(t, x, y), theta)
    assert relative_error(np.concatenate(found), truth) < 1e-7
    of_x = numerical_gradient(lambda v: net.loss_value(theta, v.reshape(x.shape), y), x.ravel())
    assert relative_error(da.ravel(), of_x) < 1e-7


@pytest.mark.equation("eq-pipeline-micro")
@pytest.mark.parametrize("m", [1, 2, 3, 7])
def test_the_gradients_of_micro_batches_add_up(case, m):
    net, theta, x, y = case
    truth = numerical_gradient(lambda t: net.loss_value(t, x, y), theta)
    pieces = [
        net.loss_and_grad(theta, x[rows], y[rows], denominator=7)[1]
        for rows in (shard(7, j, m) for j in range(m))
    ]
    assert relative_error(sum(pieces), truth) < 1e-7


@pytest.mark.equation("eq-pipeline-start")
@pytest.mark.parametrize("make", [gpipe, one_f_one_b])
@pytest.mark.parametrize(("p", "m"), PIPELINES)
def test_every_action_starts_when_its_stage_is_free_and_its_needs_have_ended(make, p, m):
    run = simulate(make(p, m), forward=[*range(1, p + 1)], backward=[*range(2, p + 2)])
    for stage, actions in enumerate(run.schedule):
        free = 0
        for action in actions:
            needs = max((run.end[b] for b in action.needs(p)), default=0)
            assert run.start[action] == max(free, needs)
            cost = stage + (1 if action.kind == "F" else 2)
            assert run.end[action] == run.start[action] + cost
            free = run.end[action]


@pytest.mark.equation("eq-pipeline-bubble")
@pytest.mark.parametrize("make", [gpipe, one_f_one_b])
@pytest.mark.parametrize(("p", "m"), PIPELINES)
@pytest.mark.parametrize("costs", [(1, 1), (1, 2), (3, 5)])
def test_the_bubble_is_that_of_the_simulated_run(make, p, m, costs):
    run = simulate(make(p, m), forward=costs[0], backward=costs[1])
    c = sum(costs)
    assert run.length == (m + p - 1) * c
    exact = float(Fraction(p - 1, m + p - 1))
    assert pipeline_bubble(p, m) == exact
    assert run.bubble == pytest.approx(exact, abs=1e-15)
    assert run.stage_bubbles == pytest.approx([exact] * p, abs=1e-15)


@pytest.mark.equation("eq-pipeline-in-flight")
@pytest.mark.parametrize(("p", "m"), PIPELINES)
def test_how_many_micro_batches_are_in_flight(p, m):
    def counted(schedule):
        """Count from the actions alone."""
        return tuple(
            max(np.cumsum([1 if a.kind == "F" else -1 for a in actions])) for actions in schedule
        )

    for make, formula in (
        (gpipe, [m] * p),
        (one_f_one_b, [min(m, p - s) for s in range(p)]),
    ):
        assert simulate(make(p, m)).in_flight == counted(make(p, m)) == tuple(formula)


@pytest.mark.equation("eq-pipeline-slowest")
@pytest.mark.parametrize(("p", "m"), PIPELINES)
def test_the_slowest_stage_sets_the_pace_of_gpipe(p, m):
    rng = np.random.default_rng(p + m)
    for _ in range(5):
        f, b = (rng.integers(1, 20, size=p).tolist() for _ in range(2))
        formula = sum(f) + (m - 1) * max(f) + sum(b) + (m - 1) * max(b)
        assert simulate(gpipe(p, m), forward=f, backward=b).length == formula


@pytest.fixture
def two_layers():
    """Give a pair of layers 4-6-3 with tanh, with their matrices."""
    rng = np.random.default_rng(5)
    (net,) = mlp([4, 6, 3], hidden="tanh").split(())
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    first, _, second = net.unpack(theta)
    return net, theta, first, second, rng.normal(size=(5, 4)), rng.normal(size=(5, 3))


@pytest.mark.equation("eq-pipeline-tensor-pair")
@pytest.mark.parametrize("p", [1, 2, 4, 6])
def test_shares_of_columns_and_rows_add_up(two_layers, p):
    net, theta, first, second, x, _ = two_layers
    h = np.tanh(x @ first["W"] + first["b"])
    truth = h @ second["W"] + second["b"]
    shares = sum(
        np.tanh(x @ first["W"][:, s] + first["b"][s]) @ second["W"][s]
        for s in (shard(6, r, p) for r in range(p))
    )
    assert relative_error(shares + second["b"], truth) < 1e-14

    def rank(comm):
        part = theta[tensor_indices(net, comm.rank, p)]
        return tensor_chain(net, Operators(comm)).forward(part, x)[0]

    for z in run_threads(p, rank):
        assert relative_error(z, truth) < 1e-14


@pytest.mark.equation("eq-pipeline-tensor-backward")
@pytest.mark.parametrize("p", [1, 2, 4])
def test_backward_of_a_pair_with_one_sum(two_layers, p):
    net, theta, first, second, x, dz = two_layers
    # The oracle: central differences of sum(z * dz), by the parameters and by the inputs.
    weighted = numerical_gradient(lambda t: float((net.forward(t, x)[0] * dz).sum()), theta)
    d_first, _, d_second = net.unpack(weighted)
    by_x = numerical_gradient(
        lambda v: float((net.forward(theta, v.reshape(x.shape))[0] * dz).sum()), x.ravel()
    )
    dx = np.zeros_like(x)
    for r in range(p):
        s = shard(6, r, p)
        h = np.tanh(x @ first["W"][:, s] + first["b"][s])
        dz1 = (dz @ second["W"][s].T) * (1 - h**2)
        assert relative_error(h.T @ dz, d_second["W"][s]) < 1e-7
        assert relative_error(x.T @ dz1, d_first["W"][:, s]) < 1e-7
        dx += dz1 @ first["W"][:, s].T
    assert relative_error(dx.ravel(), by_x) < 1e-7

    def rank(comm):
        part = theta[tensor_indices(net, comm.rank, p)]
        chain = tensor_chain(net, Operators(comm))
        _, caches = chain.forward(part, x)
        return chain.backward(part, caches, dz.copy())[0]

    for got in run_threads(p, rank):
        assert relative_error(got, dx) < 1e-13


def _sent(net, strategy, ranks, rows, dtype):
    """Return the bytes that each rank sends in one step."""

    def rank(comm):
        rng = np.random.default_rng(0)
        job = Job(
            net=net, theta=net.init(rng, dtype=dtype), optimizer=SGD(0.1),
            x=rng.random((rows, net.n_inputs)).astype(dtype), y=rng.integers(3, size=rows),
            batch_size=rows, strategy=strategy,
        )  # fmt: skip
        session = strategy.start(comm, job, Stopwatch())
        before = comm.counters.bytes
        session.step(np.arange(rows), 0, 0)
        return comm.counters.bytes - before

    return run_threads(ranks, rank)


@pytest.mark.equation("eq-pipeline-bytes")
@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_border_passes_the_activations_of_all_rows_and_their_gradients(m, dtype):
    net, n, b = mlp([4, 6, 5, 7, 3]), 11, np.dtype(dtype).itemsize
    sent = _sent(net, Pipeline(3, m, bounds=(2, 4)), 3, n, dtype)
    assert sum(sent) == 2 * n * 6 * b + 2 * n * 5 * b  # the two borders
    assert sent[0] == n * 6 * b  # stage 0 sends to the right only


@pytest.mark.equation("eq-pipeline-tensor-bytes")
@pytest.mark.parametrize(("widths", "w"), [([4, 6, 3], [3]), ([4, 6, 5, 8, 3], [5, 3])])
@pytest.mark.parametrize("p", [2, 4])
def test_what_tensor_parallelism_sends(widths, w, p):
    net, n, b = mlp(widths), 8, 8  # 8 rows, so that a ring cuts every array evenly
    sent = _sent(net, TensorParallel("ring"), p, n, np.float64)
    formula = 2 * (p - 1) / p * n * b * (sum(w) + sum(w[:-1]))
    assert sent == [formula] * p


@pytest.mark.equation("eq-pipeline-mesh")
@pytest.mark.parametrize("shape", [(2, 4, 2), (1, 3, 2), (3, 1, 1)])
def test_the_number_of_a_rank_follows_from_its_coordinates(shape):
    places = grid(*shape)
    _, stages, tensor = shape
    for (d, s, t), rank in np.ndenumerate(places):
        assert rank == (d * stages + s) * tensor + t
    assert sorted(places.ravel()) == list(range(np.prod(shape)))
