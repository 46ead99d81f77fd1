"""Local SGD: with h = 1 the synchronous run, with h > 1 exactly what algebra says it must be."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, Nesterov, mlp, schedules
from course_lib.parallel import LocalSGD, shard, train
from tests.parallel.sessions import NET, NOISY, SIZES, STEPS, X, Y, assert_equal, run, serial, start

LINEAR = [SGD(0.1), SGD(schedules.cosine(0.1, 18)), SGD(0.1, momentum=0.9), Nesterov(0.1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("optimizer", LINEAR, ids=["sgd", "schedule", "momentum", "nesterov"])
def test_one_local_step_and_an_average_is_the_serial_step(optimizer, size):
    """Unequal shards and, in the last batch of 3 rows, empty ones: the weights must be right."""
    parts = run(LocalSGD(1), size, optimizer, net=NOISY)
    reference = serial(optimizer, net=NOISY)
    assert_equal(parts, reference)
    for name, value in reference.state.items():
        for part in parts:
            np.testing.assert_allclose(part.state[name], value, rtol=0, atol=1e-10)
    losses = np.sum([part.losses for part in parts], axis=0)
    rows = [10, 10, 10, 10, 10, 3] * 3
    means = (losses * rows).reshape(3, STEPS).sum(axis=1) / 53
    np.testing.assert_allclose(means, reference.history["loss"], rtol=1e-10)


@pytest.mark.parametrize("h", [1, 4, 100])
def test_alone_it_is_the_serial_run_with_any_optimizer_to_the_bit(h):
    parts, reference = run(LocalSGD(h), 1, Adam(0.01)), serial(Adam(0.01))
    assert parts[0].theta.tobytes() == reference.theta.tobytes()
    assert parts[0].state["t"] == reference.state["t"]


def test_plain_averages_would_be_wrong_where_shards_differ_in_size():
    """The bug that the weights avoid: 10 rows on 3 ranks are 4 + 3 + 3."""
    theta, lr = start(NET), 0.1
    cuts = [shard(10, rank, 3) for rank in range(3)]
    ends = [theta - lr * NET.loss_and_grad(theta, X[c], Y[c])[1] for c in cuts]
    right = theta - lr * NET.loss_and_grad(theta, X[:10], Y[:10])[1]
    plain = np.mean(ends, axis=0)
    weighted = np.average(ends, axis=0, weights=[4, 3, 3])
    np.testing.assert_allclose(weighted, right, rtol=0, atol=1e-14)
    assert np.linalg.norm(plain - right) > 0.01 * np.linalg.norm(theta - right)


# --- a quadratic: one linear layer and squared errors, all rows in each step ---

SQUARES = mlp([7, 1], loss="mse")
TARGETS = X @ np.arange(1.0, 8.0) + np.sin(5 * X[:, 0])
ONES = np.column_stack([X, np.ones(len(X))])  # theta is W and then b


def quadratic(rows):
    """Hessian and minimum of the mean squared error over some rows."""
    a = ONES[rows]
    hessian = 2 * a.T @ a / len(a)
    return hessian, np.linalg.lstsq(a, TARGETS[rows], rcond=None)[0]


def local(h, size, lr, steps):
    """Parameters after so many steps, each with all rows: a rank's rows are always the same."""
    options = {"net": SQUARES, "x": X, "y": TARGETS, "batch_size": 53, "rows": np.arange(53)}
    return run(LocalSGD(h), size, SGD(lr), last=steps, **options)[0].theta


def power(matrix, n):
    return np.linalg.matrix_power(matrix, n)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("h", "rounds"), [(1, 3), (5, 1), (5, 2), (40, 1)])
def test_on_a_quadratic_it_is_the_closed_formula(h, rounds, size):
    """h steps of gradient descent from t lead to c + (1 - lr A)^h (t - c)."""
    lr, expected = 0.05, start(SQUARES)
    cuts = [shard(53, rank, size) for rank in range(size)]
    for _ in range(rounds):
        ends = []
        for hessian, minimum in map(quadratic, cuts):
            ends.append(minimum + power(np.eye(8) - lr * hessian, h) @ (expected - minimum))
        expected = np.average(ends, axis=0, weights=[c.stop - c.start for c in cuts])
    got = local(h, size, lr, h * rounds)
    # Up to 80 steps, and least squares of a badly conditioned matrix where rows are few.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def drift(size, lr, h):
    """How far local SGD is from the synchronous run after one round; and the bound on it.

    With A the mean of the ranks' Hessians A_r, g_r their gradients at the start, and no eigenvalue
    of lr A_r above 2: |drift| <= lr^2 h (h - 1) / 2 * sum_r w_r |A_r - A| |g_r|, because
    |(1 - lr A_r)^j - (1 - lr A)^j| <= j lr |A_r - A|.
    """
    theta = start(SQUARES)
    whole, _ = quadratic(slice(53))
    bound, first = 0.0, np.zeros(8)
    for cut in (shard(53, rank, size) for rank in range(size)):
        hessian, minimum = quadratic(cut)
        assert lr * np.linalg.eigvalsh(hessian)[-1] <= 2
        weight, gradient = (cut.stop - cut.start) / 53, hessian @ (theta - minimum)
        bound += weight * np.linalg.norm(hessian - whole, 2) * np.linalg.norm(gradient)
        first += weight * (hessian - whole) @ gradient
    factor = lr**2 * h * (h - 1) / 2
    gap = local(h, size, lr, h) - local(1, size, lr, h)
    return gap, factor * bound, factor * first


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("h", [1, 2, 5, 20])
def test_ranks_do_not_drift_further_than_the_bound(h, size):
    gap, bound, _ = drift(size, 0.05, h)
    rounding = 1e-13 * np.abs(start(SQUARES)).max() * h
    assert np.linalg.norm(gap) <= bound + rounding
    if size > 1 and h > 1:
        assert np.linalg.norm(gap) > 1e-3 * bound  # it is not there for nothing


