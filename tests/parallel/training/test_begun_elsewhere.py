"""A training begun with another's checkpoint begins there again, until it has one of its own."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.parallel import train
from course_lib.parallel.errors import WorkerLost
from course_lib.parallel.training.driver import drive
from course_lib.parallel.training.events import Listener
from course_lib.parallel.training.prepare import make_job
from course_lib.parallel.training.recovery import first_job, saving

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
NET, HOW = mlp([3, 2]), {"optimizer": SGD(0.1), "batch_size": 4, "seed": 2}


@pytest.mark.parametrize("saved", [False, True])
def test_a_restart_goes_on_from_the_own_checkpoint_or_from_where_it_began(tmp_path, saved):
    first, own = tmp_path / "first", tmp_path / "own"
    train(NET, (X, Y), epochs=2, checkpoint=first, workers=1, comm="inprocess", **HOW)
    if saved:  # a checkpoint of the third epoch
        options = {"checkpoint": own, "workers": 1, "comm": "inprocess"}
        train(NET, (X, Y), epochs=3, resume=first, **options, **HOW)
    fresh = make_job(
        NET, (X, Y), None, workers=(1, 1), strategy="sync", virtual_shards=None, backend="numpy",
        epochs=9, validation=None, saving=saving(own, None, 3), **HOW,
    )  # fmt: skip
    begun, events = [], []

    def attempt(job):
        begun.append(job.progress.taken)
        if len(begun) == 1:
            raise WorkerLost("lost")
        return ["ranks"]

    with Listener(events.append, epochs=9) as listener:
        begin, options = first_job(fresh, first), {"max_restarts": 1, "timeout": 60}
        drive(attempt, fresh, begin, listener=listener, repair=None, **options)
    assert begun == [6, 9 if saved else 6]
    assert [e.step for e in events if e.kind == "restart"] == begun[1:]
