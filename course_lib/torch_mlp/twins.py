"""What our activations, losses and optimizers are called in PyTorch, and where a name deceives.

Each translation computes the same numbers as its NumPy twin, to rounding.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_lib import activations, losses, optimizers
from course_lib.activations import Activation
from course_lib.arrays import check_instance, shown
from course_lib.losses import Loss
from course_lib.optimizers import Optimizer

TorchLoss: TypeAlias = Callable[..., Tensor]

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "elu": lambda: nn.ELU(alpha=1.0),
    "gelu": lambda: nn.GELU(approximate="none"),
    "silu": nn.SiLU,
    # PyTorch turns to a straight line at its threshold, by default 20, where the error is 2e-9.
    "softplus": lambda: nn.Softplus(threshold=40),
}


def torch_activation(activation: Activation) -> nn.Module:
    """Return the module that computes the same function.

    Raises
    ------
    TypeError
        If the activation is not one of the nine of this package.

    Examples
    --------
    >>> torch_activation(activations.leaky_relu)
    LeakyReLU(negative_slope=0.01)
    """
    check_instance(activation, Activation, where="torch_activation", name="activation")
    if activations.ALL.get(activation.name) != activation:
        raise TypeError(
            f"TorchMLP: the activation {activation.name!r} has no twin in PyTorch that we know; "
            f"known are {', '.join(_MODULES)}."
        )
    return _MODULES[activation.name]()


def _mse(outputs: Tensor, targets: Tensor, how: str) -> Tensor:
    return functional.mse_loss(outputs, targets.reshape(outputs.shape), reduction=how)


def _mae(outputs: Tensor, targets: Tensor, how: str) -> Tensor:
    return functional.l1_loss(outputs, targets.reshape(outputs.shape), reduction=how)


def _huber(outputs: Tensor, targets: Tensor, how: str) -> Tensor:
    return functional.huber_loss(outputs, targets.reshape(outputs.shape), reduction=how)


def _binary_cross_entropy(outputs: Tensor, targets: Tensor, how: str) -> Tensor:
    targets = targets.reshape(outputs.shape).to(outputs.dtype)
    return functional.binary_cross_entropy_with_logits(outputs, targets, reduction=how)


def _softmax_cross_entropy(outputs: Tensor, targets: Tensor, how: str) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction=how)


def _hinge(outputs: Tensor, targets: Tensor, how: str) -> Tensor:
    # Not nn.MultiMarginLoss, which adds up all classes (Weston & Watkins) instead of the worst.
    if outputs.shape[1] == 1:
        sign = 2 * targets.reshape(outputs.shape).to(outputs.dtype) - 1
        rows = functional.relu(1 - sign * outputs)[:, 0]
    else:
        own = targets[:, None]
        rival = outputs.scatter(1, own, -torch.inf).max(dim=1).values
        rows = functional.relu(1 + rival - outputs.gather(1, own)[:, 0])
    return rows.sum() if how == "sum" else rows


# With "sum" the sum over everything, with "none" single losses; and whether the loss of a row is
# the mean over its outputs.
_LOSSES: dict[str, tuple[Callable[[Tensor, Tensor, str], Tensor], bool]] = {
    "mse": (_mse, True),
    "mae": (_mae, True),
    "huber": (_huber, True),
    "binary_cross_entropy": (_binary_cross_entropy, True),
    "softmax_cross_entropy": (_softmax_cross_entropy, False),
    "hinge": (_hinge, False),
}


def torch_loss(loss: str | Loss) -> TorchLoss:
    """Return the function (outputs, targets, weights=None) -> sum of the row losses, to derive.

    Parameters
    ----------
    loss : str or Loss
        One of the six of this package. The targets are tensors as :class:`Loss` describes them,
        labels as int64. Divide by the number of rows for the mean.

    Raises
    ------
    TypeError
        If the loss is not one of them.

    Examples
    --------
    >>> torch_loss("mse")(torch.tensor([[3.0], [5.0]]), torch.tensor([1.0, 5.0])).item()
    4.0
    """
    loss = losses.get(loss)
    if losses.ALL.get(loss.name) != loss:
        raise TypeError(
            f"torch_loss: the loss {loss.name!r} has no twin in PyTorch that we know; "
            f"known are {', '.join(_LOSSES)}."
        )
    losses_of, mean_over_outputs = _LOSSES[loss.name]

    def total(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            whole = losses_of(outputs, targets, "sum")
            return whole / outputs.shape[1] if mean_over_outputs else whole
        rows = losses_of(outputs, targets, "none")
        return ((rows.mean(dim=1) if mean_over_outputs else rows) * weights).sum()

    return total


_OPTIMIZERS: dict[
    type[Optimizer], Callable[[Any], tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]]
]

_OPTIMIZERS = {
    optimizers.SGD: lambda o: (
        torch.optim.SGD,
        {"momentum": o.momentum, "dampening": o.dampening, "nesterov": o.nesterov},
    ),
    # Without momentum there is nothing to look ahead with, and PyTorch refuses nesterov=True.
    optimizers.Nesterov: lambda o: (
        torch.optim.SGD,
        {"momentum": o.momentum, "nesterov": o.momentum > 0},
    ),
    optimizers.AdaGrad: lambda o: (
        torch.optim.Adagrad,
        {
            "eps": o.eps,
            "lr_decay": o.lr_decay,
            "initial_accumulator_value": o.initial_accumulator_value,
        },
    ),
    optimizers.RMSProp: lambda o: (
        torch.optim.RMSprop,
        {"alpha": o.decay, "eps": o.eps, "momentum": o.momentum, "centered": o.centered},
    ),
    optimizers.Adam: lambda o: (torch.optim.Adam, _adam(o)),
    optimizers.AdamW: lambda o: (torch.optim.AdamW, _adam(o)),
}


def _adam(o: optimizers.Adam) -> dict[str, Any]:
    return {"betas": (o.beta1, o.beta2), "eps": o.eps, "amsgrad": o.amsgrad}


STATE_NAMES: dict[type[Optimizer], dict[str, str]] = {
    optimizers.SGD: {"v": "momentum_buffer"},
    optimizers.Nesterov: {"v": "momentum_buffer"},
    optimizers.AdaGrad: {"s": "sum"},
    optimizers.RMSProp: {"s": "square_avg", "m": "grad_avg", "v": "momentum_buffer"},
    optimizers.Adam: {"m": "exp_avg", "s": "exp_avg_sq", "s_max": "max_exp_avg_sq"},
    optimizers.AdamW: {"m": "exp_avg", "s": "exp_avg_sq", "s_max": "max_exp_avg_sq"},
}
"""What PyTorch calls the vectors of our optimizers' states."""


