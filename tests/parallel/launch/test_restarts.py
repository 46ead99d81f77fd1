"""When all ranks start again, who hears of it, and what is raised in the end."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed")

from course_lib.parallel.errors import (
    Aborted,
    ClusterUnreachable,
    CommTimeout,
    MoreWorkers,
    NotEnoughWorkers,
    RankFailed,
    SchedulerLost,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.launch import ranks as ranks_file
from course_lib.parallel.launch import run_with_restarts
from course_lib.parallel.launch.ranks import Relauncher


class Story:
    """A run whose attempts end as was said; what it tells, in order."""

    def __init__(self, *ends, **options):
        self.ends, self.told, self.options = list(ends), [], options

    def attempt(self):
        self.told.append("run")
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def run(self, max_restarts=2):
        return run_with_restarts(
            self.attempt,
            max_restarts=max_restarts,
            again=lambda what, error: self.told.append((what, error)),
            repair=lambda error: self.told.append(("repair", error)),
            lost=lambda error: self.told.append(("lost", error)),
            **self.options,
        )


A, B, C = WorkerLost("a"), CommTimeout("b"), WorkerLost("c")


def test_after_each_failure_the_cluster_is_repaired_and_all_run_again():
    story = Story(A, B, "trained")
    assert story.run() == ("trained", 2)
    assert story.told == [
        "run", ("lost", A), ("repair", A), ("restart 1 of 2", A),
        "run", ("lost", B), ("repair", B), ("restart 2 of 2", B),
        "run",
    ]  # fmt: skip


def test_when_the_budget_is_spent_the_last_failure_names_the_first():
    first, last = WorkerLost("the first"), WorkerLost("the last")
    story = Story(first, CommTimeout("between"), last)
    with pytest.raises(WorkerLost, match="the last") as e:
        story.run()
    assert e.value.__cause__ is first
    assert e.value.__notes__ == [
        "The budget of 2 restarts is spent.",
        "The first failure was: the first",
    ]
    assert story.told[-2:] == ["run", ("lost", last)]  # the last is heard of, too
    alone = WorkerLost("alone")
    with pytest.raises(WorkerLost) as e:
        Story(alone).run(max_restarts=0)
    assert e.value.__notes__ == ["The budget of 0 restarts is spent."]
    assert e.value.__cause__ is None


def test_more_workers_cost_nothing():
    story = Story(MoreWorkers("more"), MoreWorkers("more"), "trained")
    assert story.run(max_restarts=0) == ("trained", 0)
    assert story.told == 2 * ["run", ("restart with more workers", None)] + ["run"]


def test_workers_that_were_never_ours_are_not_waited_for_but_those_that_were_are():
    busy = WorkersBusy("held by another run")
    story = Story(busy)
    with pytest.raises(WorkersBusy):
        story.run()
    assert story.told == ["run"]
    assert Story(A, busy, "trained").run() == ("trained", 2)
    assert Story(MoreWorkers("more"), busy, "trained").run() == ("trained", 1)


def test_what_is_hopeless_is_not_run_again():
    story = Story(WorkerLost("x"), hopeless="Nothing was saved.")
    with pytest.raises(WorkerLost) as e:
        story.run()
    assert e.value.__notes__ == ["Nothing was saved."]
    assert story.told == ["run"]


@pytest.mark.parametrize("kind", [RankFailed, Aborted, ClusterUnreachable, NotEnoughWorkers])
def test_anything_else_ends_the_run_and_names_the_loss_before_it(kind):
    story = Story(kind("no"))
    with pytest.raises(kind) as e:
        story.run()
    assert story.told == ["run"]
    assert e.value.__cause__ is None and not hasattr(e.value, "__notes__")
    loss = WorkerLost("lost")
    with pytest.raises(kind) as e:
        Story(loss, kind("no")).run()
    assert e.value.__cause__ is loss
    assert e.value.__notes__ == ["The first failure was: lost"]


@pytest.mark.parametrize("kind", [WorkerLost, CommTimeout, SchedulerLost])
def test_each_kind_of_loss_is_survived(kind):
    assert Story(kind("a"), kind("b"), "trained").run() == ("trained", 2)


def test_workers_that_could_not_be_restarted_are_avoided_from_then_on(monkeypatch):
    revived, launched = [], []

    def revive(client, stuck, timeout):
        revived.append((client, stuck, timeout))
        return stuck[:1]

    monkeypatch.setattr(ranks_file, "revive", revive)
    monkeypatch.setattr(ranks_file, "launch", lambda *args, **kw: launched.append((args, kw)))
    failure = WorkerLost("lost")
    with Relauncher("tcp://scheduler:1", (1, 3), timeout=5.0, among={"GPU": 1}) as cluster:
        for stuck in (("tcp://a:1", "tcp://b:1"), ("tcp://c:1",)):
            failure.stuck = stuck
            cluster.repair(failure)
        cluster.launch("program", on_report=None)
    assert revived[0] == ("tcp://scheduler:1", ("tcp://a:1", "tcp://b:1"), 5.0)
    [(args, options)] = launched
    assert args == ("tcp://scheduler:1", "program", (1, 3))
    avoided = {"tcp://a:1", "tcp://c:1"}
    assert options == {
        "timeout": 5.0, "avoid": avoided, "among": {"GPU": 1}, "on_report": None,
    }  # fmt: skip
