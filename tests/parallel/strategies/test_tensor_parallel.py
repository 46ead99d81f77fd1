"""Layers shared by ranks give the serial outputs, gradients and training.

Tolerance 1e-10 relative against the serial run: the same numbers are added in another order.
"""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, fit, mlp
from course_lib.chain import Chain
from course_lib.network import Activate, Dense, Dropout, Network
from course_lib.parallel import TensorParallel, train
from course_lib.parallel.collectives import all_gather
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import traffic
from course_lib.parallel.strategies import sums_per_step
from course_lib.parallel.strategies.tensor_layers import (
    Operators,
    tensor_chain,
    tensor_indices,
    tensor_plan,
)

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
OPTIONS = {"epochs": 2, "batch_size": 10, "seed": 5, "validation": (XV, YV)}
# Two pairs and one layer left over; 11 and 9 units are uneven on 2, 3, 4 and 8 ranks.
NET = mlp([7, 11, 6, 9, 5, 3], hidden="tanh")


def serial(net, optimizer, x=X, y=Y, **options):
    options = OPTIONS | options
    return fit(net, net.init(np.random.default_rng(options["seed"])), optimizer, x, y, **options)


def parallel(net, optimizer, workers, strategy=None, x=X, y=Y, **options):
    options = {"comm": "inprocess", "timeout": 30} | OPTIONS | options
    strategy = strategy or TensorParallel()
    return train(net, (x, y), optimizer=optimizer, strategy=strategy, workers=workers, **options)


