"""The arithmetic of the losses: the sum over the rows, and its gradient by the outputs.

``name(outputs, targets, out=None) -> (total, gradient)``; outputs have shape (batch, k), and the
gradient is written into `out` where given. The arguments are trusted: :class:`Loss
<course_lib.losses.Loss>` checks them.

Chapter: losses.
"""

from __future__ import annotations

import numpy as np

from course_lib.activation_formulas import sigmoid, softplus
from course_lib.arrays import Array


def _columns(targets: Array, outputs: Array) -> Array:
    """Give targets of shape (batch,) their single column: without it they would broadcast."""
    return targets.reshape(outputs.shape).astype(outputs.dtype, copy=False)


def mse(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    """Return Σ e² / k with e = ŷ - y; gradient 2 e / k."""
    k = outputs.shape[1]
    out = np.subtract(outputs, _columns(targets, outputs), out=out)
    total = float(np.vdot(out, out)) / k
    out *= 2 / k
    return total, out


def mae(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    """Return Σ ``|e|`` / k; gradient sign(e) / k."""
    k = outputs.shape[1]
    out = np.subtract(outputs, _columns(targets, outputs), out=out)
    total = float(np.abs(out).sum()) / k
    np.sign(out, out=out)
    out /= k
    return total, out


DELTA = 1.0  # where huber turns from a parabola into a line


def huber(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    """Return Σ (e² / 2, or DELTA (``|e|`` - DELTA / 2) beyond it) / k; gradient clip(e) / k."""
    k = outputs.shape[1]
    error = np.subtract(outputs, _columns(targets, outputs))
    out = np.clip(error, -DELTA, DELTA, out=out)
    # With c = clip(e): c (e - c / 2) is e^2 / 2 inside and DELTA (|e| - DELTA / 2) outside.
    total = float(np.vdot(out, error - 0.5 * out)) / k
    out /= k
    return total, out


def binary_cross_entropy(
    outputs: Array, targets: Array, out: Array | None = None
) -> tuple[float, Array]:
    """Return Σ (log(1 + exp z) - y z) / k; gradient (σ(z) - y) / k."""
    k = outputs.shape[1]
    y = _columns(targets, outputs)
    total = float((softplus(outputs) - y * outputs).sum()) / k
    out = np.subtract(sigmoid(outputs), y, out=out)
    out /= k
    return total, out


def softmax_cross_entropy(
    outputs: Array, targets: Array, out: Array | None = None
) -> tuple[float, Array]:
    """Return Σ (log Σ exp z - z_y); gradient softmax(z) - onehot(y)."""
    rows = np.arange(len(outputs))
    # The largest score of EACH row is subtracted: one for the whole batch would couple the rows.
    out = np.subtract(outputs, outputs.max(axis=1, keepdims=True), out=out)
    total = -float(out[rows, targets].sum())
    np.exp(out, out=out)
    normaliser = out.sum(axis=1, keepdims=True)
    total += float(np.log(normaliser).sum())
    out /= normaliser
    out[rows, targets] -= 1
    return total, out


def hinge(outputs: Array, targets: Array, out: Array | None = None) -> tuple[float, Array]:
    """Return Σ max(0, 1 + best wrong score - right score); gradient +1 and -1 at those two."""
    out = np.empty_like(outputs) if out is None else out
    out.fill(0)
    if outputs.shape[1] == 1:
        sign = 2 * _columns(targets, outputs) - 1
        margin = 1 - sign * outputs
        np.copyto(out, -sign, where=margin > 0)
        return float(np.maximum(margin, 0).sum()), out
    rows = np.arange(len(outputs))
    others = outputs.copy()
    others[rows, targets] = -np.inf
    rival = np.argmax(others, axis=1)
    margin = 1 + outputs[rows, rival] - outputs[rows, targets]
    wrong = margin > 0
    out[rows[wrong], rival[wrong]] = 1
    out[rows[wrong], targets[wrong]] = -1
    return float(np.maximum(margin, 0).sum()), out
