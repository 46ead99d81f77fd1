r"""Who is trained how long: rungs of successive halving, and the brackets of Hyperband.

A rung is a pair (n, r): n configurations, each trained up to a budget of r. A bracket is a list of
rungs; the best of each rung go on to the next.

Chapter: search.
"""

from __future__ import annotations

from typing import NamedTuple

from course_lib.arrays import check_integer


class Rung(NamedTuple):
    """So many configurations, each trained up to this budget."""

    n: int
    budget: int


def halving_rungs(n: int, *, min_budget: int = 1, eta: int = 3) -> list[Rung]:
    r"""Keep one in eta, and train those eta times as long, until one is left.

    .. math:: n_i = \lfloor n\, \eta^{-i} \rfloor, \quad r_i = r\, \eta^i

    Every rung costs about as much as the first.

    Parameters
    ----------
    n : int
        Configurations at the start.
    min_budget : int
        r, the budget of each in the first rung.
    eta : int
        One in so many goes on.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Jamieson & Talwalkar 2016, for eta = 2; Li et al. 2018 for any eta.

    Examples
    --------
    >>> [tuple(rung) for rung in halving_rungs(30)]
    [(30, 1), (10, 3), (3, 9), (1, 27)]

    Notes
    -----
    Chapter: search.
    """
    where = "successive_halving"
    n = check_integer(n, where=where, name="n", at_least=1)
    min_budget = check_integer(min_budget, where=where, name="min_budget", at_least=1)
    eta = check_integer(eta, where=where, name="eta", at_least=2)
    rungs = []
    while n >= 1:
        rungs.append(Rung(n, min_budget))
        n, min_budget = n // eta, min_budget * eta
    return rungs


def hyperband_brackets(max_budget: int, *, eta: int = 3) -> list[list[Rung]]:
    r"""Hedge: many configurations with a small budget at first, or few with a large one.

    For :math:`s = s_{\max}, \dots, 0` with :math:`s_{\max} = \lfloor \log_\eta R \rfloor`,

    .. math:: n = \left\lceil \frac{s_{\max} + 1}{s + 1}\, \eta^s \right\rceil, \quad
              n_i = \lfloor n\, \eta^{-i} \rfloor, \quad r_i = \lfloor R\, \eta^{i - s} \rfloor

    for rung i = 0, ..., s. Which of them pays off depends on how soon a score can be trusted,
    which nobody knows beforehand; so all are run, each with about the same cost.

    Parameters
    ----------
    max_budget : int
        R, the largest budget of one configuration.
    eta : int
        One in so many goes on.

    Returns
    -------
    list of list of Rung
        By bracket, the one with the most configurations first.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Li et al. 2018 (Hyperband), algorithm 1. Code that rounds :math:`(s_{\max} + 1) / (s + 1)` down
    first has somewhat fewer configurations: 81, 27, 9, 6, 5 below.

    Examples
    --------
    >>> for bracket in hyperband_brackets(81):
    ...     print(", ".join(f"{n} x {budget}" for n, budget in bracket))
    81 x 1, 27 x 3, 9 x 9, 3 x 27, 1 x 81
    34 x 3, 11 x 9, 3 x 27, 1 x 81
    15 x 9, 5 x 27, 1 x 81
    8 x 27, 2 x 81
    5 x 81

    Notes
    -----
    Chapter: search.
    """
    where = "hyperband"
    max_budget = check_integer(max_budget, where=where, name="max_budget", at_least=1)
    eta = check_integer(eta, where=where, name="eta", at_least=2)
    s_max = 0
    while eta ** (s_max + 1) <= max_budget:  # integers: log(243, 3) is 4.999... in floats
        s_max += 1
    brackets = []
    for s in range(s_max, -1, -1):
        n = -(-(s_max + 1) * eta**s // (s + 1))
        brackets.append([Rung(n // eta**i, max_budget * eta**i // eta**s) for i in range(s + 1)])
    return brackets
