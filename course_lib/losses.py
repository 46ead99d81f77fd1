"""A loss says how wrong the outputs are, in one number; its gradient says which way is less wrong.

``f(outputs, targets)`` returns the SUM of the row losses and its gradient by the outputs. Nothing
here divides by the batch size: the one division is by ``denominator`` in
:meth:`Network.loss_and_grad <course_lib.network.Network.loss_and_grad>`, so pieces of a batch, of
any size and computed anywhere, only need to be added. Losses take logits (raw outputs).

Chapter: losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course_lib import loss_formulas as formulas
from course_lib.activations import sigmoid, softmax
from course_lib.arrays import Array
from course_lib.loss_targets import Kind, check_targets
from course_lib.registry import lookup


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

    def __call__(self, outputs: Any, targets: Any) -> tuple[float, Array]:
        """Return the sum over rows and its gradient, after checking the targets."""
        outputs = np.asarray(outputs)
        if outputs.dtype.kind != "f":
            outputs = outputs.astype(np.float64)
        return self.f(outputs, self.check(targets, outputs.shape, where=self.name))

    def check(self, targets: Any, shape: tuple[int, ...], *, where: str) -> Array:
        """Return the targets as an array that fits outputs of shape (batch, k), or raise.

        Raises
        ------
        TypeError
            If class labels are not integers.
        ValueError
            If the shape does not fit, a label is out of range, or a value is not finite.

        Examples
        --------
        >>> softmax_cross_entropy.check([0, 3], (2, 3), where="fit")
        Traceback (most recent call last):
        ...
        ValueError: fit: labels must lie in 0..2 for 3 outputs, got 3 at row 1.
        """
        return check_targets(self.name, self.kind, targets, shape, where=where)

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


mse = Loss("mse", formulas.mse)
r"""Mean squared error: :math:`l_i = \frac{1}{k} \sum_j (\hat y_{ij} - y_{ij})^2`.

Gradient :math:`2 (\hat y_{ij} - y_{ij}) / k`. Divided by the batch size it equals
``torch.nn.functional.mse_loss`` and ``sklearn.metrics.mean_squared_error``.

Examples
--------
>>> mse([[1.0, 2.0]], [[0.0, 0.0]])[0]
2.5
"""

mae = Loss("mae", formulas.mae)
r"""Mean absolute error: :math:`l_i = \frac{1}{k} \sum_j |\hat y_{ij} - y_{ij}|`.

Gradient :math:`\mathrm{sign}(\hat y_{ij} - y_{ij}) / k`, 0 where they are equal.

Examples
--------
>>> mae([[1.0, -2.0]], [[0.0, 0.0]])[0]
1.5
"""

huber = Loss("huber", formulas.huber)
r"""Huber's loss with threshold 1: :math:`e^2/2` for :math:`|e| \le 1`, else :math:`|e| - 1/2`.

Mean over the outputs of a row; gradient :math:`\mathrm{clip}(e, -1, 1) / k`.

References: Huber 1964.

Examples
--------
>>> huber([[0.5], [-3.0]], [[0.0], [0.0]])[0]
2.625
"""

binary_cross_entropy = Loss("binary_cross_entropy", formulas.binary_cross_entropy, "binary")
r"""Cross-entropy of independent yes/no outputs, from logits z.

:math:`l_i = \frac{1}{k} \sum_j \log(1 + e^{z_{ij}}) - y_{ij} z_{ij}`, gradient
:math:`(\sigma(z_{ij}) - y_{ij}) / k`. Stable for any z.

Examples
--------
>>> round(binary_cross_entropy([[0.0]], [1])[0], 4)
0.6931
"""

softmax_cross_entropy = Loss("softmax_cross_entropy", formulas.softmax_cross_entropy, "labels")
r"""Cross-entropy of one class out of k, from logits z and integer labels y.

:math:`l_i = \log \sum_j e^{z_{ij}} - z_{i y_i}`, gradient
:math:`p_{ij} - [j = y_i]` with :math:`p = \mathrm{softmax}(z)`. Stable for any z.
Chapter: losses.

Examples
--------
>>> round(softmax_cross_entropy([[0.0, 0.0, 0.0]], [2])[0], 4)
1.0986
"""

hinge = Loss("hinge", formulas.hinge, "margin")
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
