"""A network is a chain of layers with a loss at its end.

``loss_and_grad`` is the whole of learning: the loss of a batch, and its gradient by every weight
and bias. Optimizers use that gradient; parallel strategies add up such gradients. The network
holds no state, so it can run on several batches, threads or machines at once and never knows.

Chapters: backpropagation, a network in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from course_lib import activations, losses
from course_lib.activations import Activation
from course_lib.arrays import (
    Array,
    as_array,
    check_dtype,
    check_instance,
    check_integer,
    check_like,
    check_matrix,
    check_number,
    check_row_numbers,
    check_sequence,
    check_shape,
    check_theta,
    shown,
)
from course_lib.chain import Chain, check_bounds, check_noise
from course_lib.layers import Activate, Dense, Dropout, Layer, Noise, fresh
from course_lib.losses import Loss
from course_lib.weights import Initializer, he_normal
from course_lib.weights import get as get_weights
from course_lib.workspace import Workspace

__all__ = ["Activate", "Dense", "Dropout", "Network", "mlp"]


@dataclass(frozen=True)
class Network(Chain):
    r"""Layers applied one after the other, and the loss that judges the last output.

    .. math:: L(\theta) = \frac{1}{N} \sum_{i=1}^{N} \ell(a_{\mathrm{out},i}, y_i)

    Parameters
    ----------
    layers : tuple of layers
        :class:`Dense`, :class:`Activate` and :class:`Dropout`, in order.
    loss : Loss
        The row loss; the last layer gives its logits.

    Raises
    ------
    ValueError, TypeError
        If two neighbouring layers do not fit, or something is no layer or no loss.

    Examples
    --------
    >>> net = mlp([2, 3, 2], hidden="tanh")
    >>> net.n_params
    17
    >>> theta = net.init(np.random.default_rng(0))
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    >>> loss, gradient = net.loss_and_grad(theta, x, y)
    >>> print(f"{loss:.4f}", gradient.shape)
    0.7220 (17,)
    """

    loss: Loss

    def __post_init__(self) -> None:
        super().__post_init__()
        check_instance(
            self.loss, Loss, where="Network", name="loss", hint="losses.get(name) finds one"
        )

    def loss_and_grad(
        self,
        theta: Array,
        x: Any,
        y: Any,
        *,
        denominator: float | None = None,
        out: Array | None = None,
        workspace: Workspace | None = None,
        rng: Noise | None = None,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        r"""Compute the loss and its gradient by theta: one forward and one backward pass.

        .. math:: L = \frac{1}{N} \sum_i \ell_i, \qquad g = \frac{\partial L}{\partial \theta}

        Parameters
        ----------
        theta : array, shape (n_params,)
            The parameters; everything is computed in their dtype.
        x : array, shape (batch, n_inputs)
            One row per sample.
        y : array
            Targets, see :class:`~course_lib.losses.Loss`.
        denominator : number, optional
            N, by default the number of rows of `x`, or the sum of their weights. For a piece of a
            larger batch pass that of the whole: then the losses and gradients of the pieces just
            add up.
        out : array, shape (n_params,), optional
            Where to write the gradient.
        workspace : Workspace, optional
            Scratch arrays from :meth:`workspace`, so that nothing is allocated. With it the
            *values* in x and y are trusted (:meth:`check_data` once); without it they are checked.
        rng : Generator, optional
            Noise for dropout.
        weights : array, shape (batch,), optional
            How much each row counts: :math:`\ell_i` becomes :math:`w_i \ell_i`.

        Returns
        -------
        loss : float
        gradient : array, shape (n_params,)

        Raises
        ------
        ValueError
            If a shape does not fit, a label is out of range, a number is not finite, or the
            batch is empty and no denominator is given.
        TypeError
            If theta is no array of floating-point numbers, or another argument of a wrong kind.
        """
        where = "loss_and_grad"
        check_theta(theta, where=where)
        if rng is not None:
            check_noise(rng, where=where)
        # Compared here first: this runs at every step, and a call costs more than the comparison.
        if out is not None and not (
            type(out) is np.ndarray and out.shape == theta.shape and out.dtype == theta.dtype
        ):
            check_like(out, theta, where=where, name="out", like="theta")
        if workspace is None:
            x, y = self.check_data(x, y, where=where, empty=denominator is not None)
            views, empty = self.unpack, fresh
        else:
            check_instance(
                workspace, Workspace, where=where, name="workspace",
                hint="make one with net.workspace(batch_size, dtype)",
            )  # fmt: skip
            _check_rows(x, y, self.n_inputs, where=where)
            views, empty = workspace.views, workspace.output
        if weights is not None and workspace is None:
            weights = check_row_numbers(weights, len(x), where=where, name="weights")
        elif weights is not None and not (
            isinstance(weights, np.ndarray) and weights.shape == (len(x),)
        ):
            raise ValueError(
                f"{where}: weights must be one number per row of the data, {len(x)}, got "
                f"{shown(weights)}."
            )
        if denominator is None:
            denominator = len(x) if weights is None else float(weights.sum()) or 1.0
        if type(denominator) is not int or denominator < 1:
            if weights is None:
                check_integer(denominator, where=where, name="denominator", at_least=1)
            else:
                check_number(denominator, where=where, name="denominator", above=0)
        gradient = np.empty_like(theta) if out is None else out
        params, grads = views(theta), views(gradient)
        outputs, caches = self.propagate(
            params, x.astype(theta.dtype, copy=False), rng=rng, workspace=workspace
        )
        out = empty(outputs.shape, outputs.dtype)
        if weights is None:
            total, dy = self.loss.f(outputs, y, out=out)
        else:
            total, dy = self.loss.weighted(outputs, y, weights, out=out)
        dy /= denominator
        self.backpropagate(
            params, caches, dy, grads, workspace=workspace, stop=self.first_with_parameters
        )
        return total / denominator, gradient

    def loss_value(self, theta: Array, x: Any, y: Any, *, denominator: int | None = None) -> float:
        """Compute the loss without its gradient, dropout off; arguments as loss_and_grad."""
        x, y = self.check_data(x, y, where="loss_value", empty=denominator is not None)
        denominator = len(x) if denominator is None else denominator
        check_integer(denominator, where="loss_value", name="denominator", at_least=1)
        outputs, _ = self.forward(theta, x)
        return self.loss.f(outputs, y)[0] / denominator

    def predict(self, theta: Array, x: Any) -> Array:
        """Answer: class labels (batch,) for a classification loss, else the outputs (batch, k).

        Raises
        ------
        ValueError
            If theta or x is not finite: the largest of NaNs would be class 0.

        Examples
        --------
        >>> net = mlp([2, 3, 4])
        >>> net.predict(net.init(np.random.default_rng(0)), np.ones((5, 2))).shape
        (5,)
        """
        check_theta(theta, where="predict", finite=True)
        return self.loss.decide(self.forward(theta, x)[0])

    def predict_proba(self, theta: Array, x: Any) -> Array:
        """Give the probability of each class (batch, k); rows of a softmax network sum to 1.

        Raises
        ------
        ValueError
            If the loss does not define probabilities (only the two cross-entropies do).
        """
        return self.loss.probabilities(self.forward(theta, x)[0])

    def split(self, bounds: Sequence[int]) -> list[Network]:
        """Cut the chain before the layers `bounds`: each part's theta is a contiguous slice.

        Examples
        --------
        >>> [part.n_params for part in mlp([2, 3, 2]).split([2])]
        [9, 8]
        """
        edges = [0, *check_bounds(bounds, where="Network.split"), len(self.layers)]
        if any(b <= a for a, b in pairwise(edges)):
            raise ValueError(
                f"Network.split: bounds must increase within 1..{len(self.layers) - 1}, "
                f"got {list(bounds)}."
            )
        return [Network(self.layers[a:b], self.loss) for a, b in pairwise(edges)]

    def workspace(self, batch_size: int, dtype: Any = np.float64) -> Workspace:
        """Make scratch arrays for batches of up to `batch_size` rows; the caller keeps them."""
        rows = check_integer(batch_size, where="workspace", name="batch_size", at_least=1)
        return Workspace(self.unpack, len(self.layers), rows, check_dtype(dtype, where="workspace"))

    def check_data(
        self, x: Any, y: Any, *, where: str = "check_data", empty: bool = False
    ) -> tuple[Array, Array]:
        """Return x and y as arrays that this network can be trained on, or raise.

        Raises
        ------
        ValueError, TypeError
            If there are no rows (unless `empty`), the number of features or rows does not fit, a
            number is not finite, or a target is not what the loss expects.
        """
        x, y = check_matrix(x, self.n_inputs, where=where), as_array(y, where=where, name="y")
        _check_rows(x, y, self.n_inputs, where=where)
        if len(x) == 0 and not empty:
            raise ValueError(f"{where}: x must have at least one row, got shape {x.shape}.")
        return x, self.loss.check(y, (len(x), self.widths(x.shape[1])[-1]), where=where)


def _check_rows(x: Array, y: Array, columns: int | None, *, where: str) -> None:
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        raise TypeError(
            f"{where}: with a workspace, x and y must be arrays, got {shown(x)} and {shown(y)}."
        )
    check_shape(x, columns, where=where)
    if y.ndim == 0 or len(y) != len(x):
        raise ValueError(
            f"{where}: y must have as many rows as x, which has {len(x)}, got shape {y.shape}."
        )


def mlp(
    sizes: Sequence[int],
    hidden: str | Activation = activations.relu,
    loss: str | Loss = losses.softmax_cross_entropy,
    weights: str | Initializer = he_normal,
    *,
    dropout: float = 0.0,
) -> Network:
    """Build a multi-layer perceptron: Dense, activation, Dense, activation, ..., Dense.

    Parameters
    ----------
    sizes : sequence of int
        The number of features, of units in each hidden layer, and of outputs.
    hidden : str or Activation
        The activation after each hidden layer; none follows the last.
    loss : str or Loss
        The row loss, from logits.
    weights : str or callable
        The initialiser.
    dropout : float
        The probability of dropping a hidden unit while training.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer, a name is not known, or the dropout not in [0, 1).

    Examples
    --------
    >>> mlp([64, 32, 10]).n_params == 64 * 32 + 32 + 32 * 10 + 10
    True
    """
    sizes = [
        check_integer(size, where="mlp", name=f"sizes[{i}]", at_least=1)
        for i, size in enumerate(check_sequence(sizes, where="mlp", name="sizes", of="integers"))
    ]
    if len(sizes) < 2:
        raise ValueError(
            f"mlp: sizes needs at least inputs and outputs, got {sizes}; "
            "with a hidden layer, for example, [64, 32, 10]."
        )
    after: list[Layer] = [Activate(activations.get(hidden))]
    dropout = check_number(dropout, where="mlp", name="dropout", at_least=0, below=1)
    if dropout:
        after.append(Dropout(dropout))
    initializer = get_weights(weights)
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [Dense(fan_in, fan_out, initializer), *after]
    return Network(tuple(layers[: -len(after)]), losses.get(loss))
