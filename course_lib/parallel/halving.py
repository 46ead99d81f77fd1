"""Searches that stop the hopeless tries early: successive halving and Hyperband.

Chapter: search.
"""

from __future__ import annotations

from typing import Unpack

from course_lib.parallel.brackets import halving_rungs, hyperband_brackets
from course_lib.parallel.search_result import SearchResult
from course_lib.parallel.search_run import SearchOptions, run_search
from course_lib.parallel.spaces import Space, sample
from course_lib.parallel.trials import Objective


def successive_halving(
    objective: Objective,
    space: Space,
    *,
    n: int,
    min_budget: int = 1,
    eta: int = 3,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Train many configurations a little, keep the best one in eta, train them longer, and so on.

    Parameters
    ----------
    objective : callable
        Takes a Trial, returns a score and a state; without a state, each rung starts anew.
    space : mapping of str to sequence or Distribution
        Choices or a distribution for each name.
    n, min_budget, eta : int
        See :func:`~course_lib.parallel.brackets.halving_rungs`.
    **options
        See :class:`SearchOptions`.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError, ParallelError
        As for :func:`~course_lib.parallel.search.grid`.

    References
    ----------
    Jamieson & Talwalkar 2016.

    Examples
    --------
    >>> from course_lib.parallel.distributions import Uniform
    >>> def objective(trial):  # a score that comes near its limit only with the budget
    ...     return -abs(trial.config["x"]) - 1 / trial.budget, "a state"
    >>> result = successive_halving(objective, {"x": Uniform(-1, 1)}, n=9, comm="inprocess")
    >>> [(row.rung, row.budget) for row in result.rows if row.rung > 0], result.budget
    ([(1, 3), (1, 3), (1, 3), (2, 9)], 21)

    Notes
    -----
    Chapter: search.
    """
    rungs = halving_rungs(n, min_budget=min_budget, eta=eta)
    configs = sample(space, n, seed=options.get("seed", 0))
    return run_search(objective, configs, [rungs], **options)


def hyperband(
    objective: Objective,
    space: Space,
    *,
    max_budget: int,
    eta: int = 3,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Run successive halving from several starting points, as no one knows the best one.

    Parameters
    ----------
    objective : callable
        Takes a Trial, returns a score and a state; without a state, each rung starts anew.
    space : mapping of str to sequence or Distribution
        Choices or a distribution for each name.
    max_budget, eta : int
        See :func:`~course_lib.parallel.brackets.hyperband_brackets`, which shows the plan.
    **options
        See :class:`SearchOptions`.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError, ParallelError
        As for :func:`~course_lib.parallel.search.grid`.

    References
    ----------
    Li et al. 2018 (Hyperband), algorithm 1.

    Examples
    --------
    >>> from course_lib.parallel.distributions import Uniform
    >>> def objective(trial):
    ...     return -abs(trial.config["x"]) - 1 / trial.budget, "a state"
    >>> result = hyperband(objective, {"x": Uniform(-1, 1)}, max_budget=9, comm="inprocess")
    >>> [sum(row.bracket == b for row in result.rows) for b in range(3)], result.best.budget
    ([13, 6, 3], 9)

    Notes
    -----
    Chapter: search.
    """
    brackets = hyperband_brackets(max_budget, eta=eta)
    n = sum(bracket[0].n for bracket in brackets)
    configs = sample(space, n, seed=options.get("seed", 0))
    return run_search(objective, configs, brackets, **options)
