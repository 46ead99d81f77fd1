"""The equations of the chapter on asynchronous, local and compressed training, as printed."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.data import batches
from course_lib.gradcheck import relative_error
from course_lib.parallel import AsyncParameterServer, Compressed, Int8, LocalSGD, TopK, shard, train
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import AlphaBeta, traffic
from course_lib.parallel.strategies import Job

SEED = 3


@pytest.fixture
def case():
    """Give a network 4-6-3 with biases that are not zero, and 23 rows."""
    rng = np.random.default_rng(SEED)
    net = mlp([4, 6, 3], hidden="tanh")
    theta = net.init(rng) + 0.1 * rng.normal(size=net.n_params)
    return net, theta, rng.normal(size=(23, 4)), rng.integers(3, size=23)


def _sessions(strategy, p, case, steps, *, look=lambda comm, session, k: None, optimizer=None):
    """Take steps of a strategy on p threads; return (theta, session) by rank, and the batches."""
    net, theta, x, y = case
    job = Job(net, optimizer or SGD(0.1), theta, x, y, 8, strategy, epochs=9, seed=SEED)
    plan = [
        (e, k, rows) for e in range(9) for k, rows in enumerate(batches(23, 8, seed=SEED, epoch=e))
    ]

    def main(comm):
        session = strategy.start(comm, job, Stopwatch())
        for n, (epoch, k, rows) in enumerate(plan[:steps]):
            session.step(rows, epoch, k)
            look(comm, session, n)
        return session.gather()[0].copy(), session

    return run_threads(p, main), [rows for _, _, rows in plan[:steps]]


@pytest.mark.equation("eq-async-waiting")
@pytest.mark.parametrize("p", [1, 2, 5, 30])
def test_the_mean_of_the_largest_delay_is_a_harmonic_sum(p):
    """The oracle integrates the distribution of the maximum: P(max > t) = 1 - (1 - e^-t/mu)^p."""
    c, mu = 1.0, 0.5
    t = np.linspace(0, 60 * mu, 400_001)
    mean = np.trapezoid(1 - (1 - np.exp(-t / mu)) ** p, t)
    assert c + mu * sum(1 / k for k in range(1, p + 1)) == pytest.approx(c + mean, rel=1e-6)


@pytest.mark.equation("eq-async-bounded")
@pytest.mark.parametrize("s", [0, 1, 3])
def test_the_servers_workers_begin_a_step_only_when_all_have_finished_that_of_s_plus_1_ago(case, s):
    """The package's log has, for each gradient, which updates its parameters contained."""
    slow = threading.Event()

    def look(comm, session, k):
        if comm.rank == 1 and k % 3 == 0:
            slow.wait(0.01)  # somebody is late, or nobody would ever be ahead

    parts, _ = _sessions(AsyncParameterServer(s), 4, case, 12, look=look)
    log = parts[0][1].log
    assert len(log) == 3 * 12
    for update in log:
        begun_with = Counter(u.step for u in log[: update.read])
        for k in range(update.step - s):  # steps 0 .. k - s - 1
            assert begun_with[k] == 3


@pytest.mark.equation("eq-async-delay")
def test_one_server_update_behind_is_the_printed_recursion():
    """Gradients of a parabola taken tau steps ago, against the powers of its companion matrix."""
    tau, rate = 3, 0.2
    companion = np.eye(tau + 1, k=-1)
    companion[0, 0], companion[0, -1] = 1.0, -rate
    state = np.ones(tau + 1)  # theta_k, theta_{k-1}, ...
    path = [1.0] * (tau + 1)
    for _ in range(40):
        path.append(path[-1] - rate * path[-1 - tau])
        state = companion @ state
        assert path[-1] == pytest.approx(state[0], abs=1e-12)


@pytest.mark.equation("eq-async-stable")
@pytest.mark.parametrize("tau", [0, 1, 2, 5, 20])
def test_delayed_descent_settles_up_to_the_printed_rate(tau):
    """The recursion settles if all roots of z^(tau+1) - z^tau + rate lie inside the circle."""
    limit = 2 * np.sin(np.pi / (2 * (2 * tau + 1)))

    def largest_root(rate):
        polynomial = np.zeros(tau + 2)
        polynomial[0] = 1.0
        polynomial[1] -= 1.0
        polynomial[-1] += rate
        return np.abs(np.roots(polynomial)).max()

    assert largest_root(0.99 * limit) < 1 < largest_root(1.01 * limit)


@pytest.mark.equation("eq-async-average")
@pytest.mark.parametrize("h", [1, 3])
def test_a_round_ends_at_the_mean_weighted_by_rows(case, h):
    net, theta, x, y = case
    parts, plan = _sessions(LocalSGD(h), 3, case, h)
    ends, counts = [], []
    for r in range(3):
        own, n = theta.copy(), 0
        for rows in plan:
            mine = rows[shard(len(rows), r, 3)]
            own -= 0.1 * net.loss_and_grad(own, x[mine], y[mine])[1]
            n += len(mine)
        ends.append(own)
        counts.append(n)
    assert len(set(counts)) > 1  # the weights matter
    expected = sum(n / sum(counts) * own for n, own in zip(counts, ends, strict=True))
    for got, _ in parts:
        assert relative_error(got, expected) < 1e-12
    if h == 1:  # and then it is the synchronous step
        _, gradient = net.loss_and_grad(theta, x[plan[0]], y[plan[0]])
        assert relative_error(expected, theta - 0.1 * gradient) < 1e-12


