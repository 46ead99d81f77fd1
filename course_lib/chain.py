"""A chain of layers: forward through all of them, and the gradient back the same way.

The parameters are one flat vector ``theta``, layer by layer (W0 b0 W1 b1 ...), so that summing,
saving or cutting the parameters of a whole network is an operation on one array. A chain holds no
state: ``forward`` returns what ``backward`` will need instead of keeping it.

Chapters: forward propagation, backpropagation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from course_lib.arrays import (
    Array,
    check_dtype,
    check_generator,
    check_integer,
    check_matrix,
    check_numbers,
    check_sequence,
    check_shape,
    check_theta,
    shown,
)
from course_lib.layers import Dropout, Layer, Noise, Params, fresh
from course_lib.workspace import Workspace

_METHODS = ("width", "shapes")  # what is asked of a layer here


@dataclass(frozen=True)
class Chain:
    r"""Layers applied one after the other.

    .. math:: a_0 = x, \qquad a_{l+1} = f_l(a_l; \theta_l)

    Parameters
    ----------
    layers : tuple of layers
        In the order in which the data passes through them.

    Raises
    ------
    ValueError
        If two neighbouring layers do not fit.
    TypeError
        If one is no layer.

    Examples
    --------
    >>> from course_lib.layers import Dense
    >>> chain = Chain((Dense(2, 3), Dense(3, 1)))
    >>> chain.n_params
    13
    >>> [p["W"].shape for p in chain.unpack(np.zeros(13))]
    [(2, 3), (3, 1)]
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        who = type(self).__name__
        layers = check_sequence(self.layers, where=who, name="layers", of="layers")
        object.__setattr__(self, "layers", tuple(layers))
        if not self.layers:
            raise ValueError(f"{who}: layers must hold at least one layer, got none.")
        for i, layer in enumerate(self.layers):
            if isinstance(layer, type) or not all(hasattr(layer, name) for name in _METHODS):
                raise TypeError(
                    f"{who}: layers must hold layers such as Dense(2, 3), got {shown(layer)} at "
                    f"position {i}; see course_lib.layers.Layer."
                )
        self._widths(None)

    def widths(self, n_inputs: int) -> list[int]:
        """Return the number of outputs of every layer, for rows of so many features.

        Raises
        ------
        ValueError
            If a layer takes another number of inputs.

        Examples
        --------
        >>> from course_lib import mlp
        >>> mlp([2, 3, 1]).widths(2)  # Dense, Activate, Dense
        [3, 3, 1]
        """
        n_inputs = check_integer(n_inputs, where="widths", name="n_inputs", at_least=1)
        return [width for width in self._widths(n_inputs) if width is not None]

    def _widths(self, width: int | None) -> list[int | None]:
        """Follow the width through the layers; None as long as it is not known."""
        widths: list[int | None] = []
        for i, layer in enumerate(self.layers):
            taken = _taken(layer)
            if taken is not None and width not in (None, taken):
                before = "the layers before it give" if i else "a row has"
                raise ValueError(
                    f"{type(self).__name__}: layer {i} takes {taken} inputs, but {before} {width}."
                )
            known = taken if width is None else width
            width = None if known is None else layer.width(known)
            widths.append(width)
        return widths

    @cached_property
    def _slots(self) -> list[list[tuple[str, slice, tuple[int, ...]]]]:
        """Where each parameter lies in theta: per layer, (name, slice, shape)."""
        slots: list[list[tuple[str, slice, tuple[int, ...]]]] = []
        start = 0
        for layer in self.layers:
            slots.append([])
            for name, shape in layer.shapes().items():
                stop = start + int(np.prod(shape))
                slots[-1].append((name, slice(start, stop), shape))
                start = stop
        return slots

    @cached_property
    def n_params(self) -> int:
        """The length of theta: the number of weights and biases."""
        return sum(int(np.prod(s)) for layer in self.layers for s in layer.shapes().values())

    @cached_property
    def n_inputs(self) -> int | None:
        """The number of features of a row, or None where the first layers take any."""
        for i, layer in enumerate(self.layers):
            if (wanted := _taken(layer)) is not None:
                width = wanted
                for before in self.layers[:i]:  # they take any width; do they keep it?
                    width = before.width(width)
                return wanted if width == wanted else None
        return None

    @cached_property
    def first_with_parameters(self) -> int:
        """The number of the first layer that learns; 0 if none does."""
        return next((i for i, layer in enumerate(self.layers) if layer.shapes()), 0)

    @cached_property
    def has_noise(self) -> bool:
        """Whether training draws random numbers: whether there is dropout."""
        return any(isinstance(layer, Dropout) and layer.rate > 0 for layer in self.layers)

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Array:
        """Draw initial parameters: theta of shape (n_params,), the same for the same generator."""
        check_generator(rng, where=f"{type(self).__name__}.init")
        dtype = check_dtype(dtype, where=f"{type(self).__name__}.init")
        return self.pack([layer.init(rng) for layer in self.layers]).astype(dtype, copy=False)

    def unpack(self, theta: Array) -> list[Params]:
        """Show theta as one dictionary of named arrays per layer: views, never copies.

        Raises
        ------
        ValueError
            If theta does not have shape (n_params,).
        """
        if not isinstance(theta, np.ndarray) or theta.shape != (self.n_params,):
            got = theta.shape if isinstance(theta, np.ndarray) else shown(theta)
            raise ValueError(
                f"{type(self).__name__}: theta must have shape ({self.n_params},), "
                f"got {got}; make one with net.init(rng)."
            )
        return [{name: theta[at].reshape(shape) for name, at, shape in s} for s in self._slots]

    def pack(self, tree: Sequence[Params]) -> Array:
        """Lay the named arrays of all layers end to end: the inverse of :meth:`unpack`.

        Raises
        ------
        ValueError
            If there is not one dictionary per layer, with the names of its parameters.
        """
        try:
            pairs = zip(self.layers, tree, strict=True)
            fits = all(layer.shapes().keys() == params.keys() for layer, params in pairs)
        except (AttributeError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"{type(self).__name__}.pack: tree must hold one dictionary per layer, as unpack "
                f"gives it, got {shown(tree)}."
            )
        parts = [
            np.reshape(params[name], -1)
            for params, slots in zip(tree, self._slots, strict=True)
            for name, _, _ in slots
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def forward(self, theta: Array, x: Any, *, rng: Noise | None = None) -> tuple[Array, list[Any]]:
        """Compute the outputs of a batch, and what :meth:`backward` will need.

        Parameters
        ----------
        theta : array, shape (n_params,)
            The parameters; everything is computed in their dtype.
        x : array, shape (batch, n_inputs)
            One row per sample.
        rng : Generator, optional
            Switches dropout on (training); without it dropout does nothing (prediction).

        Returns
        -------
        outputs : array, shape (batch, n_outputs)
        caches : list
            One entry per layer.

        Raises
        ------
        ValueError
            If `x` has the wrong shape or holds NaN or infinity, or `theta` the wrong length.
        """
        where = f"{type(self).__name__}.forward"
        check_theta(theta, where=where)
        check_noise(rng, where=where)
        params = self.unpack(theta)
        x = check_matrix(x, self.n_inputs, where=where)
        self.widths(x.shape[1])
        return self.propagate(params, x.astype(theta.dtype, copy=False), rng=rng)

    def propagate(
        self,
        params: list[Params],
        x: Array,
        *,
        rng: Noise | None = None,
        workspace: Workspace | None = None,
    ) -> tuple[Array, list[Any]]:
        """Do what :meth:`forward` does, for loops: nothing is checked.

        Parameters
        ----------
        params : list of dict
            What :meth:`unpack` makes of theta.
        x : array, shape (batch, n_inputs)
            In the dtype of theta.
        rng : Generator, optional
            Switches dropout on.
        workspace : Workspace, optional
            Where the outputs of the layers go, instead of fresh memory.

        Returns
        -------
        outputs, caches
            As of :meth:`forward`.
        """
        caches = []
        for i, (layer, p) in enumerate(zip(self.layers, params, strict=True)):
            x, cache = layer.forward(
                p, x, rng=rng, empty=fresh if workspace is None else workspace.forward(i)
            )
            caches.append(cache)
        return x, caches

    def backward(self, theta: Array, caches: list[Any], dy: Array) -> tuple[Array, Array]:
        """Send the gradient of the outputs back through the layers.

        Parameters
        ----------
        theta : array, shape (n_params,)
            The parameters that :meth:`forward` used.
        caches : list
            What :meth:`forward` returned.
        dy : array, shape (batch, n_outputs)
            d loss / d outputs.

        Returns
        -------
        dx : array, shape (batch, n_inputs)
            d loss / d x.
        dtheta : array, shape (n_params,)
            d loss / d theta.

        Raises
        ------
        ValueError, TypeError
            If theta, the caches or the shape of dy are not those of one :meth:`forward`.
        """
        where = f"{type(self).__name__}.backward"
        check_theta(theta, where=where)
        dy = check_numbers(dy, where=where, name="dy").astype(theta.dtype, copy=False)
        check_shape(dy, None, where=where, name="dy")
        gradient = np.empty_like(theta)
        params, grads = self.unpack(theta), self.unpack(gradient)
        try:
            dx = self.backpropagate(params, caches, dy, grads)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{where}: caches must be those that forward returned, and dy be of the shape of "
                f"its outputs; got caches {shown(caches)} and dy of shape {dy.shape} ({error})."
            ) from error
        return dx, gradient

    def backpropagate(
        self,
        params: list[Params],
        caches: list[Any],
        dy: Array,
        grads: list[Params],
        *,
        workspace: Workspace | None = None,
        stop: int | None = None,
    ) -> Array:
        """Do what :meth:`backward` does, for loops: into arrays that are there, and no further.

        Parameters
        ----------
        params, caches, dy
            What :meth:`propagate` was given and returned, and d loss / d outputs.
        grads : list of dict
            What :meth:`unpack` makes of the gradient's vector, which is written to.
        workspace : Workspace, optional
            Where the gradients by the layers' inputs go, instead of fresh memory.
        stop : int, optional
            The layer with which to end: the gradient by its inputs is not computed.

        Returns
        -------
        array
            d loss / d x, shape (batch, n_inputs); with `stop`, d loss / d that layer's outputs.
        """
        for i in reversed(range(len(self.layers))):
            self.layers[i].gradient(caches[i], dy, grads[i])
            if i == stop:
                break
            empty = fresh if workspace is None else workspace.backward(i)
            dy = self.layers[i].backward(params[i], caches[i], dy, empty=empty)
        return dy


def _taken(layer: Layer) -> int | None:
    # A layer of somebody's own that says nothing takes any number of inputs.
    found: int | None = getattr(layer, "fan_in", None)
    return found


def check_noise(rng: object, *, where: str) -> None:
    """Raise TypeError unless `rng` is None, or draws random numbers for dropout.

    Examples
    --------
    >>> check_noise(0, where="forward")
    Traceback (most recent call last):
    ...
    TypeError: forward: rng must be a numpy.random.Generator or None, got 0; pass \
np.random.default_rng(seed).
    """
    if rng is not None and not hasattr(rng, "random"):
        raise TypeError(
            f"{where}: rng must be a numpy.random.Generator or None, got {shown(rng)}; "
            "pass np.random.default_rng(seed)."
        )


def check_bounds(bounds: Any, *, where: str) -> tuple[int, ...]:
    """Return numbers of layers, before which a chain is cut, as Python's integers.

    Examples
    --------
    >>> check_bounds(2, where="split")
    Traceback (most recent call last):
    ...
    TypeError: split: bounds must be a sequence of integers, got 2.
    """
    parts = check_sequence(bounds, where=where, name="bounds", of="integers")
    return tuple(check_integer(b, where=where, name="each of bounds", at_least=0) for b in parts)
