"""Of several failures, the cause is reported and not its consequences."""

from __future__ import annotations

import pickle
import threading

import pytest

from course_lib.checkpoint import CheckpointError
from course_lib.parallel import errors
from course_lib.parallel.comm.outcome import Outcome, Supervisor, first_cause


def test_the_cause_comes_before_its_consequences_in_whatever_order_they_arrive():
    ranked = [
        ValueError("user"),
        errors.WorkerLost("lost"),
        errors.CommTimeout("late"),
        errors.Aborted("stopped"),
    ]
    for cause in range(4):
        outcomes = [Outcome(i, error=e) for i, e in enumerate(ranked[cause:])]
        for order in (outcomes, outcomes[::-1]):
            found = first_cause(order)
            assert (found.__cause__ or found) is ranked[cause]


def test_the_first_of_equals_is_reported():
    first = first_cause([Outcome(2, error=KeyError("a")), Outcome(1, error=KeyError("b"))])
    assert str(first) == "rank 2 failed: KeyError: 'a'"


def test_trouble_with_checkpoints_is_no_failure_of_the_program():
    error = CheckpointError("no room in /run")
    found = first_cause(
        [Outcome(1, error=errors.Aborted("stopped")), Outcome(0, error=error, step=4)]
    )
    assert isinstance(found, errors.CheckpointFailed)
    assert isinstance(found, errors.ParallelError)
    assert not isinstance(found, errors.RankFailed)
    assert str(found) == "rank 0 stopped in step 4: no room in /run"
    assert (found.rank, found.step, found.__cause__) == (0, 4, error)
    early = first_cause([Outcome(0, error=error, step=-1)])
    assert str(early) == "rank 0 stopped: no room in /run"


def test_no_failure_is_no_error():
    assert first_cause([Outcome(0, value=1)]) is None
    ranks = Supervisor(2, stop=pytest.fail)
    ranks.end(Outcome(1, value="b"))
    assert not ranks.done and ranks.left() is None  # a rank may take as long as it likes
    ranks.end(Outcome(0, value="a"))
    assert ranks.done and ranks.values() == ["a", "b"]


def test_at_the_first_failure_the_others_are_stopped_once_and_get_some_seconds():
    reasons: list[str] = []
    ranks = Supervisor(3, reasons.append, grace=5.0)
    ranks.limit(60.0)
    assert 59 < ranks.left() <= 60
    ranks.started()
    assert ranks.left() is None
    ranks.end(Outcome(2, error=errors.Aborted("stopped")))
    assert reasons == ["stopped"] and ranks.failed and not ranks.done
    ranks.started()  # heard late: the seconds to stop in go on
    assert 4 < ranks.left() <= 5
    ranks.end(Outcome(1, error=errors.WorkerLost("lost")))  # the cause is heard of later
    ranks.end(Outcome(1, value="too late"))
    assert reasons == ["stopped"]
    with pytest.raises(errors.WorkerLost, match="lost"):
        ranks.values()


NAMES = [
    name for name, e in vars(errors).items() if getattr(e, "__module__", "") == errors.__name__
]


@pytest.mark.parametrize("name", [name for name in NAMES if name[0].isupper()])
def test_errors_survive_pickling(name):
    error = getattr(errors, name)("a sentence", rank=1, worker="tcp://host:1", step=7)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.rank, copy.worker, copy.step) == ("a sentence", 1, "tcp://host:1", 7)
    assert isinstance(copy, errors.ParallelError)


class Locked(Exception):
    def __init__(self):
        super().__init__("with a lock")
        self.lock = threading.Lock()


def test_an_outcome_can_always_travel_and_keeps_the_traceback():
    for error, text in ((KeyError("row"), "'row'"), (Locked(), "Locked: with a lock")):
        try:
            raise error
        except Exception as raised:
            outcome = Outcome(1, error=raised, step=3, worker="tcp://host:1").portable()
        copy = pickle.loads(pickle.dumps(outcome))
        assert text in str(copy.error)
        assert "raise error" in str(copy.error) + "".join(getattr(copy.error, "__notes__", ()))
        assert (copy.rank, copy.step, copy.worker) == (1, 3, "tcp://host:1")
    assert Outcome(0, value=5).portable() == Outcome(0, value=5)
