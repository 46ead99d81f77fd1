"""What the driver concludes of what it hears, and whom it restarts; without a cluster."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed")

from course_lib.parallel.comm.dask_comm import ABORT, PLUGIN, Mailboxes
from course_lib.parallel.comm.outcome import Outcome, first_cause
from course_lib.parallel.errors import Aborted, WorkerLost
from course_lib.parallel.launch import watch as watch_file
from course_lib.parallel.launch import workers as workers_file
from course_lib.parallel.launch.watch import Watch
from course_lib.parallel.launch.workers import Orphans, revive

PLACES = ["tcp://a:1", "tcp://b:1", "tcp://c:1"]


@pytest.fixture
def told(monkeypatch):
    """What the driver asks of workers, in this order: (workers, operation)."""
    calls = []
    monkeypatch.setattr(
        watch_file, "ask", lambda client, workers, op, **message: calls.append((set(workers), op))
    )
    return calls


def explained(watch):
    cause = first_cause(list(watch._ranks.outcomes.values()))
    watch._explain(cause)
    return cause


def test_a_silent_worker_is_told_to_stop_with_the_others_and_is_stuck_like_those_that_go_on(told):
    watch = Watch(None, PLACES, None)
    watch._mark_silent(1, "worker tcp://b:1 did not answer")
    # It may wake up, in the middle of a run that has been given up.
    assert told == [(set(PLACES), ABORT)]
    watch._ranks.end(Outcome(0, error=Aborted("stopped"), step=4))
    cause = explained(watch)
    assert (cause.rank, cause.worker) == (1, "tcp://b:1")
    assert cause.stuck == ("tcp://b:1", "tcp://c:1")  # rank 0 has stopped
    assert [note.split()[1] for note in cause.__notes__] == ["2"]


def test_the_step_of_a_lost_worker_is_the_last_that_another_rank_was_in(told):
    watch = Watch(None, PLACES, None)
    watch._lose("tcp://c:1")
    watch._ranks.end(Outcome(0, error=Aborted("stopped"), step=7))
    watch._ranks.end(Outcome(1, error=Aborted("stopped"), step=9))
    cause = explained(watch)
    assert isinstance(cause, WorkerLost)
    assert (cause.rank, cause.worker, cause.step, cause.stuck) == (2, "tcp://c:1", 9, ())
    assert cause.__notes__ == ["The other ranks were in step 9."]


def test_a_step_that_is_known_is_not_replaced(told):
    watch = Watch(None, PLACES[:2], None)
    watch._ranks.end(Outcome(0, error=WorkerLost("lost", step=3), step=3))
    watch._ranks.end(Outcome(1, error=Aborted("stopped"), step=8))
    assert explained(watch).step == 3


def test_only_what_still_runs_is_stopped(told):
    watch = Watch(None, PLACES, None)
    watch._ranks.end(Outcome(2, value="done"))
    watch._lose("tcp://a:1")
    assert told == [({"tcp://b:1"}, ABORT)]


@pytest.fixture
def restarted(monkeypatch):
    """A cluster of PLACES in which b answers; whom revive restarts. Of c, that goes wrong."""
    calls = []

    def restart_workers(addresses, *_):
        calls.extend(addresses)
        if addresses == ["tcp://c:1"]:
            raise ValueError("no nanny")

    own = SimpleNamespace(
        nthreads=lambda: dict.fromkeys(PLACES, 1), restart_workers=restart_workers
    )
    monkeypatch.setattr(workers_file, "answers", lambda client, worker: worker == "tcp://b:1")
    monkeypatch.setattr(workers_file, "connect", lambda *_, **__: nullcontext(own))
    return calls


def test_a_worker_that_answers_or_is_gone_is_not_restarted(restarted):
    assert revive("tcp://scheduler", [*PLACES, "tcp://gone:1"], 1.0) == ["tcp://c:1"]
    assert restarted == ["tcp://a:1", "tcp://c:1"]
    assert revive("tcp://scheduler", [], 1.0) == []


def worker():
    """As much of a Dask worker as the mailboxes need."""
    found = SimpleNamespace(handlers={}, plugins={PLUGIN: Mailboxes()}, data={})
    found.plugins[PLUGIN].setup(found)
    return found


def test_a_rank_that_is_cancelled_while_it_runs_is_stopped_and_no_other(told):
    place = worker()
    orphans = Orphans()
    orphans.setup(place)
    boxes = place.plugins[PLUGIN]
    boxes.enter("one")
    boxes.enter("two")
    for key, start, finish in (
        ("rank-one-0", "executing", "memory"),  # has ended by itself
        ("rank-one-0", "waiting", "released"),  # did not run yet
        ("other-one-0", "executing", "cancelled"),  # somebody else's task
    ):
        orphans.transition(key, start, finish)
        boxes.enter("one")
    orphans.transition("rank-one-0", "executing", "cancelled")
    with pytest.raises(Aborted, match="the driver has cancelled this rank"):
        boxes.enter("one")
    boxes.enter("two")


def test_workers_that_have_their_mailboxes_keep_them():
    place, added = worker(), []

    async def plugin_add(plugin, name):
        added.append(name)
        place.plugins[name] = plugin

    place.plugin_add = plugin_add
    before = place.plugins[PLUGIN]
    for _ in range(2):
        asyncio.run(workers_file._equip(place))
    assert place.plugins[PLUGIN] is before and added == [Orphans.name]
