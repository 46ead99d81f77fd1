"""Compression: exact where it promises to be, unbiased or made good for where it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from course_lib import SGD, Adam, mlp
from course_lib.data import batches
from course_lib.layers import Dense
from course_lib.losses import ALL as LOSSES
from course_lib.network import Network
from course_lib.parallel import Compressed, Int8, PowerSGD, SyncSGD, TopK, shard, train
from course_lib.parallel.strategies import gradient_of
from course_lib.parallel.strategies.compression import BLOCK, power_step
from tests.parallel.sessions import NET, NOISY, SIZES, STEPS, X, Y, assert_equal, run, serial, start

RNG = np.random.default_rng(1)
SGD_01 = SGD(0.1)
CODECS = [TopK(0.1), TopK(1.0), Int8(), PowerSGD(1), PowerSGD(2)]


# --- codecs ---


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.25, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("n", [1, 2, 9, 10, 60])
def test_top_k_keeps_the_largest_entries_exactly(n, fraction):
    vector = np.random.default_rng(n).normal(size=n)
    message = TopK(fraction).encode(vector)
    decoded = TopK(fraction).decode(message, n)
    kept = decoded != 0
    assert kept.sum() == min(n, max(1, math.ceil(round(fraction * n, 9))))
    np.testing.assert_array_equal(decoded[kept], vector[kept])
    assert np.abs(vector[~kept]).max(initial=0) <= np.abs(vector[kept]).min()


@pytest.mark.parametrize(("fraction", "n", "k"), [(0.07, 100, 7), (0.071, 100, 8), (0.001, 9, 1)])
def test_the_number_of_entries_is_rounded_up_but_not_by_a_rounding_error(fraction, n, k):
    assert len(TopK(fraction).encode(np.arange(1.0, n + 1))[0]) == k


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 7, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_int8_is_off_by_half_a_step_of_its_block_at_most(n, dtype):
    # Blocks of very different size; one scale for all would lose the small ones.
    vector = (RNG.normal(size=n) * 10.0 ** -(np.arange(n) // BLOCK * 6)).astype(dtype)
    message = Int8().encode(vector)
    assert [a.dtype for a in message] == [np.int8, dtype]
    decoded = Int8().decode(message, n)
    assert decoded.dtype == dtype
    for at in (slice(i, i + BLOCK) for i in range(0, n, BLOCK)):
        step = np.abs(vector[at]).max() / 127
        error = np.abs(decoded[at] - vector[at]).max()
        assert error <= step * (0.5 + 200 * np.finfo(dtype).eps)


def test_int8_of_zeros_and_of_the_smallest_numbers_is_zero_not_nan():
    for vector in (np.zeros(5), np.full(5, 5e-324)):
        np.testing.assert_array_equal(Int8().decode(Int8().encode(vector), 5), np.zeros(5))


def test_int8_rounds_at_random_without_bias():
    vector, rng, times = RNG.normal(size=50), np.random.default_rng(0), 4000
    mean = sum(Int8().decode(Int8().encode(vector, rng), 50) for _ in range(times)) / times
    step = np.abs(vector).max() / 127
    # The standard deviation of one rounding is at most step / 2; five standard errors.
    np.testing.assert_allclose(mean, vector, rtol=0, atol=5 * step / 2 / np.sqrt(times))
    nearest = Int8().decode(Int8().encode(vector), 50)
    assert np.abs(nearest - vector).max() > 5 * step / 2 / np.sqrt(times)  # the nearest is biased


def one_rank(matrix, q):
    return power_step([matrix], [], [q], list)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
def test_with_full_rank_nothing_is_lost_whatever_went_before(shape):
    """Also after a gradient of rank 1, of which the paper's Q would keep one direction only."""
    n, m = shape
    q = RNG.normal(size=(m, min(n, m)))
    for matrix in (RNG.normal(size=shape), np.outer(np.ones(n), np.ones(m)), np.zeros(shape)) * 2:
        found = one_rank(matrix, q)
        np.testing.assert_allclose(found.total[0], matrix, rtol=0, atol=1e-13)
        [q] = found.qs


def test_repeated_power_steps_find_the_best_matrix_of_that_rank():
    u, _, v = np.linalg.svd(RNG.normal(size=(9, 6)), full_matrices=False)
    s = 2.0 ** -np.arange(6)
    matrix, best = (u * s) @ v, (u[:, :2] * s[:2]) @ v[:2]
    q = RNG.normal(size=(6, 2))
    for _ in range(40):
        found = one_rank(matrix, q)
        [q] = found.qs
    # Singular values fall by 2 from the 2nd to the 3rd, so the error by 4 per step: 4^-40.
    np.testing.assert_allclose(found.total[0], best, rtol=0, atol=1e-13)


