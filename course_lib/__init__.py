"""From one neuron to a network trained on a cluster: the package of the course.

Conventions, the same in every file. Rows are samples: ``x`` has shape (batch, fan_in), a weight
matrix ``W`` (fan_in, fan_out), and ``z = x @ W + b``, ``a = f(z)``. ``dz`` means d loss / d z.
``theta`` is the flat vector of all parameters, layer by layer (W0 b0 W1 b1 ...). Labels are
integers of shape (batch,); losses take logits. Everything is float64 unless float32 is asked for,
and what comes in as one comes out as the same. Randomness comes in as an argument.

Importing the package loads NumPy and nothing larger; PyTorch, Dask, scikit-learn and matplotlib are
loaded where they are first used.
There is one file per concept; each names the chapter that teaches it.
"""

from __future__ import annotations

import importlib
from typing import Any

from course_lib import (
    activations,
    autodiff,
    data,
    losses,
    network,
    neurons,
    optimizers,
    schedules,
    training,
    weights,
)
from course_lib.activations import Activation, softmax
from course_lib.autodiff import Value
from course_lib.losses import Loss
from course_lib.network import Activate, Dense, Dropout, Network, mlp
from course_lib.neurons import Neuron
from course_lib.optimizers import SGD, AdaGrad, Adam, AdamW, Nesterov, RMSProp
from course_lib.training import EarlyStopping, FitResult, KeepBest, accuracy, fit

__version__ = "0.1.0"

# Not in __all__: a star import should not load PyTorch and Dask.
_LAZY = (
    "checkpoint",
    "doctor",
    "estimators",
    "exercises",
    "gradcheck",
    "parallel",
    "plotting",
    "timing",
    "torch_mlp",
)
_ESTIMATORS = ("MLPClassifier", "MLPRegressor")

__all__ = [
    "SGD",
    "Activate",
    "Activation",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "FitResult",
    "KeepBest",
    "Loss",
    "Nesterov",
    "Network",
    "Neuron",
    "RMSProp",
    "Value",
    "accuracy",
    "activations",
    "autodiff",
    "data",
    "fit",
    "losses",
    "mlp",
    "network",
    "neurons",
    "optimizers",
    "schedules",
    "softmax",
    "training",
    "weights",
]


def __getattr__(name: str) -> Any:
    """Load the modules that need a large library when they are first asked for (PEP 562)."""
    if name in _LAZY:
        return importlib.import_module(f"course_lib.{name}")
    if name in _ESTIMATORS:
        return getattr(importlib.import_module("course_lib.estimators"), name)
    raise AttributeError(f"module 'course_lib' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what ``course_lib.<tab>`` should offer."""
    return sorted([*__all__, *_LAZY, *_ESTIMATORS])
