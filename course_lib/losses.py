"""A loss says how wrong the outputs are, in one number; its gradient says which way is less wrong.

``f(outputs, targets)`` returns the SUM of the row losses and its gradient by the outputs. Nothing
here divides by the batch size: the one division is by ``denominator`` in
:meth:`Network.loss_and_grad <course_lib.network.Network.loss_and_grad>`, so pieces of a batch, of
any size and computed anywhere, only need to be added. Losses take logits (raw outputs). ``f``
trusts its arguments; :meth:`Loss.check` says whether targets are what a loss expects, and if not,
where, and what to do.

Chapter: losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from course_lib import row_losses
from course_lib.activations import sigmoid, softmax
from course_lib.arrays import (
    Array,
    check_callable,
    check_instance,
    check_numbers,
    check_shape,
)
from course_lib.registry import lookup
from course_lib.row_losses import DELTA, columns
from course_lib.targets import Kind, check_targets


@dataclass(frozen=True)
class Loss:
    """A row loss, summed over the rows of a batch, with its gradient.

    Parameters
    ----------
    name : str
        The name under which :func:`get` finds it.
    f : callable
        ``f(outputs, targets, out=None) -> (total, gradient)``: the sum over rows as a Python
        float, and d total / d outputs with the shape and dtype of `outputs`, written into `out`
        where given.
    kind : {"values", "binary", "labels", "margin"}
        What the targets are: real numbers (batch, k); numbers in [0, 1] of shape (batch, k);
        integer class labels (batch,) below k; or the same, except that one output tells two
        classes apart. Where k = 1, targets may have shape (batch,) or (batch, 1).
    rows : callable, optional
        ``rows(outputs, targets)``: the losses of the rows, shape (batch,), of which `f` returns the
        sum. Only rows with weights need it.

    Examples
    --------
    >>> total, gradient = mse(np.array([[3.0], [5.0]]), np.array([1.0, 5.0]))
    >>> total
    4.0
    >>> gradient
    array([[4.],
           [0.]])
    """

    name: str
    f: Callable[..., tuple[float, Array]] = field(repr=False)
    kind: Kind = "values"
    # It says nothing that f does not: two losses with the same f are the same.
    rows: Callable[[Array, Array], Array] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_instance(self.name, str, where="Loss", name="name")
        check_callable(self.f, where="Loss", name="f", takes=("outputs", "targets"))
        lookup("kind of loss", self.kind, dict.fromkeys(get_args(Kind)))
        if self.rows is not None:
            check_callable(self.rows, where="Loss", name="rows", takes=("outputs", "targets"))

    def __call__(self, outputs: Any, targets: Any) -> tuple[float, Array]:
        """Return the sum over rows and its gradient, after checking both."""
        outputs = check_numbers(outputs, where=self.name, name="outputs")
        check_shape(outputs, None, where=self.name, name="outputs")
        return self.f(outputs, self.check(targets, outputs.shape, where=self.name))

    def weighted(
        self, outputs: Array, targets: Array, weights: Array, out: Array | None = None
    ) -> tuple[float, Array]:
        r"""Return :math:`\sum_i w_i \ell_i` and its gradient; arguments are trusted, as those of f.

        Raises
        ------
        TypeError
            If the loss does not say what the losses of the rows are.

        Examples
        --------
        >>> total, gradient = mse.weighted(np.array([[3.0], [5.0]]), np.ones(2), np.array([2.0, 0]))
        >>> total, gradient.tolist()
        (8.0, [[8.0], [0.0]])
        """
        total = float(np.dot(weights, self.of_rows(outputs, targets)))  # f may overwrite outputs
        _, gradient = self.f(outputs, targets, out=out)
        gradient *= weights[:, None].astype(gradient.dtype, copy=False)
        return total, gradient

    def of_rows(self, outputs: Array, targets: Array) -> Array:
        """Return the losses of the rows, shape (batch,); arguments are trusted, as those of f.

        Raises
        ------
        TypeError, ValueError
            If the loss does not say what they are, or not one number per row.

        Examples
        --------
        >>> mae.of_rows(np.array([[3.0], [5.0]]), np.ones(2))
        array([2., 4.])
        """
        if self.rows is None:
            raise TypeError(
                f"{self.name}: the losses of the rows are not known, only their sum; pass rows=, a "
                "function (outputs, targets), to Loss."
            )
        each = self.rows(outputs, targets)
        if np.shape(each) != (len(outputs),):
            raise ValueError(
                f"{self.name}: rows must return one number per row, of shape {(len(outputs),)}, "
                f"got {np.shape(each)}."
            )
        return each

    def check(self, targets: Any, shape: tuple[int, ...], *, where: str) -> Array:
        """Return the targets as an array that fits outputs of shape (batch, k), or raise.

        Parameters
        ----------
        targets : array
            What was given.
        shape : (batch, k)
            The shape of the outputs.
        where : str
            With what the error begins.

        Raises
        ------
        TypeError
            If class labels are not integers, or other targets not numbers.
        ValueError
            If the shape does not fit, a label is out of range, or a value is not finite.

        Examples
        --------
        >>> softmax_cross_entropy.check([0, 3], (2, 3), where="fit")
        Traceback (most recent call last):
        ...
        ValueError: fit: labels must lie in 0..2 for 3 outputs, got 3 at row 1.
        """
        return check_targets(targets, shape, self.kind, where=where, loss=self.name)

    def decide(self, outputs: Array) -> Array:
        """Turn outputs (batch, k) into answers: labels for a classification loss, else outputs.

        Examples
        --------
        >>> softmax_cross_entropy.decide(np.array([[0.1, 2.0, 0.3]]))
        array([1])
        >>> binary_cross_entropy.decide(np.array([[-0.5], [0.5]]))
        array([0, 1])
        """
        if self.kind == "values":
            return outputs
        one = outputs.shape[1] == 1
        if self.kind == "labels" or (self.kind == "margin" and not one):
            winner: Array = np.argmax(outputs, axis=1)
            return winner
        decided: Array = (outputs > 0).astype(np.int64)
        return decided[:, 0] if one else decided

    def probabilities(self, outputs: Array) -> Array:
        """Turn logits into probabilities: softmax or sigmoid, whichever the loss implies.

        Raises
        ------
        ValueError
            If the loss does not define probabilities.

        Examples
        --------
        >>> softmax_cross_entropy.probabilities(np.array([[0.0, 0.0]]))
        array([[0.5, 0.5]])
        """
        if self.kind == "labels":
            return softmax(outputs)
        if self.kind == "binary":
            return sigmoid(outputs)
        raise ValueError(
            f"{self.name} does not define probabilities; use softmax_cross_entropy or "
            "binary_cross_entropy, or ask for the predictions."
        )


def _mse(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    k = outputs.shape[1]
    out = np.subtract(outputs, columns(targets, outputs), out=out)
    total = float(np.vdot(out, out)) / k
    out *= 2 / k
    return total, out


mse = Loss("mse", _mse, rows=row_losses.mse)
r"""Mean squared error: :math:`l_i = \frac{1}{k} \sum_j (\hat y_{ij} - y_{ij})^2`.

