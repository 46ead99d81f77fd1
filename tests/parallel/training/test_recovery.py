"""A training that is interrupted anywhere ends with the bits of one that was not.

Here in threads, with failures made to order; on processes in test_killed_workers.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from course_lib import SGD, Adam, EarlyStopping, mlp
from course_lib.checkpoint import CheckpointError, latest_valid
from course_lib.checkpoint import load as load_checkpoint
from course_lib.parallel import Event, Strategy, train
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import (
    CheckpointMismatch,
    CommTimeout,
    RankFailed,
    WorkerLost,
    WorkersBusy,
)
from course_lib.parallel.training.driver import drive
from course_lib.parallel.training.events import Listener
from course_lib.parallel.training.prepare import make_job
from course_lib.parallel.training.recovery import first_job
from course_lib.parallel.training.recovery import saving as make_saving
from course_lib.parallel.training.replica import train_replica

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
NET = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
SETTINGS = {"epochs": 3, "batch_size": 10, "seed": 5, "validation": (XV, YV)}  # 6 steps per epoch
STEPS = 18


def parallel(folder=None, workers=2, optimizer=None, **options):
    options = {"comm": "inprocess", "timeout": 20, **SETTINGS} | options
    optimizer = optimizer or Adam(0.01)
    return train(NET, (X, Y), optimizer=optimizer, workers=workers, checkpoint=folder, **options)


@dataclass(frozen=True)
class Fragile(Strategy):
    """A strategy whose rank 1 fails before some steps, once each; named as the one it wraps."""

    strategy: object
    failures: list = field(repr=False)  # of (steps taken, error)

    def __repr__(self):
        return repr(self.strategy)

    def start(self, comm, job, clock):
        session = self.strategy.start(comm, job, clock)
        step = session.step

        def fragile(rows, epoch, number):
            if comm.rank == 1 and self.failures and self.failures[0][0] == comm.step:
                raise self.failures.pop(0)[1]
            return step(rows, epoch, number)

        session.step = fragile
        return session


def interrupted(folder, steps, *, every=2, workers=2, error=None, events=None, **options):
    """Train with failures of rank 1 before the given steps."""
    max_restarts = options.pop("max_restarts", len(steps))
    settings = {"strategy": "sync", "virtual_shards": None, "backend": "numpy", "stop": None}
    settings |= {"report": True, "optimizer": Adam(0.01), **SETTINGS} | options
    settings["workers"] = (workers, workers)
    fresh = make_job(NET, (X, Y), None, saving=make_saving(folder, every, 3), **settings)
    failures = [(s, error or WorkerLost(f"lost in step {s}", rank=1, step=s)) for s in steps]
    fresh = replace(fresh, strategy=Fragile(fresh.strategy, failures))
    with Listener(None if events is None else events.append, epochs=3) as listener:

        def attempt(job):
            return run_threads(
                workers, lambda c: train_replica(c, job), timeout=20, on_report=listener
            )

        return drive(
            attempt, fresh, first_job(fresh, "auto"), max_restarts=max_restarts, listener=listener,
            repair=None, timeout=20,
        )  # fmt: skip


def assert_same(ranks, reference):
    """Bits of the parameters, of the history, and of the optimizer's state."""
    assert {rank.digest for rank in ranks} == {reference.digests[0]}
    assert ranks[0].history == reference.history
    assert ranks[0].state.keys() == reference.state.keys()
    assert all(np.array_equal(ranks[0].state[k], v) for k, v in reference.state.items())


@pytest.mark.parametrize(
    ("every", "steps"), [(4, range(STEPS)), (1, [0, 5, 6, 17]), (None, [0, 5, 6, 17])]
)
def test_a_failure_before_any_step_changes_no_bit(tmp_path, every, steps):
    reference = parallel()
    for step in steps:
        ranks, restarts = interrupted(tmp_path / str(step), [step], every=every)
        assert restarts == 1
        assert_same(ranks, reference)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_ten_failures_change_no_bit(tmp_path, workers):
    steps = sorted(np.random.default_rng(workers).integers(0, STEPS, 10).tolist())
    ranks, restarts = interrupted(tmp_path, steps, every=3, workers=workers)
    assert restarts == 10
    assert_same(ranks, parallel(workers=workers))


def test_a_training_may_go_on_with_another_number_of_workers_and_keep_its_bits(tmp_path):
    reference = parallel(virtual_shards=8)
    for workers, epochs in ((1, 1), (4, 2), (3, 3)):
        result = parallel(tmp_path, workers, virtual_shards=8, epochs=epochs, every=4)
    assert set(result.digests) == set(reference.digests)
    assert result.history == reference.history
    assert result.state["t"] == STEPS


