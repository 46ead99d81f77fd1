"""The driver's decisions, one by one: who is to blame, who is stuck, who is restarted, and when."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed")

from course_lib.parallel.comm.outcome import Outcome
from course_lib.parallel.errors import (
    Aborted,
    CommTimeout,
    RankFailed,
    WorkerLost,
)
from course_lib.parallel.launch import ranks, watch, workers
from course_lib.parallel.launch.watch import Watch

PLACES = ["tcp://a:1", "tcp://b:1", "tcp://c:1", "tcp://d:1"]


class FakeClient:
    """A cluster whose workers answer, or do not, as they are told."""

    status = "running"

    def __init__(self, silent=(), results=()):
        self.silent, self.results, self.asked = set(silent), dict(results), []

    def check(self, patience=5.0):
        pass

    def ask(self, client, addresses, op, *, patience=None, **message):
        self.asked.append((op, tuple(addresses)))
        if op == watch.ABORT:
            return {}
        there = [address for address in addresses if address not in self.silent]
        return {a: self.results.get(a, {"started": True}) for a in there}


@pytest.fixture
def watching(monkeypatch):
    def make(**options):
        client = FakeClient(**options)
        monkeypatch.setattr(watch, "ask", client.ask)
        return client, Watch(client, PLACES, None)

    return make


def verdict(watching):
    with pytest.raises(Exception) as e:
        watching._wait(1.0, 0.01)
    return e.value


def test_the_silent_are_the_cause_are_stuck_and_are_told_to_stop_in_case_they_wake(watching):
    client, run = watching(silent=[PLACES[2]])
    run._ranks.grace = 0.0
    run._ranks.started()
    run._look_after_silent(0.01)
    run._ranks.end(Outcome(0, error=Aborted("told to stop")))
    run._ranks.end(Outcome(1, value=5))
    cause = verdict(run)
    assert isinstance(cause, CommTimeout) and (cause.rank, cause.worker) == (2, PLACES[2])
    assert cause.stuck == (PLACES[2], PLACES[3])  # the frozen one, and the one still computing
    assert [note[:6] for note in cause.__notes__] == ["Rank 3"]
    [stopped] = [addresses for op, addresses in client.asked if op == watch.ABORT]
    assert set(stopped) == set(PLACES)


def test_all_that_are_silent_are_found_and_those_that_answer_are_left_alone(watching):
    _, run = watching(silent=[PLACES[1], PLACES[3]], results={PLACES[0]: {"started": True}})
    run._ranks.grace = 0.0
    run._ranks.started()
    run._look_after_silent(0.01)
    assert set(run._ranks.outcomes) == {1, 3}
    assert verdict(run).rank == 1  # the first
    assert run._silent == [PLACES[1], PLACES[3]]


def test_a_lost_worker_is_told_with_the_step_that_the_others_were_in(watching):
    _, run = watching()
    run._ranks.end(Outcome(1, error=Aborted("rank 2 was lost"), step=41))
    run._lose(PLACES[2])
    run._ranks.end(Outcome(0, error=Aborted("rank 2 was lost"), step=43))
    run._ranks.end(Outcome(3, error=Aborted("rank 2 was lost"), step=None))
    cause = verdict(run)
    assert isinstance(cause, WorkerLost) and (cause.rank, cause.step) == (2, 43)
    assert cause.__notes__ == ["The other ranks were in step 43."]
    assert cause.stuck == ()


def test_a_step_that_is_known_stays_and_a_lost_worker_without_others_has_none(watching):
    _, run = watching()
    run._ranks.end(Outcome(0, error=WorkerLost("lost while sending", step=7), step=7))
    for rank in (1, 2, 3):
        run._ranks.end(Outcome(rank, error=Aborted("stopped"), step=9))
    assert verdict(run).step == 7
    _, run = watching()
    for place in PLACES:
        run._lose(place)
    assert verdict(run).step is None


def test_the_first_cause_is_neither_the_last_heard_nor_that_of_the_lowest_rank(watching):
    _, run = watching()
    run._ranks.end(Outcome(3, error=Aborted("stopped")))
    run._ranks.end(Outcome(2, error=ValueError("first"), step=5))
    run._ranks.end(Outcome(1, error=ValueError("second"), step=6))
    run._lose(PLACES[0])
    cause = verdict(run)
    assert isinstance(cause, RankFailed) and (cause.rank, cause.step) == (2, 5)
    assert str(cause.__cause__) == "first"


def test_a_rank_that_was_heard_of_is_not_asked_for_again(watching):
    client, run = watching()
    run._ranks.started()
    run._ranks.end(Outcome(1, value=0))
    run._look_after_silent(0.01)
    assert [place for op, [place] in client.asked if op == watch.RESULT] == [
        PLACES[0], PLACES[2], PLACES[3],
    ]  # fmt: skip


def test_results_that_were_not_announced_are_taken(watching):
    found = {p: {"started": True, "result": Outcome(r, value=r**2)} for r, p in enumerate(PLACES)}
    _, run = watching(results=found)
    run._look_after_silent(0.01)
    assert run._ranks.done and run._ranks.values() == [0, 1, 4, 9]


# --- who is restarted ---


class Restarting(FakeClient):
    limit = 0.0

    def __init__(self, there, nannies):
        super().__init__()
        self.there, self.nannies, self.restarted = there, nannies, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def nthreads(self):
        return dict.fromkeys(self.there, 1)

    def restart_workers(self, addresses, timeout):
        self.restarted += addresses
        if not set(addresses) <= set(self.nannies):
            raise ValueError("Restarting workers requires a nanny to be used.")


def test_only_workers_that_do_not_answer_are_restarted_and_avoided_if_they_can_not_be(monkeypatch):
    healthy, frozen, bare, _ = PLACES
    client = Restarting([healthy, frozen, bare], [healthy, frozen])
    monkeypatch.setattr(workers, "connect", lambda *_, **__: client)
    monkeypatch.setattr(workers, "answers", lambda own, worker: worker == healthy)
    assert workers.revive("tcp://s:1", PLACES, 5.0) == [bare]
    assert client.restarted == [frozen, bare]
    assert client.limit > 5.0  # a restart takes longer than an answer
    monkeypatch.setattr(workers, "connect", lambda *_, **__: pytest.fail("nobody is stuck"))
    assert workers.revive("tcp://s:1", [], 5.0) == []


def test_what_can_not_be_restarted_is_avoided_by_all_later_attempts(monkeypatch):
    seen = []
    monkeypatch.setattr(ranks, "revive", lambda cluster, stuck, timeout: [stuck[0]])
    monkeypatch.setattr(ranks, "launch", lambda *_, avoid, **__: seen.append(set(avoid)) or [])
    with ranks.Relauncher("tcp://s:1", (1, 1), timeout=1.0) as cluster:
        for stuck in (PLACES[:1], PLACES[1:2]):
            failure = CommTimeout("frozen")
            failure.stuck = tuple(stuck)
            cluster.repair(failure)
            cluster.launch(None)
    assert seen == [{PLACES[0]}, set(PLACES[:2])]
