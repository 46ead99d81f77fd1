"""Compare the learner's values with the right ones, and say precisely where they differ.

A checker reads from top to bottom: call, :func:`refuse` the typical mistakes, :func:`agree`.

Chapter: none; this file serves the exercises of all chapters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.exercises.calling import call, kind_of
from course_lib.exercises.verdict import Mistake

__all__ = [
    "agree", "array", "ask", "call", "in_double", "number", "parts", "refuse", "same", "slopes",
    "truth",
]  # fmt: skip


def number(value: Any, what: str) -> float:
    """Return a real number as a float.

    Examples
    --------
    >>> number(np.float32(0.5), "The loss")
    0.5
    >>> number("0.5", "The loss")
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: not-a-number: The loss should be a number, not a str.
    """
    found = _of_numpy(value)
    numeric = isinstance(found, Real) or (isinstance(found, np.ndarray) and np.isrealobj(found))
    if not numeric or np.size(found) != 1:
        kind = (
            f"an array of shape {found.shape}" if isinstance(found, np.ndarray) else kind_of(value)
        )
        raise Mistake("not-a-number", f"{what} should be a number, not {kind}.")
    return float(np.asarray(found).reshape(()))


def truth(value: Any) -> bool:
    """Return True or False as a bool, also if NumPy or PyTorch made it.

    Examples
    --------
    >>> truth(np.True_)
    True
    >>> truth(1)
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: not-true-or-false: Return True or False, not 1.
    """
    found = _of_numpy(value)
    if isinstance(found, np.ndarray) and found.shape == ():
        found = found[()]
    if not isinstance(found, bool | np.bool_):
        raise Mistake("not-true-or-false", f"Return True or False, not {value!r:.60}.")
    return bool(found)


def array(value: Any, what: str, *, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return the value as an array of numbers, of that shape if one is given.

    Lists, tuples and the tensors of PyTorch, also recorded ones, are arrays too.

    Examples
    --------
    >>> array([1.0, 2.0], "It", shape=(2, 1))
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: wrong-shape: It should have the shape (2, 1), but
    yours has (2,).
    """
    try:
        found = np.asarray(_of_numpy(value))
    except Exception:  # whatever a stranger's object makes NumPy raise
        found = np.asarray(None)
    if found.dtype.kind not in "biuf":
        raise Mistake("not-numbers", f"{what} should be an array of numbers, not {kind_of(value)}.")
    if shape is not None and found.shape != shape:
        hint = f"{what} should have the shape {shape}, but yours has {found.shape}."
        raise Mistake("wrong-shape", hint)
    return found


def parts(value: Any, count: int, mistake: str, hint: str) -> tuple[Any, ...]:
    """Return the parts of a tuple or a list that must have so many; raise that mistake if not.

    Examples
    --------
    >>> parts([1.0, 2.0], 2, "not-a-pair", "Return a pair.")
    (1.0, 2.0)
    >>> parts(1.0, 2, "not-a-pair", "Return a pair.")
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: not-a-pair: Return a pair.
    """
    if not isinstance(value, tuple | list) or len(value) != count:
        raise Mistake(mistake, hint)
    return tuple(value)


def slopes(f: Callable[[NDArray[Any]], Any], at: ArrayLike) -> NDArray[Any]:
    """Return the gradient of a function of an array, by complex steps: without rounding errors.

    Examples
    --------
    >>> slopes(lambda x: (x**3).sum(), [1.0, 2.0])
    array([ 3., 12.])
    """
    found = np.empty(np.shape(at))
    for place in np.ndindex(found.shape):
        moved = np.array(at, complex)
        moved[place] += 1e-30j
        found[place] = f(moved).imag / 1e-30
    return found


def same(got: Any, want: ArrayLike, *, rtol: float = 1e-9, atol: float = 1e-12) -> bool:
    """Tell whether two values agree in shape and, up to the tolerances, in all entries.

    Examples
    --------
    >>> same([0.1 + 0.2], [0.3]), same([0.3], 0.3), same("0.3", 0.3)
    (True, False, False)
    """
    try:
        found, wanted = array(got, ""), np.asarray(want)
    except Mistake:
        return False
    if found.shape != wanted.shape:
        return False
    return bool(np.allclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True))


def refuse(
    got: Any, *mistakes: tuple[str, ArrayLike, str], rtol: float = 1e-9, atol: float = 1e-12
) -> None:
    """Raise the first of the mistakes (name, value, hint) with the :func:`same` value as `got`.

    Examples
    --------
    >>> x = np.array([1.0, 2.0])
    >>> refuse([1.0, 4.0], ("doubled", 2 * x, "Not 2 x."), ("squared", x**2, "Not x^2."))
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: squared: Not x^2.
    """
    for name, value, hint in mistakes:
        if same(got, value, rtol=rtol, atol=atol):
            raise Mistake(name, hint)


