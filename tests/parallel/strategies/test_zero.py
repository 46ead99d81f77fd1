"""ZeRO stage 1 is the unsharded run to the bit, with a p-th of the optimizer's memory per rank."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, AdamW, RMSProp
from course_lib.parallel import SyncSGD, ZeRO1, train
from course_lib.parallel.cost import zero_memory
from tests.parallel.sessions import NET, NOISY, SIZES, X, Y, assert_equal, run, serial, start

ADAM = Adam(0.01)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ["ordered", "ring"])
@pytest.mark.parametrize(
    "optimizer",
    [
        ADAM, AdamW(0.01), SGD(0.1, momentum=0.9), SGD(0.1), AdamW(0.01, amsgrad=True),
        RMSProp(0.01, momentum=0.5, centered=True, weight_decay=0.1),
    ],
    ids=repr,
)  # fmt: skip
def test_it_is_the_unsharded_run_to_the_bit(optimizer, algorithm, size):
    parts = run(ZeRO1(algorithm), size, optimizer, net=NOISY)
    whole = run(SyncSGD(algorithm), size, optimizer, net=NOISY)
    assert {p.theta.tobytes() for p in parts} == {p.theta.tobytes() for p in whole}
    for part in parts:  # the state is put together on every rank
        assert part.state.keys() == whole[0].state.keys()
        for name, value in whole[0].state.items():
            np.testing.assert_array_equal(part.state[name], value)
    assert [p.losses for p in parts] == [p.losses for p in whole]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_serial_run(size):
    assert_equal(run(ZeRO1(), size, ADAM), serial(ADAM))


def test_more_ranks_than_parameters_leave_some_without_a_slice():
    from course_lib import mlp

    net, x = mlp([2, 1], loss="mse"), X[:, :2]
    options = {"net": net, "x": x, "y": x.sum(axis=1), "last": 6}
    parts = run(ZeRO1(), 5, ADAM, **options)  # 3 parameters
    assert [len(part.session.state["m"]) for part in parts] == [1, 1, 1, 0, 0]
    reference = serial(ADAM, net=net, epochs=1, x=x, y=x.sum(axis=1))
    assert_equal(parts, reference)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", SIZES)
def test_memory_per_rank_is_that_of_the_formula(size, dtype):
    theta = start(NET, dtype)
    parts = run(ZeRO1(), size, ADAM, last=2, theta=theta)
    promised = zero_memory(NET.n_params, size, stage=1, dtype=dtype)
    held = [sum(part.session.state[k].nbytes for k in ADAM.memory) for part in parts]
    assert max(held) == held[0] == promised.optimizer
    assert sum(held) == 2 * theta.nbytes  # together they hold it once
    assert all(v.base is None for p in parts for k, v in p.session.state.items() if k != "t")
    assert parts[0].theta.nbytes == promised.parameters
    assert parts[0].theta.dtype == dtype


@pytest.mark.parametrize("size", SIZES)
def test_a_step_sends_what_an_all_reduce_by_ring_sends(size):
    parts = run(ZeRO1(), size, ADAM, last=4)
    # Reduce-scatter and all-gather: each (p - 1) / p of the array per rank.
    total = 2 * (size - 1) * 8 * NET.n_params
    assert [sum(sent) for sent in zip(*(p.bytes for p in parts), strict=True)] == [total] * 4


@pytest.mark.parametrize("then", SIZES)
def test_going_on_from_a_checkpoint_with_any_number_of_ranks(then):
    before = run(ZeRO1(), 3, ADAM, last=8)  # in the middle of an epoch
    saved = {name: before[0].state[name].tobytes() for name in ADAM.memory}
    parts = run(ZeRO1(), then, ADAM, first=8, after=before[0])
    assert_equal(parts, serial(ADAM))
    assert saved == {name: before[0].state[name].tobytes() for name in ADAM.memory}
    assert all(part.session.state["m"].base is None for part in parts)  # a slice, not the whole
    if then == 3:
        assert parts[0].theta.tobytes() == run(ZeRO1(), 3, ADAM)[0].theta.tobytes()


def test_unknown_algorithms_are_refused():
    with pytest.raises(ValueError, match=r"unknown reduce_scatter algorithm 'rink'; .* 'ring'"):
        ZeRO1("rink")


@pytest.mark.parametrize("size", SIZES)
def test_in_shared_memory_it_is_the_same_to_the_bit(size):
    shared = run(ZeRO1(), size, ADAM, net=NOISY, channel="shared_memory")
    messages = run(ZeRO1("ordered"), size, ADAM, net=NOISY)
    assert {p.theta.tobytes() for p in shared} == {p.theta.tobytes() for p in messages}


def test_on_dask_workers_it_is_the_serial_run(client):
    options = {"epochs": 3, "batch_size": 10, "seed": 5}
    result = train(
        NOISY, (X, Y), optimizer=ADAM, strategy=ZeRO1(), workers=3, client=client,
        theta=start(NOISY), **options,
    )  # fmt: skip
    np.testing.assert_allclose(result.theta, serial(ADAM, net=NOISY).theta, rtol=0, atol=1e-10)
    assert result.replicas_identical
