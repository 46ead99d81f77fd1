"""Are these the targets that a loss expects? If not, the error says where, and what to do.

Chapter: losses.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from course_lib.arrays import Array

Kind = Literal["values", "binary", "labels", "margin"]


def check_targets(
    name: str, kind: Kind, targets: Any, shape: tuple[int, ...], *, where: str
) -> Array:
    """Return the targets of a loss as an array that fits outputs of shape (batch, k), or raise.

    Parameters
    ----------
    name : str
        Of the loss.
    kind : {"values", "binary", "labels", "margin"}
        What its targets are.
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
    >>> check_targets("mse", "values", [1.0, 2.0, 3.0], (3, 2), where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: targets for mse must have shape (3, 2), got (3,).
    """
    y = np.asarray(targets)
    rows, outputs = shape
    is_label = kind in ("labels", "margin")
    wanted = (rows,) if is_label else (rows, outputs)
    if y.shape != wanted and not (outputs == 1 and y.shape in {(rows,), (rows, 1)}):
        one_hot = is_label and y.shape == shape
        raise ValueError(
            f"{where}: targets for {name} must have shape {wanted}, got {y.shape}"
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