Gradient :math:`2 (\hat y_{ij} - y_{ij}) / k`. Divided by the batch size it equals
``torch.nn.functional.mse_loss`` and ``sklearn.metrics.mean_squared_error``.

Examples
--------
>>> mse([[1.0, 2.0]], [[0.0, 0.0]])[0]
2.5
"""


def _mae(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    k = outputs.shape[1]
    out = np.subtract(outputs, columns(targets, outputs), out=out)
    total = float(np.abs(out).sum()) / k
    np.sign(out, out=out)
    out /= k
    return total, out


mae = Loss("mae", _mae, rows=row_losses.mae)
r"""Mean absolute error: :math:`l_i = \frac{1}{k} \sum_j |\hat y_{ij} - y_{ij}|`.

Gradient :math:`\mathrm{sign}(\hat y_{ij} - y_{ij}) / k`, 0 where they are equal.

Examples
--------
>>> mae([[1.0, -2.0]], [[0.0, 0.0]])[0]
1.5
"""


def _huber(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    k = outputs.shape[1]
    error = np.subtract(outputs, columns(targets, outputs))
    out = np.clip(error, -DELTA, DELTA, out=out)
    # With c = clip(e): c (e - c / 2) is e^2 / 2 inside and DELTA (|e| - DELTA / 2) outside.
    total = float(np.vdot(out, error - 0.5 * out)) / k
    out /= k
    return total, out


huber = Loss("huber", _huber, rows=row_losses.huber)
r"""Huber's loss with threshold 1: :math:`e^2/2` for :math:`|e| \le 1`, else :math:`|e| - 1/2`.

Mean over the outputs of a row; gradient :math:`\mathrm{clip}(e, -1, 1) / k`.

References: Huber 1964.

