"""The same network in PyTorch: the same parameters, the same loss, the same steps.

This is the door to everything here that needs PyTorch; the module is in
:mod:`course_lib.torch_network`, training in :mod:`course_lib.torch_training`, and the list of what
is called how in :mod:`course_lib.torch_twins`.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ImportError('course_lib.torch_mlp needs PyTorch; pip install "course-lib[torch]".')

from course_lib.torch_network import TorchMLP, from_torch, to_torch
from course_lib.torch_training import fit_torch
from course_lib.torch_twins import torch_loss, torch_optimizer

__all__ = ["TorchMLP", "fit_torch", "from_torch", "to_torch", "torch_loss", "torch_optimizer"]