def test_without_virtual_shards_another_number_of_workers_is_the_same_up_to_rounding(tmp_path):
    with pytest.raises(WorkerLost):
        interrupted(tmp_path, [9], max_restarts=0, workers=2)  # in the middle of an epoch
    result, reference = parallel(tmp_path, 3), parallel()
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=1e-12)
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-12)


def test_a_new_driver_goes_on_where_the_old_one_was(tmp_path):
    with pytest.raises(WorkerLost):
        interrupted(tmp_path, [11], every=5, max_restarts=0)
    assert latest_valid(tmp_path).step == 10
    events = []
    result = parallel(tmp_path, every=5, on_event=events.append)
    assert result.digests == parallel().digests
    assert [e.epoch for e in events if e.kind == "metric"] == [1, 2]  # epoch 0 had ended before


def test_a_finished_training_is_not_repeated_and_a_longer_one_goes_on(tmp_path):
    first = parallel(tmp_path)
    events = []
    again = parallel(tmp_path, on_event=events.append)
    assert (again.digests, again.history, events) == (first.digests, first.history, [])
    longer = parallel(tmp_path, epochs=5)
    assert longer.digests == parallel(epochs=5).digests


def test_a_training_that_has_stopped_early_stays_stopped(tmp_path):
    options = {"stop": EarlyStopping(patience=1, metric="val_loss"), "epochs": 60}
    first = parallel(tmp_path, optimizer=Adam(0.1), **options)
    assert len(first.history["loss"]) < 60
    again = parallel(tmp_path, optimizer=Adam(0.1), **options)
    assert (again.digests, again.history) == (first.digests, first.history)


def test_a_failure_between_the_last_epoch_and_stopping_changes_nothing(tmp_path):
    """The checkpoint of an epoch is older than the decision to stop after it."""
    stop = EarlyStopping(patience=1, metric="loss")
    options = {"stop": stop, "optimizer": SGD(1.5), "epochs": 30}
    reference = parallel(**options)
    steps = 6 * len(reference.history["loss"])
    assert steps < 180
    ranks, _ = interrupted(tmp_path, [steps - 1], every=None, **options)
    assert_same(ranks, reference)


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path):
    with pytest.raises(WorkerLost):
        interrupted(tmp_path, [11], every=2, max_restarts=0)
    (newest,) = tmp_path.glob("step-00000010-*.safetensors")
    damaged = bytearray(newest.read_bytes())
    damaged[-1] ^= 1
    newest.write_bytes(damaged)
    with pytest.warns(RuntimeWarning, match="skipping step 10"):
        result = parallel(tmp_path, every=2)
    assert result.digests == parallel().digests


def test_the_budget_is_for_the_whole_training_and_the_first_cause_is_kept(tmp_path):
    with pytest.raises(WorkerLost, match="lost in step 9") as e:
        interrupted(tmp_path, [3, 5, 9, 15], max_restarts=2)
    assert str(e.value.__cause__) == "lost in step 3"
    assert "The budget of 2 restarts is spent." in e.value.__notes__
    assert "The first failure was: lost in step 3" in e.value.__notes__


def test_without_a_checkpoint_nothing_is_repeated():
    with pytest.raises(WorkerLost, match="lost in step 3") as e:
        interrupted(None, [3], every=None)
    assert "With checkpoint=directory" in e.value.__notes__[-1]


def test_silence_is_survived_and_an_exception_of_the_program_is_not(tmp_path):
    ranks, restarts = interrupted(tmp_path / "a", [7], error=CommTimeout("nothing came"))
    assert restarts == 1
    assert_same(ranks, parallel())
    with pytest.raises(RankFailed, match=r"failed in step 7: OverflowError: on purpose"):
        interrupted(tmp_path / "b", [7], error=OverflowError("on purpose"))


def test_workers_that_do_not_come_back_in_time_cost_one_restart_more(tmp_path):
    """Only at a restart: at the beginning they are busy with something else."""
    busy = WorkersBusy("the ranks did not start")
    calls = []

    def attempt(job):
        calls.append(job)
        if len(calls) < 4:
            raise [WorkerLost("lost"), busy, busy][len(calls) - 1]
        return ["ranks"]

    job = make_job(
        NET, (X, Y), None, workers=(1, 1), strategy="sync", virtual_shards=None, backend="numpy",
        optimizer=Adam(0.01), saving=make_saving(tmp_path, None, 3), stop=None, **SETTINGS,
    )  # fmt: skip
    with Listener(None, epochs=3) as listener:
        options = {"max_restarts": 3, "listener": listener, "repair": None, "timeout": 20}
        assert drive(attempt, job, replace(job), **options) == (["ranks"], 3)
        calls[:] = [None]
        with pytest.raises(WorkersBusy):
            drive(attempt, job, replace(job), **options)


