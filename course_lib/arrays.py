"""What may enter: the array types that pass between the files, and the checks at the door.

Rows are samples. The checks cost a pass over the data, so they stand where data enters
(`fit`, `predict`, `train`), not in the inner loop.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""A NumPy array; its shape is stated where it is used."""


def check_matrix(x: Array, columns: int | None, *, where: str, name: str = "x") -> Array:
    """Return `x` as a 2-D array of finite floating-point numbers.

    Parameters
    ----------
    x : array, shape (batch, columns)
        Integers and booleans are converted to float64; floating-point arrays keep their type.
    columns : int or None
        The number of columns expected; None accepts any.
    where : str
        Who asks, for the error sentence.
    name : str
        What the array is called in the error sentence.

    Raises
    ------
    ValueError
        If the array is not 2-D, has another number of columns, or holds NaN or infinity.
    TypeError
        If it does not hold real numbers.

    Examples
    --------
    >>> check_matrix([[1, 2], [3, 4]], 3, where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: x must have 3 columns (features), got shape (2, 2).
    """
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        x = x.astype(np.float64)
    if x.dtype.kind != "f":
        raise TypeError(f"{where}: {name} must hold real numbers, got dtype {x.dtype}.")
    check_shape(x, columns, where=where, name=name)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"{where}: {name} must be finite, got {x[row, column]} at row {row}, column {column}; "
            "remove or impute such rows first."
        )
    return x


def check_shape(x: Array, columns: int | None, *, where: str, name: str = "x") -> None:
    """Raise ValueError unless `x` is 2-D with `columns` columns.

    Examples
    --------
    >>> check_shape(np.zeros(3), 3, where="predict")
    Traceback (most recent call last):
    ...
    ValueError: predict: x must be 2-D (batch, features), got shape (3,); reshape one sample \
with x[None, :].
    """
    if x.ndim != 2:
        hint = "; reshape one sample with x[None, :]." if x.ndim == 1 else "."
        raise ValueError(
            f"{where}: {name} must be 2-D (batch, features), got shape {x.shape}{hint}"
        )
    if columns is not None and x.shape[1] != columns:
        raise ValueError(
            f"{where}: {name} must have {columns} columns (features), got shape {x.shape}."
        )


def check_integer(value: object, *, where: str, name: str, at_least: int) -> int:
    """Return `value` as a Python int of at least `at_least`.

    Examples
    --------
    >>> check_integer(0, where="fit", name="batch_size", at_least=1)
    Traceback (most recent call last):
    ...
    ValueError: fit: batch_size must be an integer of at least 1, got 0.
    """
    try:
        # operator.index accepts Python and NumPy integers and refuses 2.0 and "2".
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{where}: {name} must be an integer of at least {at_least}, got {value!r}."
        ) from None
    if isinstance(value, bool) or number < at_least:
        raise ValueError(
            f"{where}: {name} must be an integer of at least {at_least}, got {value!r}."
        )
    return number


def check_theta(theta: object, *, where: str) -> None:
    """Raise TypeError unless `theta` is an array of floats: everything is computed in its dtype.

    Examples
    --------
    >>> check_theta(np.arange(3), where="predict")
    Traceback (most recent call last):
    ...
    TypeError: predict: theta must be an array of floating-point numbers, got int64; make one with \
net.init(rng), or use theta.astype(float).
    """
    if not (isinstance(theta, np.ndarray) and theta.dtype.kind == "f"):
        got = theta.dtype if isinstance(theta, np.ndarray) else type(theta).__name__
        raise TypeError(
            f"{where}: theta must be an array of floating-point numbers, got {got}; make one with "
            "net.init(rng), or use theta.astype(float)."
        )


def check_generator(rng: object, *, where: str) -> np.random.Generator:
    """Return `rng`, which must be a NumPy Generator: randomness is an argument here.

    Examples
    --------
    >>> check_generator(0, where="init")
    Traceback (most recent call last):
    ...
    TypeError: init: rng must be a numpy.random.Generator, got int; pass \
np.random.default_rng(seed).
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{where}: rng must be a numpy.random.Generator, got {type(rng).__name__}; "
            "pass np.random.default_rng(seed)."
        )
    return rng