def assert_equal(result, reference, rtol=1e-10):
    scale = np.abs(reference.theta).max()
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=rtol * scale)
    assert result.history.keys() == reference.history.keys()
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=rtol, atol=rtol)
    for name, value in reference.state.items():
        np.testing.assert_allclose(result.state[name], value, rtol=0, atol=rtol)
    assert result.replicas_identical


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_one_pair_forward_and_backward_is_the_serial_pair(size):
    """Output, gradient of the input, gradients of weights and biases; biases are not zero."""
    layers = (Dense(7, 11), Activate(NET.layers[1].activation), Dense(11, 5))
    chain = Network(layers, NET.loss)
    theta, dy = RNG.normal(size=chain.n_params), RNG.normal(size=(53, 5))
    outputs, caches = chain.forward(theta, X)
    dx, gradient = chain.backward(theta, caches, dy)

    def main(comm):
        at = tensor_indices(chain, comm.rank, size)
        part = tensor_chain(chain, Operators(comm))
        y, caches = part.forward(theta[at], X)
        dx, gradient = part.backward(theta[at], caches, dy)
        return at, y, dx, gradient, comm.counters.messages

    found = run_threads(size, main, timeout=30)
    for at, y, other_dx, part, _ in found:
        np.testing.assert_allclose(y, outputs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(other_dx, dx, rtol=0, atol=1e-12)
        np.testing.assert_allclose(part, gradient[at], rtol=0, atol=1e-12)
    # One all-reduce forward, one backward.
    expected = [2 * rank.messages for rank in traffic(size, 1, "ordered")]
    assert [messages for *_, messages in found] == expected


def test_a_bias_is_added_to_the_whole_sum_and_not_to_a_share_of_it():
    """1e16 + 1 is 1e16 in float64: a bias of 1 that is added too early is lost."""
    chain = Chain((Dense(1, 2), Dense(2, 1)))
    theta = chain.pack([{"W": np.ones((1, 2)), "b": np.zeros(2)},
                        {"W": np.array([[1e16], [-1e16]]), "b": np.ones(1)}])  # fmt: skip

    def main(comm):
        part = tensor_chain(chain, Operators(comm))
        return part.forward(theta[tensor_indices(chain, comm.rank, 2)], np.ones((1, 1)))[0].item()

    assert run_threads(2, main) == [1.0, 1.0]


def test_f_and_g_do_backward_what_the_other_does_forward():
    def main(comm):
        operators = Operators(comm, "tree")
        calls = operators.f, operators.g, operators.f_backward, operators.g_backward
        return [call(np.array([comm.rank + 1.0])).item() for call in calls]

    assert run_threads(3, main) == [[1, 6, 6, 1], [2, 6, 6, 2], [3, 6, 6, 3]]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_every_parameter_has_an_owner_and_only_what_is_shared_has_several(size):
    owners = np.zeros(NET.n_params, int)
    for rank in range(size):
        np.add.at(owners, tensor_indices(NET, rank, size), 1)
    tree = NET.unpack(owners)
    for i, how in enumerate(tensor_plan(NET)):
        if how == "columns":
            assert (tree[i]["W"] == 1).all() and (tree[i]["b"] == 1).all()
        elif how == "rows":
            assert (tree[i]["W"] == 1).all() and (tree[i]["b"] == size).all()
        elif tree[i]:
            assert (tree[i]["W"] == size).all() and (tree[i]["b"] == size).all()


@pytest.mark.parametrize("sizes", [[7, 3], [7, 8, 3], [7, 9, 8, 3], [7, 11, 6, 9, 5, 3]])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_training_with_shared_layers_is_serial_training(workers, sizes):
    net = mlp(sizes, hidden="tanh")
    assert_equal(parallel(net, Adam(0.01), workers), serial(net, Adam(0.01)))


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_dropout_inside_and_outside_of_pairs_uses_the_noise_of_the_serial_run(workers):
    net = mlp([7, 11, 6, 9, 5, 3], hidden="tanh", dropout=0.4)
    assert [tensor_plan(net)[i] for i in (2, 5)] == ["units", "whole"]
    assert isinstance(net.layers[2], Dropout) and isinstance(net.layers[5], Dropout)
    result = parallel(net, Adam(0.01), workers)
    assert_equal(result, serial(net, Adam(0.01)))
    assert np.abs(parallel(net, Adam(0.01), workers, seed=6).theta - result.theta).max() > 0.01


@pytest.mark.parametrize("algorithm", ["ordered", "tree", "recursive_doubling"])
def test_messages_and_bytes_of_a_step_are_those_of_its_all_reduces(algorithm):
    net, n = mlp([7, 8, 6, 9, 5, 3], hidden="tanh"), 53
    assert sums_per_step(net) == 3
    numbers = n * (6 + 5 + 6)  # forward: the outputs of both pairs; back: inputs of the second
    for size in (2, 3, 4):
        result = parallel(
            net, SGD(0.1), size, TensorParallel(algorithm),
            epochs=1, batch_size=n, validation=None,
        )  # fmt: skip
        for rank, timing in enumerate(result.timing):
            step = traffic(size, 8 * numbers, algorithm)[rank]
            # At the end, each slice goes to all others, and rank 0 adds the loss, one number.
            slice_ = 8 * tensor_indices(net, rank, size).size
            end = traffic(size, 8, "ordered")[rank]
            assert timing.messages == 3 * step.messages + (size - 1) + end.messages
            assert timing.bytes == step.bytes + (size - 1) * slice_ + end.bytes


def test_a_pair_needs_one_sum_each_way_but_nobody_asks_for_the_gradient_of_the_data():
    assert [sums_per_step(mlp([4] * (n + 1))) for n in range(1, 8)] == [0, 1, 1, 3, 3, 5, 5]


def test_parameters_per_rank_shrink():
    net = mlp([64, 256, 256, 10])  # a pair of 82,176 parameters; 2,570 are not split
    sizes = [tensor_indices(net, rank, 4).size for rank in range(4)]
    assert sizes == [(64 * 256 + 256 + 256 * 256) // 4 + 256 + 2570] * 4


def test_activations_between_layers_have_the_same_bits_on_every_rank():
    def main(comm):
        at = tensor_indices(NET, comm.rank, comm.size)
        theta = NET.init(np.random.default_rng(0))
        y = tensor_chain(NET, Operators(comm, "tree")).forward(theta[at], X)[0]
        return all(np.array_equal(y, other) for other in all_gather(comm, y))

    assert run_threads(5, main) == [True] * 5


def test_float32_stays_float32():
    theta = NET.init(np.random.default_rng(5), dtype=np.float32)
    result = parallel(NET, Adam(0.01), 3, theta=theta)
    assert result.theta.dtype == result.state["m"].dtype == np.float32
    reference = fit(NET, theta, Adam(0.01), X, Y, **OPTIONS)
    assert_equal(result, reference, rtol=1e-4)  # Adam's division enlarges the 1e-7 of float32


def test_more_ranks_than_hidden_units_are_refused():
    message = r"layer 0 has 3 hidden units to be shared out, fewer than the 4 ranks; use fewer"
    with pytest.raises(ValueError, match=message):
        parallel(mlp([7, 3, 3]), SGD(0.1), 4)


def test_unknown_algorithms_are_refused_when_the_strategy_is_made():
    with pytest.raises(ValueError, match="unknown all_reduce algorithm 'rink'"):
        TensorParallel("rink")


def test_layers_shared_by_dask_workers_give_the_serial_run(client):
    result = parallel(NET, Adam(0.01), 3, comm="dask", client=client)
    assert_equal(result, serial(NET, Adam(0.01)))
    assert result.digests == parallel(NET, Adam(0.01), 3).digests