def test_events_tell_the_story_and_each_epoch_ends_once(tmp_path):
    events = []
    interrupted(tmp_path, [8, 16], every=4, events=events)
    reference = parallel()
    rows = [e for e in events if e.kind == "metric"]
    assert [e.epoch for e in rows] == [0, 1, 2]
    assert [e.step for e in rows] == [6, 12, 18]
    for name, values in reference.history.items():
        assert [e.metrics[name] for e in rows] == values
    story = [(e.kind, e.step) for e in events if e.kind not in ("metric", "progress")]
    assert story == [
        ("checkpoint", 4),
        ("checkpoint", 8),
        ("worker_lost", 8),
        ("restart", 8),
        ("checkpoint", 12),
        ("checkpoint", 16),
        ("worker_lost", 16),
        ("restart", 16),
        ("checkpoint", 18),
    ]
    lost, again = (next(e for e in events if e.kind == k) for k in ("worker_lost", "restart"))
    assert (lost.message, again.message) == ("lost in step 8", "restart 1 of 2, from step 8")
    path = next(e.message for e in events if e.kind == "checkpoint")
    assert path.endswith("step-00000004.json")


def test_there_are_signs_of_life_within_an_epoch(monkeypatch):
    monkeypatch.setattr("course_lib.parallel.training.replica._PULSE", 0.0)
    events = []
    parallel(on_event=events.append)
    alive = [(e.epoch, e.step) for e in events if e.kind == "progress"]
    assert alive == [(s // 6, s + 1) for s in range(STEPS)]


def test_the_bar_survives_restarts_and_starts_where_the_training_does(tmp_path, capsys):
    fresh = [Event(e, {"loss": 0.5}, step=e) for e in range(3)]
    with Listener(None, epochs=5, progress=True) as listener:
        listener.resume(2)
        listener.tell("worker_lost", "lost")
        listener.resume(1)  # from an older checkpoint
        for event in fresh:
            listener(event._asdict())
    shown = capsys.readouterr().err
    assert "worker lost" in shown
    assert "3/5" in shown
    assert "loss=0.5" in shown


def test_the_bar_starts_where_the_training_does_and_never_goes_back(capsys):
    with Listener(None, epochs=5, progress=True) as listener:
        listener.resume(2)
        assert listener._bar.n == 2
        listener.resume(1)  # from an older checkpoint: what has been shown, stays
        assert listener._bar.n == 2
    with Listener(None, epochs=5) as listener:  # who has not asked for it sees none
        listener.resume(4)
    shown = capsys.readouterr().err
    assert (
        "2/5" in shown and "4/5" not in shown and shown.endswith("\n")
    )  # it is closed: the next line is another one


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    parallel(tmp_path, every=2, keep=2)
    assert sorted(p.name for p in tmp_path.glob("*.json")) == [
        "step-00000016.json",
        "step-00000018.json",
    ]


def test_a_checkpoint_or_a_directory_can_be_named(tmp_path):
    reference = parallel(tmp_path / "a", every=4, keep=9)
    middle = tmp_path / "a" / "step-00000008.json"
    for source in (middle, str(middle), tmp_path / "a"):
        result = parallel(tmp_path / "b", resume=source)
        assert (result.digests, result.history) == (reference.digests, reference.history)
    assert parallel(resume=middle).digests == reference.digests  # without saving any more
    with pytest.raises(CheckpointMismatch, match="its seed is 5, and here it is 6"):
        parallel(resume=middle, seed=6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"resume='.*empty' holds no valid checkpoint"):
        parallel(resume=tmp_path / "empty")
    with pytest.raises(CheckpointError, match="does not exist"):
        parallel(resume=tmp_path / "nothing.json")


def test_never_to_resume_needs_an_empty_directory(tmp_path):
    parallel(tmp_path, resume="never", epochs=1)
    with pytest.raises(ValueError, match=r"resume='never', but .* holds checkpoints"):
        parallel(tmp_path, resume="never", epochs=1)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"optimizer": Adam(0.02)}, r"its optimizer is Adam\(lr=0.01.* here it is Adam\(lr=0.02"),
        ({"optimizer": Adam(0.01, amsgrad=True)}, r"its optimizer .*, and here .*, amsgrad=True\)"),
        (
            {"optimizer": Adam(0.01, maximize=True)},
            r"its optimizer .*, and here .*, maximize=True\)",
        ),
        ({"optimizer": Adam(0.01, weight_decay=0.1)}, r"its optimizer .*, and here .*decay=0\.1\)"),
        ({"batch_size": 9}, "its batch_size is 10, and here it is 9"),
        ({"seed": 6}, "its seed is 5, and here it is 6"),
        ({"virtual_shards": 4}, r"its strategy is SyncSGD.* here it is VirtualShards\(shards=4"),
        ({"theta": NET.init(np.random.default_rng(1))}, r"its initial theta is \(69,\), sha256"),
        ({"theta": np.zeros(69, np.float32)}, "its dtype is float64, and here it is float32"),
        ({"validation": None}, r"its validation data is .*\(11, 7\).* here it is none"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, options, name):
    parallel(tmp_path, epochs=1)
    with pytest.raises(CheckpointMismatch, match=f"another training: {name}") as e:
        parallel(tmp_path, **options)
    assert e.value.step == 6
    parallel(tmp_path, workers=3, stop=lambda history: False, epochs=2)  # these may change


