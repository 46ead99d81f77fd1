"""The same network in PyTorch: the same parameters, the same loss, the same steps.

The module is in :mod:`course_lib.torch_mlp.network`, training in
:mod:`course_lib.torch_mlp.training`, and the list of what is called how in
:mod:`course_lib.torch_mlp.twins`.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

from course_lib.needs import require

require("torch", extra="torch", who="course_lib.torch_mlp")

from course_lib.torch_mlp.network import TorchMLP, flatten, from_torch, layer_parameters, to_torch
from course_lib.torch_mlp.onnx import save_onnx
from course_lib.torch_mlp.training import fit_torch
from course_lib.torch_mlp.twins import STATE_NAMES, torch_loss, torch_optimizer

__all__ = [
    "STATE_NAMES",
    "TorchMLP",
    "fit_torch",
    "flatten",
    "from_torch",
    "layer_parameters",
    "save_onnx",
    "to_torch",
    "torch_loss",
    "torch_optimizer",
]
