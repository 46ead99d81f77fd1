"""A trained network as an ONNX file, which programs run that know neither Python nor this package.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from course_lib.arrays import Array
from course_lib.atomic import write_bytes
from course_lib.checkpoint import StrPath
from course_lib.needs import require
from course_lib.network import Network
from course_lib.paths import check_path
from course_lib.torch_mlp.network import to_torch


def save_onnx(path: StrPath, net: Network, theta: Array) -> None:
    """Write a network and its parameters to an ONNX file, whole or not at all.

    Its input is called ``x``, of shape (rows, n_inputs) with any number of rows and the dtype of
    theta; its output is called ``outputs``, of shape (rows, n_outputs): of a classifier the logits,
    as :meth:`Network.forward <course_lib.network.Network.forward>` returns them. Dropout is off.
    (The standard has the slope of a leaky ReLU in single precision, also where theta is in double.)

    Parameters
    ----------
    path : path
        The file, such as ``digits.onnx``; one that is there is replaced.
    net : Network
        All of whose parts have twins in PyTorch, see :class:`~course_lib.torch_mlp.TorchMLP`.
    theta : array of float32 or float64, shape (n_params,)
        Its parameters.

    Raises
    ------
    ImportError
        Without the packages onnx and onnxscript (``course-lib[onnx]``) and PyTorch 2.6 or newer.
    TypeError, ValueError
        If an argument is not what it should be, or a part of the network has no twin.
    OSError
        If the file cannot be written; one that was there is as it was.

    References
    ----------
    The ONNX standard (https://onnx.ai), by PyTorch's exporter.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import mlp
    >>> net = mlp([2, 3, 2], hidden="tanh")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_onnx(f"{folder}/xor.onnx", net, net.init(np.random.default_rng(0)))
    ...     Path(f"{folder}/xor.onnx").stat().st_size > 200
    True
    """
    file = check_path(path, where="save_onnx", name="path")
    module = to_torch(net, theta).eval()
    for package in ("onnx", "onnxscript"):
        require(package, extra="onnx", who="save_onnx")
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        raise ImportError(f"save_onnx needs PyTorch 2.6 or newer, got {torch.__version__}.")
    rows = torch.export.Dim("rows")
    # Two rows: of one, the exporter would conclude that there is always one.
    example = torch.zeros(2, net.n_inputs or 1)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        whole = Path(folder) / "model.onnx"
        torch.onnx.export(
            module, (example.to(next(module.parameters()).dtype),), whole,
            dynamo=True, verbose=False, external_data=False,
            input_names=["x"], output_names=["outputs"], dynamic_shapes=({0: rows},),
        )  # fmt: skip
        write_bytes(file, whole.read_bytes())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what the exporter says about itself."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
