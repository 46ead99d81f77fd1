"""How much faster can p workers be, and what does a measured speed-up say? Three laws of a line.

Chapter: where the time goes.
"""

from __future__ import annotations

import math

from course_lib.arrays import check_integer


def amdahl(serial_fraction: float, p: int) -> float:
    r"""Return the speed-up of a fixed amount of work, of which a part cannot be shared.

    .. math:: S(p) = \frac{1}{s + (1 - s) / p} < \frac{1}{s}

    Parameters
    ----------
    serial_fraction : float
        :math:`s`: the SERIAL share of the time on ONE rank, between 0 and 1.
    p : int
        The number of ranks.

    Raises
    ------
    ValueError
        If the fraction does not lie in [0, 1], or p is below 1.

    References
    ----------
    Amdahl 1967.

    Examples
    --------
    >>> [round(amdahl(0.1, p), 2) for p in (1, 2, 10, 1000)]
    [1.0, 1.82, 5.26, 9.91]

    Notes
    -----
    Chapter: where the time goes.
    """
    _check_fraction(serial_fraction, p, "amdahl")
    return 1 / (serial_fraction + (1 - serial_fraction) / p)


def gustafson(serial_fraction: float, p: int) -> float:
    r"""Return the speed-up when the shared part of the work grows with the ranks.

    .. math:: S(p) = s + (1 - s)\, p

    Parameters
    ----------
    serial_fraction : float
        :math:`s`: the serial share of the time on the p ranks (Amdahl's is that on one).
    p : int
        The number of ranks.

    Raises
    ------
    ValueError
        If the fraction does not lie in [0, 1], or p is below 1.

    References
    ----------
    Gustafson 1988.

    Examples
    --------
    >>> [round(gustafson(0.1, p), 2) for p in (1, 2, 10, 1000)]
    [1.0, 1.9, 9.1, 900.1]

    Notes
    -----
    Chapter: where the time goes.
    """
    _check_fraction(serial_fraction, p, "gustafson")
    return serial_fraction + (1 - serial_fraction) * p


def karp_flatt(speedup: float, workers: int) -> float:
    r"""Return the serial share of the work that a measured speed-up speaks of.

    .. math:: e = \frac{1 / S - 1 / p}{1 - 1 / p}

    Amdahl's law solved for its fraction. Measured at several p it tells what is to blame: if e
    stays the same, work that is not shared; if e grows with p, what sharing itself costs, such as
    communication. A speed-up above p gives a negative number.

    Parameters
    ----------
    speedup : float
        :math:`S`: the time on one worker divided by that on all, above 0.
    workers : int
        :math:`p`, at least 2.

    Raises
    ------
    ValueError
        If the speed-up is not a finite number above 0, or there are fewer than 2 workers.

    References
    ----------
    Karp & Flatt 1990, Measuring parallel processor performance, CACM 33(5).

    Examples
    --------
    >>> [round(karp_flatt(speedup, p), 3) for speedup, p in ((1.82, 2), (3.08, 4), (4.7, 8))]
    [0.099, 0.1, 0.1]

    Notes
    -----
    Chapter: where the time goes.
    """
    p = check_integer(workers, where="karp_flatt", name="workers", at_least=2)
    if not 0 < speedup < math.inf:
        raise ValueError(f"karp_flatt: speedup must be a finite number > 0, got {speedup!r}.")
    return (1 / speedup - 1 / p) / (1 - 1 / p)


def _check_fraction(serial_fraction: float, p: int, where: str) -> None:
    check_integer(p, where=where, name="p", at_least=1)
    if not 0 <= serial_fraction <= 1:
        raise ValueError(
            f"{where}: serial_fraction is the serial share of the time, between 0 and 1; "
            f"got {serial_fraction!r}."
        )