@pytest.mark.parametrize("h", [2, 5, 20])
def test_for_small_steps_the_drift_is_its_first_term(h):
    gap, _, first = drift(3, 1e-5, h)
    # The next term is smaller by lr h |A|, at most 1e-5 * 20 * 10.
    np.testing.assert_allclose(gap, first, rtol=0, atol=4e-3 * np.abs(first).max())


# --- what is sent, what is shown, going on ---


@pytest.mark.parametrize("size", SIZES)
def test_only_the_last_step_of_a_round_sends_anything(size):
    parts = run(LocalSGD(4, "ordered"), size, SGD(0.1, momentum=0.9), last=10)
    average = 2 * (size - 1) * 2 * NET.n_params * 8  # parameters and velocity
    sent = [sum(step) for step in zip(*(p.bytes for p in parts), strict=True)]
    assert sent == [0, 0, 0, average, 0, 0, 0, average, 0, 0]


def test_looking_at_the_average_in_the_middle_of_a_round_changes_nothing():
    def look(session, step):
        session.gather()
        session.extra()

    optimizer = SGD(0.1, momentum=0.9)
    looked = run(LocalSGD(4), 3, optimizer, look=look)
    untouched = run(LocalSGD(4), 3, optimizer)
    assert [p.theta.tobytes() for p in looked] == [p.theta.tobytes() for p in untouched]


@pytest.mark.parametrize("taken", [3, 8, 9])  # 8: between two rounds of 4
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01)], ids=["sgd", "adam"])
def test_going_on_from_a_checkpoint_is_the_same_to_the_bit(optimizer, taken):
    straight = run(LocalSGD(4), 3, optimizer)
    before = run(LocalSGD(4), 3, optimizer, last=taken)
    assert bool(before[0].extra) == (taken != 8)
    after = run(LocalSGD(4), 3, optimizer, first=taken, after=before[0])
    assert {p.theta.tobytes() for p in after} == {p.theta.tobytes() for p in straight}
    assert after[0].state["t"] == straight[0].state["t"] == 18


def test_with_another_number_of_ranks_it_goes_on_from_the_average():
    before = run(LocalSGD(4), 3, SGD(0.1), last=6)
    on_two = run(LocalSGD(1), 2, SGD(0.1), first=6, after=before[0])
    reference = serial(SGD(0.1), theta=before[0].theta, first_epoch=1, epochs=2)
    assert_equal(on_two, reference)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="LocalSGD: h must be an integer of at least 1, got 0"):
        LocalSGD(0)
    with pytest.raises(ValueError, match=r"unknown all_reduce algorithm 'rink'"):
        LocalSGD(2, "rink")


def test_pytorch_may_compute_the_gradients():
    pytest.importorskip("torch")
    parts = run(LocalSGD(1), 3, SGD(0.1), net=NOISY, backend="torch")
    assert_equal(parts, serial(SGD(0.1), net=NOISY))


@pytest.mark.parametrize("size", SIZES)
def test_in_shared_memory_it_is_the_same_to_the_bit(size):
    optimizer = SGD(0.1, momentum=0.9)
    shared = run(LocalSGD(4), size, optimizer, net=NOISY, channel="shared_memory")
    messages = run(LocalSGD(4, "ordered"), size, optimizer, net=NOISY)
    assert {p.theta.tobytes() for p in shared} == {p.theta.tobytes() for p in messages}


def test_on_dask_workers_one_local_step_is_the_serial_step(client):
    result = train(
        NET, (X, Y), optimizer=SGD(0.1, momentum=0.9), strategy=LocalSGD(1), workers=3,
        client=client, theta=start(NET), epochs=3, batch_size=10, seed=5,
    )  # fmt: skip
    reference = serial(SGD(0.1, momentum=0.9))
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=1e-10)
    assert result.replicas_identical
