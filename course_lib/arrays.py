"""What may enter: the array types that pass between the files, and the checks at the door.

Rows are samples. The checks cost a pass over the data, so they stand where data enters
(`fit`, `predict`, `train`), not in the inner loop.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Sequence
from numbers import Real
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
    x = check_numbers(x, where=where, name=name)
    check_shape(x, columns, where=where, name=name)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"{where}: {name} must be finite, got {x[row, column]} at row {row}, column {column}; "
            "remove or impute such rows first."
        )
    return x


def as_array(x: object, *, where: str, name: str) -> Array:
    """Return ``np.asarray(x)``, or say that no array can be made of it.

    Examples
    --------
    >>> as_array([[1], [2, 3]], where="fit", name="x")
    Traceback (most recent call last):
    ...
    ValueError: fit: x must be an array, with rows of the same length, got [[1], [2, 3]].
    """
    try:
        return np.asarray(x)
    except Exception as error:  # NumPy and the object itself raise of several kinds
        raise ValueError(
            f"{where}: {name} must be an array, with rows of the same length, got {shown(x)}."
        ) from error


def check_numbers(x: object, *, where: str, name: str = "x") -> Array:
    """Return `x` as an array of floating-point numbers, of any shape; NaN and infinity pass.

    Integers and booleans become float64.

    Examples
    --------
    >>> check_numbers(["a", "b"], where="softmax", name="z")
    Traceback (most recent call last):
    ...
    TypeError: softmax: z must hold real numbers, got ['a', 'b'].
    """
    array = as_array(x, where=where, name=name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: {name} must hold real numbers, got {shown(x)}.")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def check_row_numbers(value: Any, rows: int | None, *, where: str, name: str) -> Array:
    """Return one number per row, in double precision: finite, at least 0, not all zero.

    Examples
    --------
    >>> check_row_numbers([1, 2], 2, where="fit", name="weights")
    array([1., 2.])
    """
    array = as_array(value, where=where, name=name)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        wrong = TypeError if array.dtype.kind not in "fiub" else ValueError
        raise wrong(f"{where}: {name} must be one number per row, got {shown(value)}.")
    if rows is not None and len(array) != rows:
        raise ValueError(
            f"{where}: {name} must be one number per row of the data, {rows}, got {len(array)}."
        )
    numbers: Array = array.astype(np.float64)
    if not (np.isfinite(numbers).all() and (numbers >= 0).all() and numbers.sum() > 0):
        raise ValueError(
            f"{where}: {name} must be finite and at least 0, and not all of them zero, got "
            f"{shown(value)}."
        )
    return numbers


def check_like(array: object, model: Array, *, where: str, name: str, like: str) -> None:
    """Raise unless `array` has the shape and dtype of `model`, so that it can be written into.

    Examples
    --------
    >>> check_like(np.zeros(2), np.zeros(3), where="loss_and_grad", name="out", like="theta")
    Traceback (most recent call last):
    ...
    ValueError: loss_and_grad: out must be like theta, float64 (3,), got float64 (2,).
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{where}: {name} must be an array like {like}, got {shown(array)}.")
    if array.shape != model.shape or array.dtype != model.dtype:
        raise ValueError(
            f"{where}: {name} must be like {like}, {model.dtype} {model.shape}, got "
            f"{array.dtype} {array.shape}."
        )


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
        hint = f"; reshape one sample with {name}[None, :]." if x.ndim == 1 else "."
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
            f"{where}: {name} must be an integer of at least {at_least}, got {shown(value)}."
        ) from None
    if isinstance(value, bool) or number < at_least:
        raise ValueError(
            f"{where}: {name} must be an integer of at least {at_least}, got {shown(value)}."
        )
    return number


def check_number(
    value: object,
    *,
    where: str,
    name: str,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return `value`, a finite number within these bounds, as Python's float.

    A number of NumPy would decide the type of what it is multiplied with (NEP 50).

    Examples
    --------
    >>> check_number(1.5, where="Dropout", name="rate", at_least=0, below=1)
    Traceback (most recent call last):
    ...
    ValueError: Dropout: rate must be a finite number >= 0 and < 1, got 1.5.
    """
    is_number = isinstance(value, Real)
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    within = at_least <= number <= at_most and above < number < below
    if not within or isinstance(value, bool):
        limits = {">=": at_least, ">": above, "<=": at_most, "<": below}
        given = [f"{sign} {limit:g}" for sign, limit in limits.items() if math.isfinite(limit)]
        wanted = " ".join(["a finite number", " and ".join(given)]).strip()
        kind = ValueError if is_number else TypeError
        raise kind(f"{where}: {name} must be {wanted}, got {shown(value)}.")
    return number


def check_flag(value: object, *, where: str, name: str) -> bool:
    """Return `value`, which must be True or False: any text would count as True.

    Examples
    --------
    >>> check_flag("no", where="fit", name="early_stopping")
    Traceback (most recent call last):
    ...
    TypeError: fit: early_stopping must be True or False, got 'no'.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} must be True or False, got {shown(value)}.")
    return bool(value)


