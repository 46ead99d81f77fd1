"""A folder that cannot be used, a full disk, checkpoints of others: a sentence, and what to do."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from course_lib import SGD, Adam, mlp
from course_lib.checkpoint import CheckpointError, latest_valid, load, save
from course_lib.parallel import train
from course_lib.parallel.errors import CheckpointFailed, CheckpointMismatch, ParallelError

pytestmark = pytest.mark.timeout(60)

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
NET = mlp([7, 6, 3], hidden="tanh")
OPTIONS = {"epochs": 3, "batch_size": 10, "seed": 5, "every": 2}


def go(folder, **options):
    options = {"optimizer": Adam(0.01), "comm": "inprocess", "timeout": 20, **OPTIONS} | options
    return train(NET, (X, Y), checkpoint=folder, **options)


def rows_of(n):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 4)), rng.integers(0, 2, n)


CHANGES = {
    "every second row": lambda x, y: (np.where(np.arange(len(x))[:, None] % 2, x, 7.0), y),
    "every second label": lambda x, y: (x, np.where(np.arange(len(y)) % 2, 1 - y, y)),
    "the last row": lambda x, y: (np.where(np.arange(len(x))[:, None] == len(x) - 1, 7.0, x), y),
    "two rows changed places": lambda x, y: (x[[0, 2, 1, *range(3, len(x))]], y),
    "one label near the end": lambda x, y: (x, np.where(np.arange(len(y)) == len(y) - 2, 1 - y, y)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", ["data", "validation"])
def test_a_checkpoint_of_data_with_other_rows_is_refused(tmp_path, change, place):
    def run(data):
        given = {"data": (rows_of(9), None), "validation": (data, rows_of(9))}[place]
        data, validation = (data, None) if place == "data" else (rows_of(9), data)
        assert given is not None
        return train(
            mlp([4, 2]), data, validation=validation, optimizer=SGD(0.1), epochs=1,
            batch_size=5000, workers=1, comm="inprocess", checkpoint=tmp_path,
        )  # fmt: skip

    data = rows_of(10_000)
    run(data)
    run(data)  # the same is the same
    name = "training data" if place == "data" else "validation data"
    with pytest.raises(CheckpointMismatch, match=f"another training: its {name} is "):
        run(CHANGES[change](*data))


def test_a_checkpoint_of_another_schedule_is_refused_though_both_are_lambdas(tmp_path):
    go(tmp_path, optimizer=SGD(lambda t: 0.1))
    go(tmp_path, optimizer=SGD(lambda t: 0.1))
    with pytest.raises(CheckpointMismatch, match="its optimizer is SGD.*lambda.* and here it is"):
        go(tmp_path, optimizer=SGD(lambda t: 0.001))


@pytest.fixture
def steps(monkeypatch):
    """Count the steps that are taken."""
    taken = []
    monkeypatch.setattr(
        "course_lib.parallel.training.replica.check_finite", lambda *place: taken.append(place)
    )
    return taken


def unusable(folder: Path) -> Path:
    folder.write_text("a file")
    return folder / "run"


def no_temporary_file(monkeypatch, number, text):
    def fail(**options):
        raise OSError(number, text, options["dir"])

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)


@pytest.mark.parametrize("kind", ["a file", "in a file", "read-only", "full"])
def test_an_unusable_folder_is_noticed_before_the_first_step(tmp_path, monkeypatch, steps, kind):
    folder = tmp_path / "run"
    if kind in ("a file", "in a file"):
        folder.write_text("")
        folder = folder / "run" if kind == "in a file" else folder
    else:
        what = {"read-only": (30, "Read-only file system"), "full": (28, "No space left")}[kind]
        no_temporary_file(monkeypatch, *what)
    with pytest.raises(CheckpointError, match=r"run.* \((Not a dir|Read-only|No space)") as e:
        go(folder)
    assert str(folder) in str(e.value)
    assert steps == []


def test_a_finished_training_can_be_asked_for_again_where_nothing_can_be_written(
    tmp_path, monkeypatch
):
    first = go(tmp_path)
    no_temporary_file(monkeypatch, 30, "Read-only file system")
    assert go(tmp_path).digests == first.digests


def test_a_disk_that_is_full_in_the_middle_is_told_with_the_folder_and_can_be_gone_on_from(
    tmp_path, monkeypatch
):
    written, fsync = [], os.fsync

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 8:  # a checkpoint takes four
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as m:
        m.setattr(os, "fsync", full)
        with pytest.raises(CheckpointFailed) as e:
            go(tmp_path)
    assert isinstance(e.value, ParallelError)
    assert isinstance(e.value, CheckpointError)
    assert str(e.value) == (
        f"rank 0 stopped in step 5: the checkpoint of step 6 could not be written to {tmp_path} "
        "(No space left on device). What was saved before is as it was: make room, or let this "
        "program write there, and go on from the newest checkpoint."
    )
    assert latest_valid(tmp_path).step == 4
    assert go(tmp_path).digests == go(None, every=None).digests


# The folder goes when the driver hears of step 4: the next checkpoint may be half written by then.
@pytest.mark.filterwarnings("ignore:skipping step 6")
def test_a_folder_that_goes_away_under_processes_is_told_too(tmp_path, client):
    folder = tmp_path / "run"

    def replace(event):
        if event.kind == "checkpoint" and event.step == 4:
            shutil.move(folder, tmp_path / "moved")
            folder.write_text("a file")

    with pytest.raises(CheckpointFailed, match=r"on worker .* could not be written to .*run"):
        go(folder, comm="auto", client=client, on_event=replace)
    folder.unlink()
    shutil.move(tmp_path / "moved", folder)
    result = go(folder, comm="auto", client=client)
    assert result.digests == go(None, every=None).digests


NOT_PATHS = [
    ("", ValueError, "must be the path of a file or folder, got ''"),
    ("a\0b", ValueError, "must be the path of a file or folder, got 'a"),
    (5, TypeError, "must be the path of a file or folder, got int"),
    (True, TypeError, "must be the path of a file or folder, got bool"),
    (b"run", TypeError, "must be the path of a file or folder, got bytes"),
    (["run"], TypeError, "must be the path of a file or folder, got list"),
]


@pytest.mark.parametrize(("value", "error", "match"), NOT_PATHS)
def test_what_is_no_path_is_refused(value, error, match):
    with pytest.raises(error, match=f"^train: checkpoint {match}"):
        go(value)
    with pytest.raises(error, match=f"^train: resume {match}"):
        go(None, every=None, resume=value)


def test_a_folder_whose_name_other_processes_cannot_be_told_is_refused(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/run\xe9")
    os.mkdir(folder)
    with pytest.raises(ValueError, match=r"train: checkpoint must have a name in UTF-8.*run\\xe9'"):
        go(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert go(link).digests == go(None, every=None).digests


def test_a_relative_folder_is_that_of_the_driver(tmp_path, monkeypatch, client):
    monkeypatch.chdir(tmp_path)
    told = []
    go("run", client=client, comm="auto", on_event=told.append)
    paths = [event.message for event in told if event.kind == "checkpoint"]
    assert set(map(os.path.dirname, paths)) == {str(tmp_path / "run")}
    assert latest_valid(tmp_path / "run").step == 18


@pytest.mark.parametrize(
    "change",
    [
        lambda a, m: a.pop("theta"),
        lambda a, m: m.pop("state"),
        lambda a, m: m.pop("progress"),
        lambda a, m: m["progress"].update(more=1),
        lambda a, m: m.update(progress=7),
        lambda a, m: m.update(state=7),
        lambda a, m: m.update(config=None),
        lambda a, m: m["config"].pop("seed"),
    ],
)
def test_a_checkpoint_that_lacks_what_train_writes_is_refused(tmp_path, change):
    go(tmp_path)
    point = load(tmp_path / "step-00000018.json")
    change(point.arrays, point.meta)
    save(tmp_path, step=20, arrays=point.arrays, meta=point.meta)
    with pytest.raises(CheckpointMismatch, match=r"the checkpoint of step 20 in .* "):
        go(tmp_path)
