"""Which rows are for learning, and which are kept aside to judge by.

Both functions return row numbers and touch no data: use them as ``x[rows]``. What they return is
decided by their arguments alone.

Chapter: data.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from course_lib.arrays import Array, check_integer

Rows: TypeAlias = NDArray[np.intp]


def stratified(
    y: Array, *, seed: int, test_fraction: float, where: str, name: str = "test_fraction"
) -> tuple[Rows, Rows]:
    """Choose rows for training and for testing, each class in both in proportion (to one sample).

    Parameters
    ----------
    y : array, shape (n,)
        The class of each row; all equal for a split without regard to classes.
    seed : int
        Which split, from 0.
    test_fraction : float
        Share of the rows for testing.
    where : str
        The function that the user called, for the error sentence.
    name : str
        What it calls the fraction.

    Returns
    -------
    train, test : arrays
        Row numbers, shuffled.

    Raises
    ------
    ValueError
        If no row is left on one of the sides.

    Examples
    --------
    >>> y = np.array([0] * 6 + [1] * 4)
    >>> train, test = stratified(y, seed=0, test_fraction=0.5, where="here")
    >>> np.bincount(y[train]), np.bincount(y[test])
    (array([3, 2]), array([3, 2]))
    """
    seed = check_integer(seed, where=where, name="seed", at_least=0)
    n, tests = len(y), round(test_fraction * len(y))
    if not 0 < tests < n:
        raise ValueError(
            f"{where}: {name} must leave samples on both sides of the split, "
            f"got {test_fraction} of {n} samples."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    order = order[np.argsort(y[order], kind="stable")]  # by class, shuffled within each
    step = np.arange(n + 1) * tests // n
    chosen = step[1:] > step[:-1]  # evenly spaced, exactly `tests` of them
    return rng.permutation(order[~chosen]), rng.permutation(order[chosen])


def folds(n: int, k: int, *, seed: int) -> list[tuple[Rows, Rows]]:
    """Split n rows in k ways, so that each row is held out exactly once (cross-validation).

    The held-out parts are as equal as n allows: n // k rows, and one more in the first n % k.

    Parameters
    ----------
    n : int
        Number of rows, at least k.
    k : int
        Number of folds, at least 2.
    seed : int
        Which shuffle of the rows, from 0.

    Returns
    -------
    list of k pairs (train, test) of arrays
        Row numbers: learn from ``x[train]``, judge by ``x[test]``.

    Raises
    ------
    ValueError, TypeError
        If a number is not an integer or out of range.

    References
    ----------
    Kohavi 1995, A study of cross-validation and bootstrap for accuracy estimation and model
    selection.

    Examples
    --------
    >>> [len(test) for train, test in folds(7, 3, seed=0)]
    [3, 2, 2]
    >>> train, test = folds(7, 3, seed=0)[0]
    >>> np.sort(np.concatenate([train, test]))
    array([0, 1, 2, 3, 4, 5, 6])

    Notes
    -----
    Chapter: data.
    """
    k = check_integer(k, where="folds", name="k", at_least=2)
    n = check_integer(n, where="folds", name="n (rows, at least one per fold)", at_least=k)
    seed = check_integer(seed, where="folds", name="seed", at_least=0)
    parts: list[Any] = np.array_split(np.random.default_rng(seed).permutation(n), k)
    return [(np.concatenate([*parts[:i], *parts[i + 1 :]]), parts[i]) for i in range(k)]
