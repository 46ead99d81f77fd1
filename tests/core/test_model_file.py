"""A saved model is the model: the same network, the same bits, and what is none is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from safetensors import numpy as safetensors

from course_lib import activations, losses, mlp
from course_lib.layers import Dense
from course_lib.model_file import load_model, save_model
from course_lib.network import Network


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", losses.ALL)
@pytest.mark.parametrize("hidden", activations.ALL)
def test_what_comes_back_is_what_was_saved(tmp_path, hidden, loss, dtype):
    net = mlp([3, 4, 2], hidden=hidden, loss=loss, dropout=0.25, weights="glorot_uniform")
    theta = net.init(np.random.default_rng(0), dtype)
    save_model(tmp_path / "m", net, theta)
    same, numbers = load_model(tmp_path / "m")
    assert same == net and numbers.dtype == dtype
    np.testing.assert_array_equal(numbers, theta)
    x = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_array_equal(same.predict(numbers, x), net.predict(theta, x))


@dataclass(frozen=True)
class Mine(Dense):
    """A layer that another program would not know."""


NET = mlp([3, 4, 2])
THETA = NET.init(np.random.default_rng(0))
OWN = replace(activations.relu, name="mine")


@pytest.mark.parametrize(
    ("net", "theta", "error", "sentence"),
    [
        (3, THETA, TypeError, "save_model: net must be a Network, got 3"),
        (NET, THETA[:5], ValueError, r"theta must have shape \(26,\), got \(5,\)"),
        (NET, THETA * np.nan, ValueError, "save_model: theta must be finite, got nan"),
        (NET, THETA.astype(int), TypeError, "save_model: theta must be"),
        (Network((Mine(3, 2),), losses.mse), np.zeros(8), TypeError, "the layer Mine is not one"),
        (mlp([3, 4, 2], hidden=OWN), THETA, TypeError, "the activation mine is not one of this"),
        (mlp([3, 4, 2], loss=replace(losses.mse, name="own")), THETA, TypeError, "the loss own is"),
        (Network((Dense(3, 2, lambda *_: 0),), losses.mse), np.zeros(8), TypeError, "initialiser"),
    ],
)  # fmt: skip
def test_what_no_file_can_hold_is_refused_and_the_old_file_stays(
    tmp_path, net, theta, error, sentence
):
    save_model(tmp_path / "m", NET, THETA)
    before = (tmp_path / "m").read_bytes()
    with pytest.raises(error, match=sentence):
        save_model(tmp_path / "m", net, theta)
    assert (tmp_path / "m").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def written(theta=THETA, **changed: str) -> bytes:
    layers = json.dumps(
        [
            {"kind": "Dense", "fan_in": 3, "fan_out": 4, "weights": "he_normal"},
            {"kind": "Activate", "activation": "relu"},
            {"kind": "Dense", "fan_in": 4, "fan_out": 2, "weights": "he_normal"},
        ]
    )
    facts = {"format": "course_lib model", "version": "1", "layers": layers, "loss": "mse"}
    return safetensors.save({"theta": theta}, facts | changed)


def test_the_format_is_what_the_broken_files_below_begin_with(tmp_path):
    (tmp_path / "m").write_bytes(written())
    assert load_model(tmp_path / "m")[0] == mlp([3, 4, 2], loss="mse")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ""),
        (b"junk", ""),
        (written()[:-8], ""),
        (safetensors.save({"theta": THETA}), "does not say that it is one"),
        (safetensors.save({"other": THETA}, {"format": "course_lib model", "version": "1"}), ""),
        (written(version="2"), "of version 2, and this reads 1"),
        (written(layers="[]"), ""),
        (written(layers="{"), ""),
        (written(layers="[" * 100_000), ""),
        (written(layers='[{"kind": "Dense"}]'), "fan_in"),
        (written(layers='[{"kind": "Dens"}]'), "did you mean 'Dense'"),
        (written(loss="no"), "unknown loss 'no'"),
        (written(THETA[:5]), r"shape \(26,\), got \(5,\)"),
        (written(THETA + np.inf), "finite"),
        (written(np.arange(26)), "theta must be"),
        (written(THETA.reshape(2, 13)), "shape"),
    ],
)  # fmt: skip
def test_what_is_no_whole_model_is_refused_by_its_name(tmp_path, content, why):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ValueError, match=rf"load_model: .*model is not a whole file .*{why}"):
        load_model(tmp_path / "model")


def test_a_file_that_is_not_there_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "gone")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)
    for call in (load_model, lambda path: save_model(path, NET, THETA)):
        with pytest.raises(TypeError, match="_model: path must be"):
            call(3)
