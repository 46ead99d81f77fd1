"""What is predicted stands beside what is measured, rank by rank, and is about as large.

Times of a shared machine vary; a factor of ten either way would still show a wrong unit, a
forgotten epoch or a sum over ranks in its place.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from course_lib import SGD, Adam, mlp
from course_lib.parallel import (
    Compressed,
    LocalSGD,
    Pipeline,
    Predicted,
    Strategy,
    SyncSGD,
    TopK,
    predict,
    train,
)
from course_lib.parallel.comm import InProcess, run_threads
from course_lib.parallel.strategies import gradient_of
from course_lib.parallel.training import RankTiming
from course_lib.parallel.training.prepare import make_job
from course_lib.parallel.training.replica import train_replica

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(1000, 64)), RNG.integers(0, 10, 1000)
NET = mlp([64, 128, 10])
OPTIONS = {"optimizer": Adam(0.01), "epochs": 10, "batch_size": 100}


def measured(workers, near, **where):
    """Predict and train until what is near says yes to each rank; then what was told and found.

    On a busy machine, one stall may be as long as such a short training.
    """
    seen = []
    for _ in range(4):
        told = predict(NET, (X, Y), workers=workers, **where, **OPTIONS)
        result = train(NET, (X, Y), workers=workers, **where, **OPTIONS)
        seen += (pairs := list(zip(told, result.timing, strict=True)))
        if all(near(p, t) for p, t in pairs):
            return told, result
    pytest.fail(f"predicted and measured: {seen}")


def test_one_rank_computes_as_long_as_predicted_and_adds_nothing():
    near = lambda p, t: 0.1 < p.compute / t.compute < 10  # noqa: E731
    told, _ = measured(1, near, comm="inprocess")
    assert told[0].communication == 0


def test_two_threads_and_the_report():
    # Ranks wait for each other inside: the measured time may be far longer.
    told, result = measured(
        2,
        lambda p, t: 0.1 < p.compute / t.compute < 10 and p.communication < 10 * t.communication,
        comm="inprocess",
    )
    assert all(p.communication > 0 for p in told)
    lines = result.report(predict=told).splitlines()
    assert lines[4].split() == ["rank", "compute", "communication", "(waiting)", "input"]
    for rank in (0, 1):
        t, p = result.timing[rank], told[rank]
        wanted = [
            number
            for name in ("compute", "communication", "waiting", "input")
            for number in (getattr(p, name), getattr(t, name))
        ]
        shown = [float(part) for part in lines[5 + rank].replace("/", "").split()[1:]]
        assert shown == pytest.approx(wanted, abs=0.0005)
        assert 0 < p.waiting <= p.communication
    assert result.report().splitlines() == [*lines[:3], lines[-1]]


@pytest.mark.parametrize(
    ("strategy", "net"),
    [
        ("sync", mlp([4, 6, 3])),
        ("zero1", mlp([4, 6, 3])),
        (LocalSGD(2), mlp([4, 6, 3])),
        (Compressed(TopK(0.5)), mlp([4, 6, 3])),
        (Pipeline(2, 2), mlp([4, 6, 3])),
        ("tensor", mlp([4, 6, 3])),
    ],
    ids=["sync", "zero1", "local", "top-k", "pipeline", "tensor"],
)
def test_reading_rows_is_booked_as_input_and_as_nothing_else(strategy, net):
    """A file that takes 5 ms per read: that much is "input", and the rest of the time is not."""

    class Slow(np.ndarray):
        def __getitem__(self, rows):
            time.sleep(0.005 if isinstance(rows, np.ndarray) else 0)
            return np.asarray(self)[rows]

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    job = make_job(
        net, (x, y), None, optimizer=SGD(0.1), epochs=2, batch_size=8, strategy=strategy, seed=0,
        backend="numpy", virtual_shards=None, validation=None, stop=None, workers=(2, 2),
        report=False, saving=None,
    )  # fmt: skip
    job = replace(job, x=job.x.view(Slow))
    ranks = run_threads(2, lambda comm: train_replica(comm, job), timeout=20)
    timing = [RankTiming.of(rank) for rank in ranks]
    # Ten steps; each rank that reads does so at least once in each.
    readers = timing[:1] if isinstance(strategy, Pipeline) else timing
    assert all(rank.input >= 10 * 0.005 for rank in readers)
    assert all(rank.compute < rank.input for rank in readers)


def test_what_a_step_does_last_is_booked_as_compute():
    """A strategy of one's own that ends each of its ten steps with 20 ms of something else."""

    class Lingering(Strategy):
        def start(self, comm, job, clock):
            session = SyncSGD().start(comm, job, clock)
            step = session.step

            def linger(*where):
                loss = step(*where)
                time.sleep(0.02)
                return loss

            session.step = linger
            return session

    result = train(
        mlp([4, 3]), (X[:80, :4], Y[:80] % 3), optimizer=SGD(0.1), epochs=1, batch_size=8,
        strategy=Lingering(), comm="inprocess",
    )  # fmt: skip
    assert all(rank.compute >= 10 * 0.02 for rank in result.timing)


