"""What happens in a training is written where it is asked for, once."""

from __future__ import annotations

import csv
import importlib.util
import logging

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.parallel import Event, train
from course_lib.parallel.training import CSVLog, LogEvents, TensorBoardLog, together

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
OPTIONS = {"optimizer": SGD(0.1), "batch_size": 4, "workers": 2, "comm": "inprocess"}


def run(on_event, epochs=3, **options):
    return train(mlp([3, 2]), (X, Y), on_event=on_event, epochs=epochs, **OPTIONS | options)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_line_per_epoch_also_after_the_training_has_gone_on(tmp_path):
    path = tmp_path / "epochs.csv"
    run(CSVLog(path), epochs=2, checkpoint=tmp_path / "run", validation=(X, Y))
    result = run(CSVLog(path), checkpoint=tmp_path / "run", validation=(X, Y))
    lines = table(path)
    assert [(line["epoch"], line["step"]) for line in lines] == [("0", "3"), ("1", "6"), ("2", "9")]
    for name, values in result.history.items():
        assert [float(line[name]) for line in lines] == values
    with pytest.raises(ValueError, match="has the columns epoch, step, loss, val_loss, val_acc"):
        run(CSVLog(path), epochs=1)


def test_events_are_logged_by_their_weight(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "course_lib"):
        run(LogEvents(), epochs=1, checkpoint=tmp_path)
        LogEvents()(Event(0, {}, "worker_lost", 3, "rank 1 was lost"))
        LogEvents()(Event(0, {}, "progress", 3))
    found = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in found] == ["INFO", "INFO", "WARNING"]
    assert found[0][1].startswith("epoch 0, step 3: loss ")
    assert found[1][1].startswith("checkpoint: ") and found[1][1].endswith(".json")
    assert found[2][1] == "worker lost: rank 1 was lost"


def test_several_listeners_hear_the_same():
    one, two = [], []
    run(together(one.append, two.append))
    assert one == two
    assert [event.epoch for event in one if event.kind == "metric"] == [0, 1, 2]
    with pytest.raises(TypeError, match="each of listeners must be a function of"):
        together(3)


def test_tensorboard_is_refused_by_name_where_it_is_missing(tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "course_lib.parallel.training.logs.find_spec",
        lambda name: None if name == "tensorboard" else there(name),
    )
    with pytest.raises(ImportError, match="TensorBoardLog needs tensorboard; pip install"):
        TensorBoardLog(tmp_path)


def test_tensorboard_gets_the_numbers_of_each_epoch_at_its_step(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(TensorBoardLog(tmp_path))
    found = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [scalar.step for scalar in found] == [3, 6, 9]
    assert [scalar.value for scalar in found] == pytest.approx(result.history["loss"], rel=1e-6)