def test_the_sum_of_ranks_is_approximated_as_one_matrix_would_be():
    parts, q = RNG.normal(size=(3, 6, 4)), RNG.normal(size=(4, 2))
    biases = RNG.normal(size=(3, 5))
    p, _ = np.linalg.qr(parts.sum(axis=0) @ q)  # the paper's formula, without orthonormal Q

    def added(rank):
        sums = iter(
            [
                [sum(m @ np.linalg.qr(q)[0] for m in parts), biases.sum(axis=0)],
                [sum(m.T @ p for m in parts)],
            ]
        )
        return power_step([parts[rank]], [biases[rank]], [q], lambda arrays: next(sums))

    found = [added(rank) for rank in range(3)]
    expected = p @ p.T @ parts.sum(axis=0)
    for one in found:
        np.testing.assert_allclose(one.total[0], expected, rtol=0, atol=1e-13)
        np.testing.assert_allclose(one.vectors[0], biases.sum(axis=0), rtol=0, atol=1e-15)
    total = sum(one.sent[0] for one in found)
    np.testing.assert_allclose(total, found[0].total[0], rtol=0, atol=1e-13)


# --- training ---


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("optimizer", [SGD_01, Adam(0.01)], ids=["sgd", "adam"])
def test_all_entries_are_no_compression_to_the_bit(optimizer, size):
    parts = run(Compressed(TopK(1.0)), size, optimizer, net=NOISY)
    plain = run(SyncSGD("ordered"), size, optimizer, net=NOISY)
    assert {p.theta.tobytes() for p in parts} == {p.theta.tobytes() for p in plain}
    assert not any(part.session._residual.any() for part in parts)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("optimizer", [SGD_01, Adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("feedback", [True, False])
def test_full_rank_is_the_serial_run(feedback, optimizer, size):
    """The last batch of each epoch has 3 rows, so its gradients have rank 3 at most."""
    parts = run(Compressed(PowerSGD(7), feedback), size, optimizer, net=NOISY)
    assert_equal(parts, serial(optimizer, net=NOISY))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_what_was_sent_and_what_is_held_back_are_all_gradients(codec, size):
    """With plain SGD the sum of what was sent is (start - theta) / lr."""
    seen = {}

    def look(session, step):
        seen.setdefault(step, []).append((session._comm.rank, session._theta.copy()))

    parts = run(Compressed(codec), size, SGD_01, look=look)
    assert len({p.theta.tobytes() for p in parts}) == 1
    at = [start(NET), *(seen[step][0][1] for step in range(3 * STEPS))]
    gradients = np.zeros_like(at[0])
    for taken in range(3 * STEPS):
        epoch, step = divmod(taken, STEPS)
        rows = list(batches(53, 10, seed=5, epoch=epoch))[step]
        gradients += NET.loss_and_grad(at[taken], X[rows], Y[rows])[1]
    sent = (at[0] - at[-1]) / 0.1
    held = sum(part.session._residual for part in parts)
    # 18 steps of roundings of numbers up to max |theta| / lr.
    tolerance = 18 * 4 * np.finfo(float).eps * np.abs(at[0]).max() / 0.1
    np.testing.assert_allclose(sent + held, gradients, rtol=0, atol=tolerance)
    if codec != TopK(1.0):
        assert np.abs(held).max() > 100 * tolerance


def test_the_first_sparse_step_is_that_of_the_definition():
    parts = run(Compressed(TopK(0.1)), 3, SGD(1.0), last=1)
    rows = next(iter(batches(53, 10, seed=5, epoch=0)))
    total, gradient = np.zeros(NET.n_params), np.empty(NET.n_params)
    k = math.ceil(0.1 * NET.n_params)
    for rank in range(3):
        gradient_of(NET, start(NET), X, Y, rows, shard(10, rank, 3), out=gradient)
        largest = np.argsort(-np.abs(gradient))[:k]
        total[largest] += gradient[largest]
    np.testing.assert_allclose(parts[0].theta, start(NET) - total, rtol=0, atol=1e-14)


MESSAGES = [
    # Each rank sends its message to all others.
    (TopK(0.1), lambda p: p * (p - 1) * math.ceil(0.1 * NET.n_params) * (4 + 8)),
    (Int8(), lambda p: p * (p - 1) * (NET.n_params + 8)),  # 101 parameters: one block
    # All-reduces, in order: 2 (p - 1) arrays. (7, 6), (6, 5), (5, 3) with 2 columns; biases.
    (PowerSGD(2), lambda p: 2 * (p - 1) * 8 * (2 * (13 + 11 + 8) + 14)),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("codec", "expected"), MESSAGES, ids=["topk", "int8", "power"])
def test_bytes_sent_are_those_of_the_formula(codec, expected, size):
    parts = run(Compressed(codec), size, SGD_01, last=4)
    assert [sum(s) for s in zip(*(p.bytes for p in parts), strict=True)] == [expected(size)] * 4
    if isinstance(codec, PowerSGD):
        assert expected(2) == 2 * codec.message_bytes(NET, np.float64)
    else:
        assert expected(2) == 2 * codec.message_bytes(NET.n_params, np.float64)


def test_the_message_of_several_blocks_has_as_many_steps():
    n = 2 * BLOCK + 1
    for dtype in (np.float64, np.float32):
        message = Int8().encode(np.ones(n, dtype))
        assert sum(a.nbytes for a in message) == Int8().message_bytes(n, dtype)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_float32_stays_float32(codec):
    parts = run(Compressed(codec), 3, Adam(0.01), theta=start(NET, np.float32), last=7)
    for part in parts:
        assert part.theta.dtype == np.float32
        assert all(array.dtype == np.float32 for array in part.extra.values())


@pytest.mark.parametrize("codec", [TopK(0.1), Int8(), PowerSGD(2)], ids=repr)
@pytest.mark.parametrize("feedback", [True, False])
def test_going_on_from_a_checkpoint_is_the_same_to_the_bit(feedback, codec):
    strategy = Compressed(codec, feedback)
    straight = run(strategy, 3, Adam(0.01))
    before = run(strategy, 3, Adam(0.01), last=8)
    assert bool(before[0].extra) == (feedback or isinstance(codec, PowerSGD))
    after = run(strategy, 3, Adam(0.01), first=8, after=before[0])
    assert {p.theta.tobytes() for p in after} == {p.theta.tobytes() for p in straight}


@pytest.mark.parametrize("then", [1, 2, 5])
def test_with_another_number_of_ranks_no_residual_is_lost(then):
    before = run(Compressed(TopK(0.1)), 3, SGD_01, last=8)
    held = sum(part.session._residual for part in before)
    after = run(Compressed(TopK(0.1)), then, SGD_01, first=8, last=8, after=before[0])
    np.testing.assert_allclose(sum(p.session._residual for p in after), held, rtol=0, atol=1e-15)


@pytest.mark.parametrize("codec", [TopK(0.25), Int8(), PowerSGD(2)], ids=repr)
def test_what_feedback_leaves_falls_with_the_square_of_the_step_and_the_rest_stays(codec):
    """On a quadratic, where the distance of the loss from its minimum is known.

    Residuals are of the size of a gradient, so theta is off by lr times that, the loss by its
    square. What is never sent is missing whatever the step.
    """
    net, rng = mlp([12, 9], loss="mse"), np.random.default_rng(3)
    x = rng.normal(size=(60, 12))
    y = x @ rng.normal(size=(12, 9)) + rng.normal(size=(60, 9))
    best = np.linalg.lstsq(np.column_stack([x, np.ones(60)]), y, rcond=None)[0].ravel()

    def excess(feedback, lr, steps):
        theta = run(
            Compressed(codec, feedback), 3, SGD(lr), theta=start(net), net=net, x=x, y=y,
            batch_size=60, rows=np.arange(60), last=steps,
        )[0].theta  # fmt: skip
        return net.loss_value(theta, x, y) - net.loss_value(best, x, y)

    with_feedback, without = excess(True, 0.5, 300), excess(False, 0.5, 300)
    assert 0 <= with_feedback < without / 5
    if codec == TopK(0.25):
        assert 3 < with_feedback / excess(True, 0.25, 600) < 5
        assert 0.8 < without / excess(False, 0.25, 600) < 1.25


def test_without_feedback_int8_is_right_on_average_and_each_rank_rounds_for_itself():
    """All rows alike, so both ranks have the same gradient g / 2, and send it in the same steps."""
    net, x = mlp([4, 3]), np.tile(RNG.normal(size=4), (10, 1))
    y, theta = np.zeros(10, int), start(net)
    _, gradient = net.loss_and_grad(theta, x, y)
    step, sums, times, odd = np.abs(gradient).max() / 2 / 127, 0.0, 300, 0
    for seed in range(times):
        parts = run(
            Compressed(Int8(), error_feedback=False), 2, SGD(1.0), net=net, x=x, y=y,
            theta=theta, seed=seed, last=1,
        )  # fmt: skip
        sent = theta - parts[0].theta
        sums += sent
        odd += int((np.rint(sent / step) % 2).sum())
    # One rounding has a standard deviation of at most step / 2, two ranks sqrt(2) times that.
    error = 5 * step / 2 * np.sqrt(2 / times)
    np.testing.assert_allclose(sums / times, gradient, rtol=0, atol=error)
    assert odd > 0.1 * times * net.n_params  # were the roundings the same, sums would be even


@dataclass(frozen=True)
class Dice(Int8):
    """Int8 that notes the first number which it is given to round with."""

    seen: list

    def encode(self, vector, rng=None):
        self.seen.append(rng.random())
        return super().encode(vector, rng)


def test_no_two_roundings_use_the_same_numbers():
    """Of no two steps, epochs, ranks or seeds: an error that is always the same adds up."""
    codec = Dice([])
    for seed in (1, 2):
        run(Compressed(codec, error_feedback=False), 3, SGD_01, seed=seed)
    assert len(set(codec.seen)) == len(codec.seen) == 2 * 3 * 3 * STEPS


def test_wrong_options_are_refused():
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"TopK: fraction must be .* > 0 and <= 1, got "):
            TopK(fraction)
    with pytest.raises(ValueError, match="PowerSGD: rank must be an integer of at least 1, got 0"):
        PowerSGD(0)
    with pytest.raises(TypeError, match=r"codec must be TopK\(fraction\), Int8\(\) or .* got 0.1"):
        Compressed(0.1)


@dataclass(frozen=True)
class Mixture:
    """A layer of one's own: weights of three axes, W (k, n, m), whose k maps are added."""

    k: int
    n: int
    m: int

    @property
    def fan_in(self):
        return self.n

    def width(self, fan_in):
        return self.m

    def shapes(self):
        return {"W": (self.k, self.n, self.m)}

    def init(self, rng):
        return {"W": rng.normal(size=(self.k, self.n, self.m)) / self.n}

    def forward(self, p, x, *, rng=None, empty=None):
        return x @ p["W"].sum(0), x

    def gradient(self, cache, dy, out):
        out["W"][...] = cache.T @ dy

    def backward(self, p, cache, dy, *, empty=None):
        return dy @ p["W"].sum(0).T


@pytest.mark.parametrize("layers", [(Mixture(2, 7, 3),), (Dense(7, 6), Mixture(2, 6, 3))])
@pytest.mark.parametrize("size", [1, 3])
def test_low_rank_sends_what_is_no_matrix_as_it_is(size, layers):
    """With a rank that loses nothing of the matrices, all is the serial run."""
    net = Network(layers, LOSSES["softmax_cross_entropy"])
    assert PowerSGD(9).message_bytes(net, float) >= 8 * 2 * layers[-1].n * 3
    parts = run(Compressed(PowerSGD(9)), size, SGD_01, net=net, last=8)
    after = run(Compressed(PowerSGD(9)), size, SGD_01, net=net, first=8, after=parts[0])
    assert_equal(after, serial(SGD_01, net=net))
    assert ("q" in parts[0].extra) == (len(layers) == 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec", [TopK(0.1), Int8(), PowerSGD(2)], ids=repr)
def test_in_shared_memory_it_is_the_same_to_the_bit(codec, size):
    shared = run(Compressed(codec), size, SGD_01, channel="shared_memory")
    messages = run(Compressed(codec), size, SGD_01)
    assert {p.theta.tobytes() for p in shared} == {p.theta.tobytes() for p in messages}


@pytest.mark.parametrize("codec", [TopK(0.1), Int8(), PowerSGD(2)], ids=repr)
def test_threads_and_dask_workers_give_the_same_bits(client, codec):
    result = train(
        NET, (X, Y), optimizer=Adam(0.01), strategy=Compressed(codec), workers=3,
        client=client, theta=start(NET), epochs=3, batch_size=10, seed=5,
    )  # fmt: skip
    assert result.replicas_identical
    assert result.theta.tobytes() == run(Compressed(codec), 3, Adam(0.01))[0].theta.tobytes()