def test_a_checkpoint_of_other_data_or_of_no_training_is_refused(tmp_path):
    from course_lib.checkpoint import save

    parallel(tmp_path / "a", epochs=1)
    with pytest.raises(CheckpointMismatch, match="its training data is"):
        options = SETTINGS | {"epochs": 1, "optimizer": Adam(0.01), "comm": "inprocess"}
        train(NET, (X + 1e-9, Y), checkpoint=tmp_path / "a", **options)
    save(tmp_path / "b", step=1, arrays={"theta": np.zeros(69)})
    with pytest.raises(CheckpointMismatch, match="was not written by train"):
        parallel(tmp_path / "b")


@dataclass(frozen=True)
class Remembers(Strategy):
    """Plain steps with a memory per rank, which changes them."""

    strategy: object

    def __repr__(self):
        return "Remembers()"

    def start(self, comm, job, clock):
        session = self.strategy.start(comm, job, clock)
        step, name = session.step, f"memory.{comm.rank}"
        memory = np.array(job.extra.get(name, np.zeros(1)))

        def remember(rows, epoch, number):
            memory[0] += comm.rank + 1
            return step(rows[: max(1, len(rows) - int(memory[0]) % 3)], epoch, number)

        def extra():
            from course_lib.parallel.collectives import all_gather

            return {f"memory.{r}": m for r, m in enumerate(all_gather(comm, memory))}

        session.step, session.extra = remember, extra
        return session


def test_what_a_strategy_remembers_is_resumed_by_as_many_ranks_only(tmp_path):
    from course_lib.parallel import SyncSGD

    strategy = Remembers(SyncSGD())
    with pytest.raises(WorkerLost):
        interrupted(tmp_path, [9], every=4, max_restarts=0, strategy=strategy, workers=1 + 1)
    point = load_checkpoint(tmp_path / "step-00000008.json")
    assert [point.arrays[f"extra.memory.{r}"][0] for r in (0, 1)] == [8, 16]
    with pytest.raises(CheckpointMismatch, match=r"written by 2 ranks.*Remembers.*not with 3"):
        parallel(tmp_path, 3, strategy=strategy)
    result = parallel(tmp_path, strategy=strategy)
    assert result.digests == parallel(strategy=strategy).digests


def test_a_driver_that_does_not_see_the_checkpoints_says_so(tmp_path):
    def lose(event):
        if event.kind == "worker_lost":
            for path in tmp_path.iterdir():
                path.unlink()

    class Eraser(list):
        append = staticmethod(lose)

    with pytest.raises(CheckpointError, match=r"after step 8, but the driver finds none in"):
        interrupted(tmp_path, [8], every=4, events=Eraser())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"every": 5}, ValueError, "every= says when to save, and checkpoint= must say where"),
        ({"every": 0, "folder": "a"}, ValueError, "every must be an integer of at least 1"),
        ({"keep": 0, "folder": "a"}, ValueError, "keep must be an integer of at least 1"),
        ({"max_restarts": -1}, ValueError, "max_restarts must be an integer of at least 0"),
        (
            {"workers": (3, 2)},
            ValueError,
            r"workers=\(least, most\) needs least <= most, got \(3, 2\)",
        ),
    ],
)
def test_wrong_arguments_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        parallel(**options)


def test_the_loss_of_an_epoch_under_way_keeps_its_bits_in_the_file(tmp_path):
    with pytest.raises(WorkerLost):
        interrupted(tmp_path, [4], every=2, max_restarts=0)
    text = json.loads((tmp_path / "step-00000004.json").read_text())["meta"]["progress"]
    assert (text["epoch"], text["step"], text["taken"]) == (0, 4, 4)
    assert len(text["losses"]) == 2
    assert all(loss > 0 for loss in text["losses"])
