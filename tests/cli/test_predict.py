"""What was trained and saved on the command line answers there, as it would in Python."""

from __future__ import annotations

import json

import numpy as np
import pytest

from course_lib import Adam, accuracy, fit, mlp
from course_lib.cli import main
from course_lib.data import load_digits
from course_lib.model_file import load_model

pytest.importorskip("sklearn")

TRAIN = ["train", "--sizes", "64,8,10", "--epochs", "2", "--batch-size", "100", "--json",
         "--comm", "inprocess", "--workers", "1"]  # fmt: skip


def said(capsys, *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("seed", ["0", "3"])
def test_the_saved_model_is_the_serial_training_and_answers_the_rows_held_out(
    capsys, tmp_path, seed
):
    path, out = str(tmp_path / "new" / "digits"), tmp_path / "answers.npz"
    told = json.loads(said(capsys, *TRAIN, "--seed", seed, "--save", path))
    assert told["save"] == path
    x, y, xv, yv = load_digits(seed=int(seed))
    net = mlp([64, 8, 10])
    theta = net.init(np.random.default_rng(int(seed)))
    options = {"epochs": 2, "batch_size": 100, "seed": int(seed)}
    theta = fit(net, theta, Adam(0.01), x, y, **options).theta
    found, numbers = load_model(path)
    assert found == net
    np.testing.assert_allclose(numbers, theta, rtol=1e-10)

    labels = said(capsys, "predict", path, "--seed", seed).split()
    np.testing.assert_array_equal(np.array(labels, int), net.predict(theta, xv))
    right = accuracy(net, theta, xv, yv)
    text = said(capsys, "predict", path, "--seed", seed, "--out", str(out))
    assert text == f"{len(xv)} rows, accuracy {right:.4f}; written to {out}\n"
    with np.load(out) as file:
        np.testing.assert_array_equal(file["labels"], net.predict(theta, xv))
        np.testing.assert_allclose(file["probabilities"], net.predict_proba(theta, xv), rtol=1e-9)
    told = json.loads(said(capsys, "predict", path, "--seed", seed, "--json"))
    assert told["accuracy"] == right and told["rows"] == len(xv)
    assert told["labels"] == [int(label) for label in labels]


def test_rows_from_a_file_may_have_no_labels(capsys, tmp_path):
    path, rows = str(tmp_path / "digits"), str(tmp_path / "rows.npz")
    said(capsys, *TRAIN, "--save", path, "--dtype", "float32")
    x, y = load_digits(seed=0)[2:]
    np.savez(rows, x=x[:7])
    alone = said(capsys, "predict", path, "--data", rows)
    np.savez(rows, x=x[:7], y=y[:7])
    assert said(capsys, "predict", path, "--data", rows) == alone
    net, theta = load_model(path)
    assert theta.dtype == np.float32
    assert [int(line) for line in alone.split()] == net.predict(theta, x[:7]).tolist()
