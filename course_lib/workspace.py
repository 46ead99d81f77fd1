"""Scratch memory that a training loop makes once and hands to every step.

A fresh large array costs more than the arithmetic done in it: the operating system must find and
clear its pages each time. A :class:`Workspace` keeps the arrays of one network; the network itself
stays without state, and results are the same with and without.

Chapter: where the time goes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.layers import Empty, Params


class Workspace:
    """The scratch arrays of one network, for batches of up to `batch_size` rows.

    Made by :meth:`Network.workspace <course_lib.network.Network.workspace>`. Whatever was computed
    in it is overwritten by the next step; two threads need two of them.

    Parameters
    ----------
    unpack : callable
        The network's own ``unpack``.
    n_layers : int
        The number of layers.
    batch_size : int
        The largest number of rows.
    dtype : numpy.dtype
        The dtype of theta.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([2, 3, 2])
    >>> theta = net.init(np.random.default_rng(0))
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    >>> w = net.workspace(batch_size=2)
    >>> net.loss_and_grad(theta, x, y, workspace=w)[0] == net.loss_and_grad(theta, x, y)[0]
    True
    """

    def __init__(
        self,
        unpack: Callable[[Array], list[Params]],
        n_layers: int,
        batch_size: int,
        dtype: np.dtype[Any],
    ) -> None:
        self.batch_size, self.dtype, self._unpack = batch_size, dtype, unpack
        # What hands out arrays does not know the workspace: so this goes with its last user, and
        # with it the gradient that it remembers, which may lie in memory that ranks share.
        self.rows = _Rows(batch_size, dtype)
        self._views: dict[int, tuple[Array, list[Params]]] = {}
        self.input: Empty = partial(self.rows, "input")
        self.output: Empty = partial(self.rows, "output")
        self._forward = [_Scratch(self.rows) for _ in range(n_layers)]
        self._backward = [_Scratch(self.rows) for _ in range(n_layers)]

    def forward(self, i: int) -> Empty:
        """Return where layer i gets its arrays, as many as it asks for, in a pass that begins."""
        return self._forward[i].begin()

    def backward(self, i: int) -> Empty:
        """Return where layer i gets those of the way back."""
        return self._backward[i].begin()

    def views(self, theta: Array) -> list[Params]:
        """Return ``unpack(theta)``, remembered as long as the very same array comes back."""
        known = self._views.get(id(theta))
        if known is None:
            if len(self._views) > 3:  # theta and gradient are two; pure optimizers bring new ones
                self._views.clear()
            # Holding the array keeps its id from being given to another one.
            known = self._views[id(theta)] = (theta, self._unpack(theta))
        return known[1]


class _Rows:
    """The arrays, by what they are for."""

    def __init__(self, batch_size: int, dtype: np.dtype[Any]) -> None:
        self._batch_size, self._dtype = batch_size, dtype
        self._arrays: dict[object, Array] = {}

    def __call__(self, key: object, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return the array `key`, cut to `shape`: (rows, ...) with at most `batch_size` rows."""
        array = self._arrays.get(key)
        if array is None or array.shape[1:] != shape[1:]:
            array = self._arrays[key] = np.empty((self._batch_size, *shape[1:]), self._dtype)
        if array.shape == shape and dtype == self._dtype:
            return array
        if shape[0] > self._batch_size or dtype != self._dtype:
            raise ValueError(
                f"workspace: made for at most {self._batch_size} rows of {self._dtype}, got "
                f"{shape[0]} rows of {dtype}; make one with net.workspace(batch_size, dtype)."
            )
        return array[: shape[0]]


class _Scratch:
    """The arrays of one layer in one direction: the first that it asks for, the second, ...."""

    def __init__(self, rows: Callable[[object, tuple[int, ...], Any], Array]) -> None:
        self._rows, self._asked = rows, 0

    def begin(self) -> _Scratch:
        self._asked = 0
        return self

    def __call__(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self._asked += 1
        return self._rows((self, self._asked), shape, dtype)