@pytest.mark.parametrize("shards", [2, 4])
def test_virtual_shards_read_once_per_piece(shards):
    result = train(NET, (X, Y), comm="inprocess", virtual_shards=shards, **OPTIONS | {"epochs": 1})
    for rank in result.timing:
        assert 0 < rank.input < rank.total
        assert rank.compute + rank.communication + rank.input <= rank.total


@pytest.mark.parametrize("comm", ["auto", "dask"])
def test_two_dask_workers(client, comm):
    def near(p, t):
        ratios = p.compute / t.compute, p.communication / t.communication
        return all(0.2 < ratio < 5 for ratio in ratios)

    measured(2, near, client=client, comm=comm)


def test_a_channel_that_is_slow_now_and_then_is_predicted_by_what_that_costs(monkeypatch):
    """One message in seven takes 20 ms: a training pays for it, though the median does not show."""
    deliver, calls = InProcess._deliver, count()

    def slow(comm, *message):
        time.sleep(0.02 if next(calls) % 7 == 0 else 0)
        return deliver(comm, *message)

    monkeypatch.setattr(InProcess, "_deliver", slow)
    _, result = measured(
        2, lambda p, t: 0.4 < p.communication / t.communication < 2.5, comm="inprocess"
    )
    assert all(rank.communication > 0.2 for rank in result.timing)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_noise_is_drawn_while_measuring_as_it_will_be_in_the_training(monkeypatch, dropout):
    drawn = []

    def spied(*where, rng, **options):
        drawn.append(rng is not None)
        return gradient_of(*where, rng=rng, **options)

    monkeypatch.setattr("course_lib.parallel.training.predicted.gradient_of", spied)
    net = mlp([64, 8, 10], dropout=dropout)
    predict(net, (X, Y), workers=1, comm="inprocess", **OPTIONS)
    assert set(drawn) == {dropout > 0}


def test_a_rank_without_rows_still_steps_and_adds():
    x, y = X[:2], Y[:2]
    options = {"optimizer": SGD(0.1), "batch_size": 2, "workers": 3, "comm": "inprocess"}
    told = predict(NET, (x, y), epochs=1, **options)
    assert all(rank.compute > 0 and rank.communication > 0 for rank in told)
    assert [rank.input > 0 for rank in told] == [True, True, False]


def test_a_prediction_for_other_ranks_is_refused():
    result = train(NET, (X[:99], Y[:99]), workers=2, comm="inprocess", **OPTIONS | {"epochs": 1})
    with pytest.raises(ValueError, match="is for 1 ranks, but 2 were run"):
        result.report(predict=[Predicted(1.0, 0.0)])
    with pytest.raises(ValueError, match="is for 3 ranks, but 2 were run"):
        result.report(predict=[Predicted(1.0, 0.0)] * 3)
    for wrong in (5, "ab", [1.0, 2.0], [None, None], {"a": 1}):
        with pytest.raises(TypeError, match=r"^report: (each of )?predict must be a .* got"):
            result.report(predict=wrong)
    with pytest.raises(ValueError, match="predict: epochs"):
        predict(NET, (X, Y), **OPTIONS | {"epochs": 0})
