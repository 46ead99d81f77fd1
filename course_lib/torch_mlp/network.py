"""The same network as a PyTorch module, and the way of its parameters there and back.

PyTorch keeps the weights of a layer as ``(fan_out, fan_in)``, ours transposed.

Chapter: a network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.arrays import Array, check_instance, check_theta, shown
from course_lib.layers import Activate, Dense, Dropout, Layer
from course_lib.network import Network
from course_lib.torch_mlp.twins import torch_activation


def _module(layer: Layer, dtype: torch.dtype) -> nn.Module:
    # A class that derives from one of these may compute something else.
    if type(layer) is Dense:
        return nn.Linear(layer.fan_in, layer.fan_out, dtype=dtype)
    if type(layer) is Activate:
        return torch_activation(layer.activation)
    if type(layer) is Dropout:
        return nn.Dropout(layer.rate)
    raise TypeError(
        f"TorchMLP: the layer {type(layer).__name__} has no twin in PyTorch that we know; known "
        "are Dense, Activate and Dropout."
    )


class TorchMLP(nn.Module):
    """A PyTorch module with the layers of a :class:`~course_lib.network.Network`.

    Its parameters start as PyTorch draws them, from its global generator; for ours use
    :func:`to_torch`.

    Parameters
    ----------
    net : Network
        The network to build.
    dtype : torch.dtype
        Of the parameters; float64 unless asked otherwise, as everywhere in this package.

    Attributes
    ----------
    net : Network
        The description that it was built from.
    layers : torch.nn.Sequential
        One module per layer.

    Raises
    ------
    TypeError
        If the network is none, or holds a layer or an activation of your own.

    Examples
    --------
    >>> from course_lib import mlp
    >>> TorchMLP(mlp([4, 8, 3], hidden="tanh")).layers
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): Tanh()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )
    """

    def __init__(self, net: Network, *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        check_instance(net, Network, where="TorchMLP", name="net", hint="such as mlp([2, 3, 1])")
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(
                "TorchMLP: dtype must be a floating-point type such as torch.float32, got "
                f"{shown(dtype)}."
            )
        self.net = net
        self.layers = nn.Sequential(*(_module(layer, dtype) for layer in net.layers))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the outputs, shape (batch, n_outputs), of inputs (batch, n_inputs)."""
        outputs: Tensor = self.layers(x)
        return outputs


# Where PyTorch keeps what we call so. Its weights are (fan_out, fan_in), ours transposed: NumPy's
# ``.T`` turns the one into the other, and leaves a bias as it is.
_NAMES = {"W": "weight", "b": "bias"}


def layer_parameters(model: TorchMLP) -> list[dict[str, nn.Parameter]]:
    """Return the parameters of each layer by our names; each is ``.T`` of ours in theta.

    Examples
    --------
    >>> from course_lib import mlp
    >>> [sorted(layer) for layer in layer_parameters(TorchMLP(mlp([2, 3, 1])))]
    [['W', 'b'], [], ['W', 'b']]
    """
    check_model(model, where="layer_parameters")
    return [
        {ours: getattr(module, theirs) for ours, theirs in _NAMES.items()}
        if isinstance(module, nn.Linear)
        else {}
        for module in model.layers
    ]


def to_torch(net: Network, theta: Array) -> TorchMLP:
    """Build the PyTorch twin of a network, with a copy of its parameters.

    Parameters
    ----------
    net : Network
        The network.
    theta : array of float32 or float64, shape (n_params,)
        Its parameters; the module gets the same dtype.

    Returns
    -------
    TorchMLP

    Raises
    ------
    ValueError
        If `theta` has the wrong length.
    TypeError
        As for :class:`TorchMLP`, and if `theta` is no array of floating-point numbers.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([4, 8, 3])
    >>> theta = net.init(np.random.default_rng(0))
    >>> np.array_equal(from_torch(to_torch(net, theta)), theta)
    True
    """
    check_instance(net, Network, where="to_torch", name="net", hint="such as mlp([2, 3, 1])")
    check_theta(theta, where="to_torch")
    net.unpack(theta)  # raises if its length is wrong
    with torch.random.fork_rng(devices=[]):  # what nn.Linear draws is overwritten: leave no trace
        model = TorchMLP(net, dtype=torch.from_numpy(np.empty(0, theta.dtype)).dtype)
    load(model, theta)
    return model


def load(model: TorchMLP, theta: Array) -> None:
    """Give a module the parameters of a vector.

    Examples
    --------
    >>> from course_lib import mlp
    >>> model = TorchMLP(mlp([2, 1]))
    >>> load(model, np.array([1.0, 2.0, 3.0]))
    >>> from_torch(model)
    array([1., 2., 3.])
    """
    with torch.no_grad():
        for parameter, value in unflatten(model, theta).items():
            parameter.copy_(value)


def from_torch(model: TorchMLP) -> Array:
    """Return the parameters of the module as our flat vector: a copy on the CPU.

    Parameters
    ----------
    model : TorchMLP
        On any device.

    Returns
    -------
    array, shape (n_params,)
        ``theta``, in the module's dtype.
    """
    check_model(model, where="from_torch")
    return flatten(model, {parameter: parameter for parameter in model.parameters()})


def flatten(model: TorchMLP, values: Mapping[Tensor, Tensor]) -> Array:
    """Lay one tensor per parameter (its value, gradient, velocity) end to end, as in theta.

    Examples
    --------
    >>> from course_lib import mlp
    >>> model = to_torch(mlp([2, 1]), np.array([1.0, 2.0, 3.0]))
    >>> flatten(model, {p: 10 * p for p in model.parameters()})
    array([10., 20., 30.])
    """
    check_model(model, where="flatten")
    check_instance(values, Mapping, where="flatten", name="values")
    missing = [name for name, parameter in model.named_parameters() if parameter not in values]
    if missing:
        raise ValueError(
            "flatten: values must hold a tensor for each parameter of the model, got none for "
            f"{', '.join(missing)}."
        )

    def array(parameter: Tensor) -> Array:
        value: Array = values[parameter].detach().cpu().numpy()
        return value

    return model.net.pack(
        [
            {name: array(parameter).T for name, parameter in layer.items()}
            for layer in layer_parameters(model)
        ]
    )


def unflatten(model: TorchMLP, vector: Array) -> dict[Tensor, Tensor]:
    """Cut a vector as long as theta into one tensor per parameter: the inverse of :func:`flatten`.

    Examples
    --------
    >>> from course_lib import mlp
    >>> model = TorchMLP(mlp([2, 1]))
    >>> list(unflatten(model, np.array([1.0, 2.0, 3.0])).values())
    [tensor([[1., 2.]], dtype=torch.float64), tensor([3.], dtype=torch.float64)]
    """
    check_model(model, where="unflatten")
    return {
        parameter: torch.tensor(layer[name].T)
        for parameters, layer in zip(layer_parameters(model), model.net.unpack(vector), strict=True)
        for name, parameter in parameters.items()
    }


def check_model(model: object, *, where: str) -> None:
    """Raise TypeError unless `model` is a :class:`TorchMLP`.

    Examples
    --------
    >>> check_model(nn.Linear(2, 1), where="from_torch")
    Traceback (most recent call last):
    ...
    TypeError: from_torch: model must be a TorchMLP, got Linear(in_features=2, out_features=1, \
bias=True); make one with to_torch(net, theta).
    """
    hint = "make one with to_torch(net, theta)"
    check_instance(model, TorchMLP, where=where, name="model", hint=hint)
