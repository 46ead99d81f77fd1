"""An asynchronous parameter server: no gradient older than promised, and every run repeatable."""

from __future__ import annotations

import time

import numpy as np
import pytest

from course_lib import SGD, Adam, schedules
from course_lib.data import batches
from course_lib.layers import noise
from course_lib.parallel import AsyncParameterServer, shard, train
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import CommTimeout, RankFailed
from course_lib.parallel.strategies.local_gradient import gradient_of
from tests.parallel.sessions import NET, NOISY, SIZES, STEPS, X, Y, assert_equal, run, serial, start
from tests.patience import patient

SGD_01 = SGD(0.1)


def dawdle(session, step):
    """Let the workers be slow in turn, so that the order of arrival changes."""
    rank = session._comm.rank
    if rank and step % 3 == rank % 3:
        time.sleep(0.004)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("optimizer", [SGD_01, SGD(schedules.cosine(0.1, 18))], ids=["", "cosine"])
def test_without_staleness_it_is_the_serial_run(optimizer, size):
    parts = run(AsyncParameterServer(0), size, optimizer, net=NOISY, look=dawdle)
    reference = serial(optimizer, net=NOISY)
    assert_equal(parts, reference)
    losses = np.sum([part.losses for part in parts], axis=0)
    rows = [10, 10, 10, 10, 10, 3] * 3
    means = (losses * rows).reshape(3, STEPS).sum(axis=1) / 53
    np.testing.assert_allclose(means, reference.history["loss"], rtol=1e-10)


@pytest.mark.parametrize("staleness", [0, 1, 3, 100])
@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_no_gradient_lags_by_more_than_was_promised(size, staleness):
    parts = run(AsyncParameterServer(staleness), size, SGD_01, look=dawdle)
    log, workers = parts[0].session.log, size - 1
    assert [update.version for update in log] == list(range(len(log)))
    for update in log:
        assert 0 <= update.lag <= staleness
        # Between reading and applying, each other worker is in steps k - s to k + s.
        assert 0 <= update.version - update.read <= (workers - 1) * (2 * staleness + 1)
    # Every worker with rows contributes to every step exactly once, in its order.
    rows = [10, 10, 10, 10, 10, 3] * 3
    expected = {
        (step, worker) for step in range(18) for worker in range(1, 1 + min(workers, rows[step]))
    }
    assert len(log) == len(expected)
    assert {(update.step, update.worker) for update in log} == expected
    for worker in range(1, size):
        steps = [update.step for update in log if update.worker == worker]
        assert steps == sorted(steps)
    assert len({part.theta.tobytes() for part in parts}) == 1


@pytest.mark.parametrize("staleness", [1, 3])
def test_a_read_contains_all_updates_that_its_clock_says(staleness):
    log = run(AsyncParameterServer(staleness), 4, SGD_01, look=dawdle)[0].session.log
    assert len(log) == 3 * 3 * STEPS  # three workers, three epochs
    for update in log:
        contained = {(u.step, u.worker) for u in log[: update.read]}
        needed = {(u.step, u.worker) for u in log if u.step < update.clock}
        assert needed <= contained
        assert update.clock >= update.step - staleness


def test_the_fast_one_runs_ahead_as_far_as_allowed_and_no_further():
    server, ahead = [], []

    def steps_of_worker_2():
        return [update.step for session in server for update in session.log if update.worker == 2]

    def look(session, step):
        if session._comm.rank == 0:
            server[:] = [session]
        if session._comm.rank == 1 and step == 0:  # sleeps until the other one is stuck
            deadline = time.monotonic() + 20
            while 3 not in steps_of_worker_2() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.05)
            ahead.extend(steps_of_worker_2())

    log = run(AsyncParameterServer(2), 3, SGD_01, last=STEPS, look=look)[0].session.log
    # Updates of step 0 are there, so parameters are good for the steps up to 0 + 1 + 2.
    assert ahead == [0, 1, 2, 3]
    assert max(update.lag for update in log) == 2


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "optimizer", [SGD_01, SGD(0.05, momentum=0.5), Adam(0.01)], ids=["sgd", "momentum", "adam"]
)
def test_the_recorded_order_replayed_serially_gives_the_same_bits(optimizer, size):
    parts = run(AsyncParameterServer(2), size, optimizer, net=NOISY, look=dawdle)
    versions, state = [start(NOISY)], optimizer.init(start(NOISY))
    for update in parts[0].session.log:
        epoch, step = divmod(update.step, STEPS)
        rows = list(batches(53, 10, seed=5, epoch=epoch))[step]
        gradient, place = np.empty(NOISY.n_params), max(0, update.worker - 1)
        gradient_of(
            NOISY, versions[update.read], X, Y, rows, shard(len(rows), place, max(1, size - 1)),
            out=gradient, rng=noise(5, epoch, step), workspace=NOISY.workspace(10),
        )  # fmt: skip
        theta, state = optimizer.step(versions[-1], gradient, state)
        versions.append(theta)
    assert parts[0].theta.tobytes() == versions[-1].tobytes()
    assert parts[0].state["t"] == state["t"] == len(parts[0].session.log)
    for name in optimizer.memory:
        np.testing.assert_array_equal(parts[0].state[name], state[name])


