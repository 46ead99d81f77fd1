r"""The losses of single rows, of which those in :mod:`course_lib.losses` are the sums.

Each function takes outputs of shape (batch, k) and targets that have been checked, and returns
:math:`\ell_i`, shape (batch,), in double precision. Only rows with weights need them.

Chapter: losses.
"""

from __future__ import annotations

import numpy as np

from course_lib.arrays import Array

DELTA = 1.0
"""Where :func:`huber` turns from a parabola into a line."""


def columns(targets: Array, outputs: Array) -> Array:
    """Give targets of shape (batch,) their single column: without it they would broadcast.

    Examples
    --------
    >>> columns(np.array([1, 2]), np.zeros((2, 1))).tolist()
    [[1.0], [2.0]]
    """
    return targets.reshape(outputs.shape).astype(outputs.dtype, copy=False)


def mse(outputs: Array, targets: Array) -> Array:
    r"""Return :math:`\frac{1}{k} \sum_j (\hat y_{ij} - y_{ij})^2`.

    Examples
    --------
    >>> mse(np.array([[1.0, 3.0]]), np.zeros((1, 2)))
    array([5.])
    """
    return _mean((outputs - columns(targets, outputs)) ** 2)


def mae(outputs: Array, targets: Array) -> Array:
    r"""Return :math:`\frac{1}{k} \sum_j |\hat y_{ij} - y_{ij}|`.

    Examples
    --------
    >>> mae(np.array([[1.0, -3.0]]), np.zeros((1, 2)))
    array([2.])
    """
    return _mean(np.abs(outputs - columns(targets, outputs)))


def huber(outputs: Array, targets: Array) -> Array:
    r"""Return the mean over j of :math:`e_j^2/2` or, where :math:`|e_j| > 1`, :math:`|e_j| - 1/2`.

    Examples
    --------
    >>> huber(np.array([[0.5], [-3.0]]), np.zeros(2))
    array([0.125, 2.5  ])
    """
    error = np.abs(outputs - columns(targets, outputs))
    within = np.minimum(error, DELTA)
    return _mean(within * (error - 0.5 * within))


def binary_cross_entropy(outputs: Array, targets: Array) -> Array:
    r"""Return :math:`\frac{1}{k} \sum_j \log(1 + e^{z_{ij}}) - y_{ij} z_{ij}`.

    Examples
    --------
    >>> binary_cross_entropy(np.array([[0.0]]), np.array([1])).round(4)
    array([0.6931])
    """
    y, size = columns(targets, outputs), np.abs(outputs)
    # Where z is large, log(1 + exp(z)) - y z is z - y z, and what matters would be rounded away.
    return _mean(size * np.where(outputs > 0, 1 - y, y) + np.log1p(np.exp(-size)))


def softmax_cross_entropy(outputs: Array, targets: Array) -> Array:
    r"""Return :math:`\log \sum_j e^{z_{ij}} - z_{i y_i}`.

    Examples
    --------
    >>> softmax_cross_entropy(np.zeros((2, 3)), np.array([2, 0])).round(4)
    array([1.0986, 1.0986])
    """
    below = outputs - outputs.max(axis=1, keepdims=True)
    normaliser = np.exp(below).sum(axis=1, dtype=np.float64)
    losses: Array = np.log(normaliser) - below[np.arange(len(outputs)), targets]
    return losses


def hinge(outputs: Array, targets: Array) -> Array:
    r"""Return :math:`\max(0,\; 1 + \max_{j \ne y_i} z_{ij} - z_{i y_i})`, or its form for k = 1.

    Examples
    --------
    >>> hinge(np.array([[2.0, 1.5, 0.0]]), np.array([0]))
    array([0.5])
    """
    if outputs.shape[1] == 1:
        margin = 1 - ((2 * columns(targets, outputs) - 1) * outputs)[:, 0]
    else:
        rows, others = np.arange(len(outputs)), outputs.copy()
        others[rows, targets] = -np.inf
        margin = 1 + others.max(axis=1) - outputs[rows, targets]
    losses: Array = np.maximum(margin, 0).astype(np.float64, copy=False)
    return losses


def _mean(values: Array) -> Array:
    """Return the mean over the outputs of each row."""
    means: Array = values.sum(axis=1, dtype=np.float64) / values.shape[1]
    return means
