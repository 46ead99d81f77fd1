"""What a loss expects as targets: numbers, probabilities or class labels, one row per sample.

Chapter: losses.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from course_lib.arrays import Array, as_array, shown

# Real numbers; numbers in [0, 1]; class labels; labels of which one output tells two apart.
Kind = Literal["values", "binary", "labels", "margin"]


def check_targets(
    targets: Any, shape: tuple[int, ...], kind: Kind, *, where: str, loss: str
) -> Array:
    """Return targets as an array that fits outputs of `shape`, or raise and name the loss.

    As :meth:`Loss.check <course_lib.losses.Loss.check>`, which calls it.

    Examples
    --------
    >>> check_targets([0, 3], (2, 3), "labels", where="fit", loss="hinge")
    Traceback (most recent call last):
    ...
    ValueError: fit: labels must lie in 0..2 for 3 outputs, got 3 at row 1.
    """
    y = as_array(targets, where=where, name="targets")
    rows, outputs = _two(shape, where)
    is_label = kind in ("labels", "margin")
    wanted = (rows,) if is_label else (rows, outputs)
    if y.shape != wanted and not (outputs == 1 and y.shape in {(rows,), (rows, 1)}):
        one_hot = is_label and y.shape == shape
        raise ValueError(
            f"{where}: targets for {loss} must have shape {wanted}, got {y.shape}"
            + ("; turn one-hot rows into labels by y.argmax(axis=1)." if one_hot else ".")
        )
    if is_label:
        classes = 2 if outputs == 1 and kind == "margin" else outputs
        return _check_labels(y.reshape(rows), classes, outputs, where)
    if y.dtype.kind not in "fiub":
        raise TypeError(f"{where}: targets must be real numbers, got dtype {y.dtype}.")
    bad = ~np.isfinite(y) if kind == "values" else ~((y >= 0) & (y <= 1))
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        legal = "finite" if kind == "values" else "in [0, 1]"
        raise ValueError(f"{where}: targets must be {legal}, got {y[row]} at row {row}.")
    return y


def _two(shape: Any, where: str) -> tuple[int, int]:
    if not isinstance(shape, tuple) or len(shape) != 2 or not shape[1] > 0:
        raise ValueError(
            f"{where}: outputs must have a shape (batch, k) with k of at least 1, got "
            f"{shown(shape)}."
        )
    rows, outputs = shape
    return rows, outputs


def _check_labels(y: Array, classes: int, outputs: int, where: str) -> Array:
    if y.dtype.kind not in "iu":
        raise TypeError(
            f"{where}: class labels must be integers, got dtype {y.dtype}; "
            "use y.astype(int) if they are whole numbers."
        )
    bad = (y < 0) | (y >= classes)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{where}: labels must lie in 0..{classes - 1} for {outputs} outputs, "
            f"got {y[row]} at row {row}."
        )
    return y
