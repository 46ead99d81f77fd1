r"""Clipping by the global norm: a gradient that is too long is shortened, its direction kept.

The norm is that of the whole gradient, also where no rank has the whole. Its squares are added up
without any rounding, so that the order in which they are added, and how the gradient is cut among
ranks, change no bit of it.

Chapter: sharded optimizers.
"""

from __future__ import annotations

import math

import numpy as np

from course_lib.arrays import Array, check_number

_LOWEST = 1074  # float64 is a whole number of 2^-1074
DIGITS = 67
"""The length of what :func:`squares` returns: up to 2^1024 in 32 bits each, and one more."""
_AT_ONCE = 1 << 20  # so many digits, of 33 bits at most, have a sum that float64 can hold
_DIGIT, _FRACTION = (1 << 32) - 1, (1 << 52) - 1


def check_clip(clip: float | None, *, where: str) -> float | None:
    """Return the largest norm as a float, or None for no limit; raise unless it is above 0.

    Examples
    --------
    >>> check_clip(0, where="fit")
    Traceback (most recent call last):
    ...
    ValueError: fit: clip must be a finite number > 0, got 0.
    """
    return None if clip is None else check_number(clip, where=where, name="clip", above=0)


def squares(gradient: Array) -> Array:
    r"""Return the sum of the squares, exactly, as the digits of one long number.

    Each square is rounded once, to float64, and then cut in three digits of 32 bits. Digits of one
    place are added as integers, which rounds nothing: the digits of parts may be added in any
    order, and are those of the whole.

    Parameters
    ----------
    gradient : array, shape (n,)
        Of any floating-point type; n at most :math:`2^{30}` over all parts.

    Returns
    -------
    array of int64, shape (DIGITS,)
        The lowest digit first; the last counts the squares that are not finite.

    References
    ----------
    Malcolm 1971, for adding by digits of a long number.

    Examples
    --------
    >>> g = np.array([1e100, 3.0, 4.0])
    >>> np.array_equal(squares(g), squares(g[2:]) + squares(g[:2]))
    True
    """
    found = np.zeros(DIGITS, np.int64)
    for start in range(0, len(gradient), _AT_ONCE):
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            part = np.square(gradient[start : start + _AT_ONCE], dtype=np.float64)
        finite = np.isfinite(part)
        if not finite.all():
            found[-1] += len(part) - np.count_nonzero(finite)
            part = part[finite]
        # As IEEE 754 stores it: an exponent e, and 52 bits m of a fraction; the number is
        # (2^52 + m) 2^(e - 1) in units of 2^-1074, or m if e is 0.
        bits = part.view(np.int64)
        exponent, whole = bits >> 52, bits & _FRACTION
        whole[exponent > 0] += 1 << 52
        np.maximum(exponent - 1, 0, out=exponent)
        place, up = exponent >> 5, exponent & 31
        low, high = (whole & _DIGIT) << up, (whole >> 32) << up
        for digit in (low & _DIGIT, (low >> 32) + (high & _DIGIT), high >> 32):
            found += np.bincount(place, digit, DIGITS).astype(np.int64)
            place += 1
    return found


def norm_of(digits: Array) -> float:
    r"""Return :math:`\sqrt{s}` for the sum s of :func:`squares`; NaN if a square was not finite.

    Examples
    --------
    >>> norm_of(squares(np.array([3.0, 4.0])))
    5.0
    >>> norm_of(squares(np.array([np.inf, 4.0])))
    nan
    """
    *places, unknown = digits.tolist()
    if unknown:
        return math.nan
    number = sum(digit << (32 * place) for place, digit in enumerate(places))
    # An even number of bits that a float has no room for are left out.
    out = max(0, number.bit_length() - 128) // 2 * 2
    return math.ldexp(math.sqrt(number >> out), (out - _LOWEST) // 2)


def clip_gradient(gradient: Array, clip: float | None, digits: Array | None = None) -> None:
    r"""Scale a gradient in place so that the norm of the whole is at most `clip`.

    .. math:: g \leftarrow \min\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right) g

    Parameters
    ----------
    gradient : array, shape (n,)
        The gradient, or a rank's part of it.
    clip : float or None
        The largest norm c; None leaves all as it is.
    digits : array, optional
        The sum of the squares over all parts, if `gradient` is one part.

    References
    ----------
    Pascanu, Mikolov & Bengio 2013, algorithm 1; the :math:`10^{-6}` is PyTorch's
    (``torch.nn.utils.clip_grad_norm_``).

    Examples
    --------
    >>> g = np.array([30.0, 40.0])
    >>> clip_gradient(g, 5.0)
    >>> g.round(6)
    array([3., 4.])
    """
    if clip is None:
        return
    if digits is None:
        # Most gradients are short, and a quick sum is enough to tell so, whatever it rounds.
        slack = 1 + 2 * gradient.size * float(np.finfo(gradient.dtype).eps)
        with np.errstate(over="ignore", invalid="ignore"):
            longest = math.sqrt(slack * float(np.vdot(gradient, gradient)))
        if slack < 2 and longest + 2e-6 <= clip:
            return
    norm = norm_of(squares(gradient) if digits is None else digits)
    if not norm + 1e-6 <= clip:  # NaN scales too: nothing that is not finite is stepped along
        gradient *= clip / (norm + 1e-6)