@pytest.mark.parametrize("size", SIZES)
def test_a_step_is_one_message_to_the_server_and_one_back(size):
    parts = run(AsyncParameterServer(1), size, SGD_01, last=5)  # all workers have rows
    whole, workers = 8 * NET.n_params, size - 1
    # The server's answers lie in whatever step it was in; together they are as many.
    assert all(part.bytes == [whole] * 5 for part in parts[1:])
    sent = parts[0].session._comm.counters.bytes - _broadcast(size) * whole
    assert sent == 5 * workers * whole


def _broadcast(size):
    """How often rank 0 sends in a broadcast: once per round."""
    return (size - 1).bit_length()


@pytest.mark.parametrize("then", SIZES)
def test_going_on_from_a_checkpoint_with_any_number_of_ranks(then):
    """The schedule counts batches, so it must know how many there were."""
    optimizer = SGD(schedules.cosine(0.1, 18))
    before = run(AsyncParameterServer(0), 3, optimizer, last=8)
    parts = run(AsyncParameterServer(0), then, optimizer, first=8, after=before[0])
    assert_equal(parts, serial(optimizer))
    assert parts[0].session.log[0].step == 8


def test_looking_in_the_middle_of_an_epoch_is_a_barrier_and_training_goes_on():
    def look(session, step):
        dawdle(session, step)
        if step % 4 == 1:
            session.gather()
            session.extra()

    parts = run(AsyncParameterServer(3), 4, SGD_01, look=look)
    assert len({part.theta.tobytes() for part in parts}) == 1
    for update in parts[0].session.log:
        assert 0 <= update.lag <= 3


def test_a_little_staleness_hardly_matters_when_steps_are_small():
    parts = run(AsyncParameterServer(3), 4, SGD_01, look=dawdle, last=20 * STEPS)
    thetas = start(NET), serial(SGD_01, epochs=20).theta, parts[0].theta
    before, synchronous, stale = (NET.loss_value(theta, X, Y) for theta in thetas)
    assert stale == pytest.approx(synchronous, abs=0.05 * (before - synchronous))


def test_a_worker_that_fails_stops_the_server():
    def look(session, step):
        if session._comm.rank == 2 and step == 4:
            raise OverflowError("on purpose")

    begin = time.monotonic()
    with pytest.raises(RankFailed, match=r"rank 2 .*OverflowError: on purpose"):
        run(AsyncParameterServer(2), 4, SGD_01, look=look)
    assert time.monotonic() - begin < patient(10)


def test_the_oldest_message_comes_first_whoever_sent_it_and_waiting_ends():
    def fn(comm):
        if comm.rank == 0:
            comm.recv(3, "go")  # by then all of the others' messages are there
            found = [comm.recv_any({1, 2}, "x") for _ in range(2)] + [comm.recv_any({3}, "x")]
            with pytest.raises(CommTimeout, match=r"rank 0 waited 0.1 s for 'x' from a peer"):
                comm.recv_any({1, 2, 3}, "x", timeout=0.1)
            return [(source, int(array[0])) for source, array in found]
        if comm.rank < 3:
            comm.recv(3, "your turn")
            comm.send(0, "x", np.array([10 * comm.rank]))
            comm.send(3, "done", np.zeros(0))
            return None
        comm.send(0, "x", np.array([30]))
        for peer in (2, 1):
            comm.send(peer, "your turn", np.zeros(0))
            comm.recv(peer, "done")
        comm.send(0, "y", np.zeros(0))
        comm.send(0, "go", np.zeros(0))
        return None

    assert run_threads(4, fn)[0] == [(2, 20), (1, 10), (3, 30)]


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"staleness must be an integer of at least 0, got -1"):
        AsyncParameterServer(-1)


def test_pytorch_may_compute_the_gradients():
    pytest.importorskip("torch")
    parts = run(AsyncParameterServer(0), 3, SGD_01, net=NOISY, backend="torch")
    assert_equal(parts, serial(SGD_01, net=NOISY))


@pytest.mark.parametrize("channel", ["shared_memory", "hierarchical"])
def test_other_channels_carry_it_too(channel):
    reference = serial(SGD_01, net=NOISY)
    parts = run(AsyncParameterServer(0), 4, SGD_01, net=NOISY, channel=channel)
    assert_equal(parts, reference)
    stale = run(AsyncParameterServer(2), 4, SGD_01, net=NOISY, channel=channel, look=dawdle)
    assert max(update.lag for update in stale[0].session.log) <= 2


def test_on_dask_workers(client):
    options = {"client": client, "workers": 3, "epochs": 3, "batch_size": 10, "seed": 5}
    result = train(
        NET, (X, Y), optimizer=SGD_01, strategy=AsyncParameterServer(0), theta=start(NET), **options
    )
    np.testing.assert_allclose(result.theta, serial(SGD_01).theta, rtol=0, atol=1e-10)
    assert result.replicas_identical
    stale = train(
        NET, (X, Y), optimizer=SGD_01, strategy=AsyncParameterServer(2), theta=start(NET), **options
    )
    assert stale.replicas_identical
    assert stale.history["loss"][-1] < stale.history["loss"][0]
    # The log came back: two workers, each one update per batch, never too far behind.
    assert [update.version for update in stale.log] == list(range(stale.state["t"]))
    assert max(update.lag for update in stale.log) <= 2
    assert all(update.lag == 0 for update in result.log)
    plain = train(NET, (X, Y), optimizer=SGD_01, theta=start(NET), **options | {"epochs": 1})
    assert plain.log == ()
