"""A rank inside its task, and what the driver makes of a task that is done; all pretended."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("distributed")

from distributed import KilledWorker
from distributed.client import FutureCancelledError

from course_lib.parallel.comm.dask_comm import PLUGIN, Mailboxes, topic
from course_lib.parallel.comm.outcome import Outcome
from course_lib.parallel.errors import Aborted, Moved
from course_lib.parallel.launch import watch as watch_file
from course_lib.parallel.launch.watch import fetch_outcome, run_rank

HERE = "tcp://10.0.0.1:1"


@pytest.fixture
def worker(monkeypatch):
    found = SimpleNamespace(
        handlers={}, plugins={PLUGIN: Mailboxes()}, data={}, address=HERE, events=[]
    )
    found.log_event = lambda name, message: found.events.append((name, message))
    found.plugins[PLUGIN].setup(found)
    monkeypatch.setattr(watch_file, "get_worker", lambda: found)
    return found


def over(worker):
    """Whether the run's mailbox is closed for good."""
    with pytest.raises(Aborted, match="the run has ended on rank 0"):
        Mailboxes.of(worker).enter("a-run")
    return True


def test_what_a_rank_returns_comes_with_where_it_ran_and_its_mailbox_is_gone(worker):
    def program(comm, array, *, factor):
        comm.report({"rank": comm.rank})
        return array * factor

    done = run_rank("a-run", 0, [HERE], 1.0, (program, (np.arange(3),), {"factor": 2}))
    assert (done.rank, done.worker, done.error) == (0, HERE, None)
    assert done.value.tolist() == [0, 2, 4]
    assert [name for name, _ in worker.events] == [topic("a-run")] * 2
    assert worker.events[0][1] == {"started": True}
    assert over(worker)


def test_what_a_rank_raises_comes_with_its_step_and_traceback(worker):
    def program(comm):
        comm.step = 7
        raise KeyError("no such row")

    done = run_rank("a-run", 0, [HERE], 1.0, (program, (), {}))
    assert isinstance(done.error, KeyError)
    assert (done.rank, done.step, done.worker) == (0, 7, HERE)
    assert "in program" in done.error.__notes__[0]
    assert over(worker)


def test_a_rank_whose_run_has_ended_before_it_began_does_not_begin(worker):
    Mailboxes.of(worker).leave("a-run", "the run has ended on rank 0")
    done = run_rank("a-run", 0, [HERE], 1.0, (pytest.fail, ("it ran",), {}))
    assert isinstance(done.error, Aborted) and done.step is None
    assert worker.events == []


def test_a_rank_that_was_moved_does_not_begin(worker):
    done = run_rank("a-run", 0, ["tcp://elsewhere:1"], 1.0, (pytest.fail, ("it ran",), {}))
    assert isinstance(done.error, Moved)
    assert (done.rank, done.worker) == (0, "tcp://elsewhere:1")


def future(status, result=None, error=None):
    def give(timeout):
        if isinstance(result, BaseException):
            raise result
        return result

    return SimpleNamespace(status=status, result=give, exception=lambda timeout: error)


RUNNING = SimpleNamespace(status="running")


def fetched(one):
    return fetch_outcome(RUNNING, one, 1, HERE, 1.0)


def test_how_a_rank_ended_is_what_its_task_returned():
    outcome = Outcome(1, value=5)
    assert fetched(future("finished", outcome)) is outcome


@pytest.mark.parametrize(
    "one",
    [
        future("finished", Outcome(1, error=Moved("to another worker"))),
        future("finished", FutureCancelledError("key", "lost")),
        future("error", error=KilledWorker("task", None, 3)),
    ],
    ids=["moved", "died before it was fetched", "killed"],
)
def test_a_task_whose_worker_was_lost_has_no_outcome(one):
    assert fetched(one) is None


def test_an_error_of_the_task_itself_is_the_outcome():
    error = ModuleNotFoundError("no module named 'mine'")
    found = fetched(future("error", error=error))
    assert (found.rank, found.worker, found.error) == (1, HERE, error)


def test_a_task_that_was_cancelled_is_an_error_that_says_so():
    found = fetched(future("cancelled"))
    assert found.rank == 1 and "was cancelled" in str(found.error)
