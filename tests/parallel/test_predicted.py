"""What is predicted stands beside what is measured, rank by rank, and is about as large.

Times of a shared machine vary; a factor of ten either way would still show a wrong unit, a
forgotten epoch or a sum over ranks in its place.
"""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, Adam, mlp
from course_lib.parallel import train
from course_lib.parallel.predicted import Predicted, predict

pytestmark = pytest.mark.timeout(90)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(1000, 64)), RNG.integers(0, 10, 1000)
NET = mlp([64, 128, 10])
OPTIONS = {"optimizer": Adam(0.01), "epochs": 10, "batch_size": 100}


def assert_near(result, predicted):
    for rank, told in zip(result.timing, predicted, strict=True):
        assert 0.1 < told.compute / rank.compute < 10
        # Ranks wait for each other inside: the measured time may be far longer.
        assert 0 < told.communication < 10 * rank.communication


def test_one_rank_computes_as_long_as_predicted_and_adds_nothing():
    told = predict(NET, (X, Y), workers=1, comm="inprocess", **OPTIONS)
    result = train(NET, (X, Y), workers=1, comm="inprocess", **OPTIONS)
    assert told[0].communication == 0
    assert 0.1 < told[0].compute / result.timing[0].compute < 10


def test_two_threads_and_the_report():
    told = predict(NET, (X, Y), workers=2, comm="inprocess", **OPTIONS)
    result = train(NET, (X, Y), workers=2, comm="inprocess", **OPTIONS)
    assert_near(result, told)
    lines = result.report(predict=told).splitlines()
    assert lines[3].split()[:3] == ["rank", "compute:", "predicted"]
    for rank in (0, 1):
        t, p = result.timing[rank], told[rank]
        wanted = [p.compute, t.compute, p.communication, t.communication, t.waiting]
        shown = [float(part) for part in lines[4 + rank].split()[1:]]
        assert shown == pytest.approx(wanted, abs=0.0005)
    assert result.report().splitlines() == [*lines[:3], lines[-1]]


def test_two_dask_workers(client):
    told = predict(NET, (X, Y), workers=2, client=client, **OPTIONS)
    assert_near(train(NET, (X, Y), workers=2, client=client, **OPTIONS), told)


def test_a_rank_without_rows_still_steps_and_adds():
    x, y = X[:2], Y[:2]
    options = {"optimizer": SGD(0.1), "batch_size": 2, "workers": 3, "comm": "inprocess"}
    told = predict(NET, (x, y), epochs=1, **options)
    assert all(rank.compute > 0 and rank.communication > 0 for rank in told)


def test_a_prediction_for_other_ranks_is_refused():
    result = train(NET, (X[:99], Y[:99]), workers=2, comm="inprocess", **OPTIONS | {"epochs": 1})
    with pytest.raises(ValueError, match="is for 1 ranks, but 2 were run"):
        result.report(predict=[Predicted(1.0, 0.0)])
    with pytest.raises(ValueError, match="predict: epochs"):
        predict(NET, (X, Y), **OPTIONS | {"epochs": 0})
