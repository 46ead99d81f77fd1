"""Every second of a step is booked under what it was spent on; the seconds are pretended.

A gradient of one layer takes 1 s, to read rows 100 s, a message 10,000 s at either end.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

from course_lib import SGD, Dense
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    SyncSGD,
    TensorParallel,
    ZeRO1,
)
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import InProcess
from course_lib.parallel.strategies import VirtualShards
from tests.parallel import sessions

SPENT = threading.local()


def spend(name, seconds):
    SPENT.seconds[name] += seconds


class SlowRows(np.ndarray):
    """Rows that take their time to be read."""

    def __getitem__(self, rows):
        spend("input", 100.0)
        return np.asarray(self)[rows]


@pytest.fixture(autouse=True)
def _slow(monkeypatch):
    """Let only these three things take time."""

    def slowly(cls, method, name, seconds):
        do = getattr(cls, method)

        def slow(*args, **kwargs):
            spend(name, seconds)
            return do(*args, **kwargs)

        monkeypatch.setattr(cls, method, slow)

    slowly(Dense, "gradient", "compute", 1.0)
    slowly(InProcess, "send", "communication", 1e4)
    slowly(InProcess, "recv", "communication", 1e4)


STRATEGIES = [
    (SyncSGD(), 3),
    (VirtualShards(4), 2),
    (VirtualShards(8), 3),
    (LocalSGD(2), 3),
    (Compressed(Int8()), 3),
    (Compressed(PowerSGD(1)), 3),
    (ZeRO1(), 3),
    (Pipeline(2, micro_batches=4), 2),
    (TensorParallel(), 2),
    (Mesh(data=2, pipeline=2), 4),
    (AsyncParameterServer(1), 3),
]


@pytest.mark.parametrize(("strategy", "size"), STRATEGIES, ids=str)
def test_time_is_booked_under_what_it_was_spent_on(strategy, size, monkeypatch):
    def clock():
        SPENT.seconds = dict.fromkeys(("compute", "input", "communication"), 0.0)
        return Stopwatch(now=lambda: sum(SPENT.seconds.values()))

    found = []

    def look(session, step):
        booked = session._clock.seconds if hasattr(session, "_clock") else None
        found.append((dict(booked), dict(SPENT.seconds)))

    monkeypatch.setattr(sessions, "Stopwatch", clock)
    x = sessions.X.view(SlowRows)
    sessions.run(strategy, size, SGD(0.1), x=x, look=look, channel="dask")
    assert len(found) == size * 3 * sessions.STEPS
    for booked, spent in found:
        assert {name: booked.get(name, 0.0) for name in spent} == spent
    assert all(sum(spent[name] for _, spent in found) for name in found[0][1])