@pytest.mark.equation("eq-async-drift")
@pytest.mark.parametrize("h", [1, 2, 7])
def test_local_sgd_on_parabolas_stops_where_the_printed_weights_say(h):
    """Two ranks fit lines through the origin to one row each; the row loss is (w x - y)^2."""
    lr, slopes, targets = 0.05, np.array([1.0, 3.0]), np.array([2.0, -1.0])
    lam, c = 2 * slopes**2, targets / slopes
    theta = 0.7
    for _ in range(2000):
        own = np.full(2, theta)
        for _ in range(h):
            own -= lr * 2 * slopes * (slopes * own - targets)
        theta = own.mean()
    w = 1 - (1 - lr * lam) ** h
    assert theta == pytest.approx((w * c).sum() / w.sum(), rel=1e-10)
    if h == 1:
        assert theta == pytest.approx((lam * c).sum() / lam.sum(), rel=1e-10)


@pytest.mark.equation("eq-async-feedback")
@pytest.mark.parametrize("codec", [TopK(0.2), Int8()])
def test_each_step_sends_the_compressed_sum_of_gradient_and_residual(case, codec):
    net, theta, x, y = case
    p, steps = 3, 5
    parts, plan = _sessions(Compressed(codec), p, case, steps)
    own, residuals = theta.copy(), np.zeros((p, len(theta)))
    for rows in plan:
        total = np.zeros_like(own)
        for r in range(p):
            mine = rows[shard(len(rows), r, p)]
            _, g = net.loss_and_grad(own, x[mine], y[mine], denominator=len(rows))
            v = g + residuals[r]
            c = codec.decode(codec.encode(v), len(v))
            residuals[r] = v - c
            total += c
        own = own - 0.1 * total
    for got, _ in parts:
        assert relative_error(got, own) < 1e-12


@pytest.mark.equation("eq-async-telescope")
@pytest.mark.parametrize("codec", [TopK(0.2), Int8()])
def test_what_was_sent_and_what_is_owed_are_all_gradients(case, codec):
    """With plain SGD what was sent is what theta has moved."""
    net, theta, x, y = case
    p, steps, seen, owed = 2, 6, [], []

    def look(comm, session, k):
        if comm.rank == 0:
            seen.append(session.gather()[0].copy())
        extra = session.extra()  # collective
        if comm.rank == 0 and k == steps - 1:
            owed.append(sum(v for name, v in extra.items() if name.startswith("residual")))

    parts, plan = _sessions(Compressed(codec), p, case, steps, look=look)
    points = [theta, *seen[:-1]]
    gradients = sum(
        net.loss_and_grad(t, x[rows], y[rows])[1] for t, rows in zip(points, plan, strict=True)
    )
    sent = (theta - parts[0][0]) / 0.1
    assert np.abs(owed[0]).max() > 1e-4  # something is owed
    assert relative_error(sent + owed[0], gradients) < 1e-10


@pytest.mark.equation("eq-async-step")
def test_local_steps_divide_the_exchange_and_compression_replaces_it(case):
    """Counted in messages of the package, with C and E left out."""
    net, theta, x, y = case
    options = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 1, "theta": theta}
    options |= {"workers": 2, "comm": "inprocess"}

    def messages(strategy):
        return train(net, (x[:16], y[:16]), strategy=strategy, **options).timing[1].messages

    # 16 steps; what is sent for the history, at the end of the epoch, is the same for all.
    extra = messages(LocalSGD(16)) - 1
    for h in (1, 2, 4, 8):
        assert messages(LocalSGD(h)) - extra == 16 / h
    channel = AlphaBeta(1e-3, 1e-9)
    exchange = channel.all_reduce(2, theta.nbytes, "ordered")
    for h in (1, 4):  # seconds per step, from the model of the channel
        assert 16 / h * exchange / 16 == pytest.approx(exchange / h)
    assert messages(Compressed(TopK(0.1))) == messages(LocalSGD(1)) + 16  # positions and values


@pytest.mark.equation("eq-async-breakeven")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [2, 5])
def test_top_k_sends_less_than_the_ring_below_the_printed_fraction(dtype, p):
    n, b = 20_000, np.dtype(dtype).itemsize
    limit = 2 * b / (p * (4 + b))
    ring = traffic(p, n * b, "ring")[0].bytes
    for fraction, less in ((0.98 * limit, True), (min(1.0, 1.02 * limit), False)):
        sent = (p - 1) * TopK(fraction).message_bytes(n, dtype)
        assert (sent < ring) == less