def check_callable(value: Any, *, where: str, name: str, takes: tuple[str, ...]) -> Any:
    """Return `value`, which must be a function that can be called with these arguments.

    Examples
    --------
    >>> check_callable(lambda: True, where="fit", name="stop", takes=("history",))
    Traceback (most recent call last):
    ...
    TypeError: fit: stop must be a function of (history), got one that cannot be called so: too \
many positional arguments.
    """
    wanted = f"{where}: {name} must be a function of ({', '.join(takes)}), got"
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{wanted} {shown(value)}.")
    try:
        signature = inspect.signature(value)
    except ValueError:  # what is written in C need not tell
        return value
    try:
        signature.bind(*takes)
    except TypeError as error:
        raise TypeError(f"{wanted} one that cannot be called so: {error}.") from None
    return value


def check_instance(
    value: object, kind: type[Any], *, where: str, name: str, hint: str = ""
) -> None:
    """Raise TypeError unless `value` is a `kind`; `hint` says how to come by one.

    Examples
    --------
    >>> check_instance("he", dict, where="step", name="state", hint="make one with init(theta)")
    Traceback (most recent call last):
    ...
    TypeError: step: state must be a dict, got 'he'; make one with init(theta).
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(
            f"{where}: {name} must be {article} {kind.__name__}, got {shown(value)}"
            f"{f'; {hint}' if hint else ''}."
        )


def check_pair(value: Any, *, where: str, name: str) -> tuple[Any, Any]:
    """Return the two parts of `value`, inputs and targets.

    Examples
    --------
    >>> check_pair([1, 2, 3], where="fit", name="validation")
    Traceback (most recent call last):
    ...
    TypeError: fit: validation must be a pair (x, y), got [1, 2, 3].
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{where}: {name} must be a pair (x, y), got {shown(value)}.")
    x, y = value
    return x, y


def check_sequence(value: Any, *, where: str, name: str, of: str) -> list[Any]:
    """Return the parts of a list, tuple or array; a text is none.

    Examples
    --------
    >>> check_sequence("64", where="mlp", name="sizes", of="integers")
    Traceback (most recent call last):
    ...
    TypeError: mlp: sizes must be a sequence of integers, got '64'.
    """
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if not is_sequence and not (isinstance(value, np.ndarray) and value.ndim > 0):
        raise TypeError(f"{where}: {name} must be a sequence of {of}, got {shown(value)}.")
    return list(value)


def check_dtype(dtype: Any, *, where: str, name: str = "dtype") -> np.dtype[Any]:
    """Return a floating-point type of NumPy.

    Examples
    --------
    >>> check_dtype(int, where="init")
    Traceback (most recent call last):
    ...
    TypeError: init: dtype must be a floating-point type such as np.float32, got the class int.
    """
    try:
        found: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
    except Exception:  # NumPy raises of several kinds
        found = None
    if found is None or found.kind != "f":
        raise TypeError(
            f"{where}: {name} must be a floating-point type such as np.float32, got {shown(dtype)}."
        )
    return found


def check_theta(theta: object, *, where: str, finite: bool = False) -> None:
    """Raise TypeError unless `theta` is an array of floats: everything is computed in its dtype.

    With `finite` it must not hold NaN or infinity either: who trains or predicts with them would
    hear of it too late, or not at all.

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
    if finite and not np.isfinite(theta).all():
        at = int(np.argmin(np.isfinite(theta)))
        raise ValueError(
            f"{where}: theta must be finite, got {theta.flat[at]} at position {at}; it may come "
            "from a training that has diverged."
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


def shown(value: object) -> str:
    """Say in a few words what came, for an error sentence.

    Examples
    --------
    >>> shown("adam"), shown(dict), shown(np.zeros((2, 3)))
    ("'adam'", 'the class dict', 'an array of float64 with shape (2, 3)')
    """
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