def ask(test: Any, *cases: tuple[Any, bool, str, str]) -> None:
    """Have the learner's test judge each case (what, verdict, mistake, hint); raise if it is wrong.

    Examples
    --------
    >>> ask(lambda n: n > 1, (2, True, "even", "2 is a prime."), (9, False, "odd", "9 is none."))
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: odd: 9 is none.
    """
    for case, want, mistake, hint in cases:
        if truth(call(test, case)) != want:
            raise Mistake(mistake, hint)


def agree(
    got: Any,
    want: ArrayLike,
    *,
    what: str,
    inputs: Mapping[str, ArrayLike] | None = None,
    dtype: Any = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
) -> None:
    """Compare a value with the right one; the hint shows the first entry that differs.

    ``what`` begins the sentence; of `inputs` with the shape of `want` it shows the entry concerned.
    What is right in the digits of float32 and wrong in the others is told apart.

    Examples
    --------
    >>> agree([1.0, 4.1], [1.0, 4.0], what="It", inputs={"x": [1.0, 2.0]})
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: wrong-values: It for x = 2, entry [1]:
    expected 4, got 4.1.
    """
    wanted = np.asarray(want)
    found = array(got, what, shape=wanted.shape)
    if dtype is not None and found.dtype != dtype:
        hint = f"{what} should have the dtype {np.dtype(dtype)}, but yours has {found.dtype}."
        raise Mistake("wrong-dtype", hint)
    wrong = ~np.isclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return
    unfinite = ~np.isfinite(found) & np.isfinite(wanted)
    mistake, where = ("not-finite", unfinite) if unfinite.any() else ("wrong-values", wrong)
    rounded, digits = _rounded(found, wanted), 6
    if rounded:
        mistake, digits = "too-few-digits", 12
    index = tuple(int(i) for i in np.argwhere(where)[0])
    parts = [f"{name} = {_shown(value, wanted, index)}" for name, value in (inputs or {}).items()]
    place = f" for {', '.join(parts)}" * bool(parts) + f", entry {list(index)}" * bool(index)
    values = f"expected {wanted[index]:.{digits}g}, got {found[index]:.{digits}g}"
    raise Mistake(mistake, f"{what}{place}: {values}.{rounded}")


def in_double(value: Any, what: str) -> None:
    """Raise a Mistake if the value is of a type with fewer digits than float64.

    Examples
    --------
    >>> in_double(np.float32(0.1), "The bias")
    Traceback (most recent call last):
    ...
    course_lib.exercises.verdict.Mistake: too-few-digits: The bias is float32, which keeps only
    about 7 digits. Compute in float64.
    """
    found = array(value, what)
    if found.dtype.kind == "f" and found.dtype.itemsize < 8:
        raise Mistake("too-few-digits", f"{what} is {_keeps(found.dtype)}")


def _keeps(dtype: Any) -> str:
    digits = round(-np.log10(np.finfo(dtype).eps))
    return f"{dtype}, which keeps only about {digits} digits. Compute in float64."


def _rounded(found: NDArray[Any], wanted: NDArray[Any]) -> str:
    """Say what to do about a result that is right but for rounding; empty if it is wrong."""
    narrow = found.dtype.kind == "f" and found.dtype.itemsize < 8
    near = 50 * float(np.finfo(found.dtype if narrow else np.float32).eps)
    size = float(np.max(np.abs(wanted), where=np.isfinite(wanted), initial=0.0))
    if not np.allclose(found, wanted, rtol=near, atol=near * size, equal_nan=True):
        return ""
    if narrow:
        return f" Yours is {_keeps(found.dtype)}"
    hint = " Only the first digits agree. Is something float32 on the way, or only approximated?"
    shown = found.dtype.kind == "f" and np.allclose(found, wanted, rtol=1e-6, atol=1e-6 * size)
    return hint if shown else ""


def _of_numpy(value: Any) -> Any:
    """Return a tensor of PyTorch as an array, also one in a list; anything else as it is."""
    if isinstance(value, list | tuple):
        return [_of_numpy(part) for part in value]
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _shown(value: ArrayLike, wanted: NDArray[Any], index: tuple[int, ...]) -> str:
    values = np.asarray(value)
    if values.dtype.kind not in "biuf":
        return str(value)
    return f"{values[index]:.6g}" if values.shape == wanted.shape else np.array2string(values)
