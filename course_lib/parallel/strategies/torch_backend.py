"""PyTorch as the calculator of a rank: its twin network, but our flat vectors and our noise.

The twin's parameters are views of ``theta``, and its gradients views of the buffer that is reduced
afterwards, so nothing is copied between the two libraries. Needs PyTorch.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.arrays import Array
from course_lib.layers import Dropout, Noise
from course_lib.network import Network
from course_lib.torch_mlp import TorchMLP, layer_parameters, to_torch, torch_loss


class TorchModel:
    """Computes the loss and gradient of a network, all parts of which need twins in PyTorch.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([2, 3, 2])
    >>> theta, x, y = net.init(np.random.default_rng(0)), np.eye(2), np.array([0, 1])
    >>> loss, gradient = TorchModel(net).loss_and_grad(theta, x, y, denominator=2)
    >>> bool(np.allclose(gradient, net.loss_and_grad(theta, x, y)[1]))
    True
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._loss = torch_loss(net.loss)
        self._model: TorchMLP | None = None
        self._bound: tuple[Array | None, Array | None] = (None, None)

    def loss_and_grad(
        self,
        theta: Array,
        x: Any,
        y: Any,
        *,
        denominator: float,
        out: Array | None = None,
        rng: Noise | None = None,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """As :meth:`Network.loss_and_grad <course_lib.network.Network.loss_and_grad>`."""
        gradient = np.empty_like(theta) if out is None else out
        model = self._bind(theta, gradient)
        gradient[:] = 0.0  # PyTorch adds to what is there
        labels = self._net.loss.kind in ("labels", "margin")
        targets = torch.tensor(y, dtype=torch.int64 if labels else _dtype(theta))
        outputs = self._outputs(model, torch.tensor(x, dtype=_dtype(theta)), rng)
        each = None if weights is None else torch.tensor(weights, dtype=_dtype(theta))
        loss = self._loss(outputs, targets, each) / denominator
        loss.backward()
        return float(loss.detach()), gradient

    def _bind(self, theta: Array, gradient: Array) -> TorchMLP:
        """Lay the twin's parameters over `theta` and their gradients over `gradient`."""
        if self._model is None:
            self._model = to_torch(self._net, theta)
        if self._bound[0] is not theta or self._bound[1] is not gradient:
            views = zip(self._net.unpack(theta), self._net.unpack(gradient), strict=True)
            for parameters, (p, g) in zip(layer_parameters(self._model), views, strict=True):
                for name, parameter in parameters.items():
                    parameter.grad = None
                    parameter.data = torch.from_numpy(p[name].T)
                    parameter.grad = torch.from_numpy(g[name].T)
            self._bound = (theta, gradient)
        return self._model

    def _outputs(self, model: TorchMLP, a: Tensor, rng: Noise | None) -> Tensor:
        for layer, module in zip(self._net.layers, model.layers, strict=True):
            if not isinstance(layer, Dropout):
                a = module(a)
            elif rng is not None:
                # PyTorch would draw from its own generator, each rank something else.
                ones = np.ones(tuple(a.shape), a.detach().numpy().dtype)
                a = a * torch.from_numpy(layer.forward({}, ones, rng=rng)[0])
        return a


def _dtype(theta: Array) -> torch.dtype:
    return torch.from_numpy(theta[:0]).dtype