def torch_optimizer(
    optimizer: Optimizer, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Return the ``torch.optim`` optimizer that takes the same steps.

    A learning rate that follows a schedule is set to its first value; whoever steps sets the
    next ones (:func:`course_lib.torch_mlp.fit_torch` does).

    Parameters
    ----------
    optimizer : Optimizer
        One of the six of this package.
    parameters : iterable of torch.nn.Parameter
        What it shall update.

    Raises
    ------
    TypeError
        If the optimizer is not one of them.

    Examples
    --------
    >>> weight = nn.Parameter(torch.zeros(3))
    >>> type(torch_optimizer(optimizers.RMSProp(lr=0.1), [weight])).__name__
    'RMSprop'
    """
    if type(optimizer) not in _OPTIMIZERS:
        raise TypeError(
            f"torch_optimizer: optimizer must have a twin in torch.optim that we know, got "
            f"{shown(optimizer)}; known are {', '.join(kind.__name__ for kind in _OPTIMIZERS)}."
        )
    if isinstance(parameters, torch.Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(
            "torch_optimizer: parameters must be an iterable such as model.parameters(), got "
            f"{shown(parameters)}."
        )
    parameters = list(parameters)
    for parameter in parameters:
        check_instance(parameter, torch.Tensor, where="torch_optimizer", name="each of parameters")
    if not parameters:
        raise ValueError("torch_optimizer: parameters must hold at least one, got none.")
    kind, arguments = _OPTIMIZERS[type(optimizer)](optimizer)
    return kind(
        parameters,
        lr=optimizer.learning_rate(0),
        weight_decay=optimizer.weight_decay,
        maximize=optimizer.maximize,
        **arguments,
    )
