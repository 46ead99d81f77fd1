"""A network as an ONNX file answers the same, in the reference implementation of the standard."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import onnx
from onnx.reference import ReferenceEvaluator

from course_lib import activations, mlp
from course_lib.layers import Dense
from course_lib.network import Network
from course_lib.torch_mlp import save_onnx

X = np.random.default_rng(1).normal(size=(7, 4))
# A small network with every activation, one after the other, and dropout between them.
DEEP = Network(
    [
        *(part for f in activations.ALL for part in mlp([4, 4, 4], f, dropout=0.3).layers[:3]),
        Dense(4, 3),
    ],
    mlp([4, 3]).loss,
)


def answered(path, x):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (given,), (back,) = model.graph.input, model.graph.output
    assert (given.name, back.name) == ("x", "outputs")
    rows, columns = given.type.tensor_type.shape.dim
    assert rows.dim_param and columns.dim_value == 4  # any number of rows
    return ReferenceEvaluator(model).run(["outputs"], {"x": x})[0]


@pytest.mark.parametrize(
    ("net", "dtype", "bound"),
    [
        (DEEP, np.float32, 1e-5),  # some roundings, of other orders of sums
        (DEEP, np.float64, 1e-8),  # the slope of leaky_relu is rounded to single precision
        (mlp([4, 5, 3], "softplus"), np.float64, 1e-14),
    ],
)
def test_the_file_answers_any_number_of_rows_as_the_network_does(tmp_path, net, dtype, bound):
    theta = net.init(np.random.default_rng(0), dtype)
    save_onnx(tmp_path / "deep.onnx", net, theta)
    for rows in (1, 2, 7):
        x = X[:rows].astype(dtype)
        found = answered(tmp_path / "deep.onnx", x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, net.forward(theta, x)[0], rtol=bound, atol=bound)
    assert [path.name for path in tmp_path.iterdir()] == ["deep.onnx"]


def test_what_can_not_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    net = mlp([4, 3])
    theta, file = net.init(np.random.default_rng(0)), tmp_path / "net.onnx"
    file.write_bytes(b"before")
    own = mlp([4, 4, 3], activations.Activation("own", np.sin, lambda z, a: np.cos(z)))
    for wrong, told in (
        ((file, own, np.zeros(own.n_params)), "activation 'own' has no twin"),
        ((file, net, theta[:-1]), "theta"),
        ((file, "net", theta), "net must be"),
        ((3, net, theta), "save_onnx: path must be"),
    ):
        with pytest.raises((TypeError, ValueError), match=told):
            save_onnx(*wrong)
    with pytest.raises(OSError, match="no-such-folder"):
        save_onnx(tmp_path / "no-such-folder" / "net.onnx", net, theta)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"save_onnx needs onnxscript; pip install .*\[onnx\]"):
        save_onnx(file, net, theta)
    assert file.read_bytes() == b"before"