Examples
--------
>>> huber([[0.5], [-3.0]], [[0.0], [0.0]])[0]
2.625
"""


def _binary_cross_entropy(
    outputs: Array, targets: Array, out: Array | None = None
) -> tuple[float, Array]:
    k = outputs.shape[1]
    y = columns(targets, outputs)
    above = outputs > 0
    e = np.exp(-np.abs(outputs))
    # Where z is large, log(1 + exp(z)) - y z is z - y z, and what matters would be rounded away.
    total = float((np.abs(outputs) * np.where(above, 1 - y, y) + np.log1p(e)).sum()) / k
    e /= 1 + e  # sigmoid(-|z|), the smaller of the two probabilities
    out = np.subtract(np.where(above, 1 - y, e), np.where(above, e, y), out=out)
    out /= k
    return total, out


binary_cross_entropy = Loss(
    "binary_cross_entropy", _binary_cross_entropy, "binary", rows=row_losses.binary_cross_entropy
)
r"""Cross-entropy of independent yes/no outputs, from logits z.

:math:`l_i = \frac{1}{k} \sum_j \log(1 + e^{z_{ij}}) - y_{ij} z_{ij}`, gradient
:math:`(\sigma(z_{ij}) - y_{ij}) / k`. Stable for any z.

Examples
--------
>>> round(binary_cross_entropy([[0.0]], [1])[0], 4)
0.6931
"""


def _softmax_cross_entropy(
    outputs: Array, targets: Array, out: Array | None = None
) -> tuple[float, Array]:
    rows = np.arange(len(outputs))
    # The largest score of EACH row is subtracted: one for the whole batch would couple the rows.
    out = np.subtract(outputs, outputs.max(axis=1, keepdims=True), out=out)
    total = -float(out[rows, targets].sum())
    np.exp(out, out=out)
    # In float32 the small summands, which are the loss of a row that is right, would be lost.
    normaliser = out.sum(axis=1, keepdims=True, dtype=np.float64)
    total += float(np.log(normaliser).sum())
    out /= normaliser
    out[rows, targets] -= 1
    return total, out


softmax_cross_entropy = Loss(
    "softmax_cross_entropy", _softmax_cross_entropy, "labels", rows=row_losses.softmax_cross_entropy
)
r"""Cross-entropy of one class out of k, from logits z and integer labels y.

:math:`l_i = \log \sum_j e^{z_{ij}} - z_{i y_i}`, gradient
:math:`p_{ij} - [j = y_i]` with :math:`p = \mathrm{softmax}(z)`. Stable for any z.

Examples
--------
>>> round(softmax_cross_entropy([[0.0, 0.0, 0.0]], [2])[0], 4)
1.0986
"""


def _hinge(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    out = np.empty_like(outputs) if out is None else out
    if outputs.shape[1] == 1:
        sign = 2 * columns(targets, outputs) - 1
        margin = 1 - sign * outputs
        np.multiply(-sign, margin > 0, out=out)
        return float(np.maximum(margin, 0).sum()), out
    rows = np.arange(len(outputs))
    others = outputs.copy()
    others[rows, targets] = -np.inf
    rival = np.argmax(others, axis=1)
    margin = 1 + outputs[rows, rival] - outputs[rows, targets]
    wrong = margin > 0
    out.fill(0)  # only now: it may be the array of the outputs
    out[rows[wrong], rival[wrong]] = 1
    out[rows[wrong], targets[wrong]] = -1
    return float(np.maximum(margin, 0).sum()), out


hinge = Loss("hinge", _hinge, "margin", rows=row_losses.hinge)
r"""Margin loss of a class: :math:`l_i = \max(0,\; 1 + \max_{j \ne y_i} z_{ij} - z_{i y_i})`.

With one output and labels 0/1: :math:`\max(0, 1 - t_i z_i)`, :math:`t_i = 2 y_i - 1`. The same
definition as ``sklearn.metrics.hinge_loss``.

References: Crammer & Singer 2001.

Examples
--------
>>> hinge([[2.0, 1.5, 0.0]], [0])[0]
0.5
"""


ALL: dict[str, Loss] = {
    loss.name: loss
    for loss in (mse, mae, huber, binary_cross_entropy, softmax_cross_entropy, hinge)
}


def get(loss: str | Loss) -> Loss:
    """Return the loss of that name; a :class:`Loss` is returned as it is.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> get("mse") is mse
    True
    """
    return loss if isinstance(loss, Loss) else lookup("loss", loss, ALL)
