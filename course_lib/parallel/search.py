"""Search for good hyper-parameters on all workers at once, and stop the hopeless tries early.

An objective is a function of a :class:`~course_lib.parallel.trials.Trial` that returns a score,
higher is better; with a second value, a state, a trial can go on later from where it stopped. The
result is the same for any number of workers, any order in which the trials end, and if workers are
lost on the way.

Chapter: search.
"""

from __future__ import annotations

from typing import Unpack

from course_lib.arrays import check_integer
from course_lib.parallel.brackets import Rung, halving_rungs, hyperband_brackets
from course_lib.parallel.distributions import Integers, LogUniform, Uniform
from course_lib.parallel.fit_objective import Candidate, FitObjective, fit_objective
from course_lib.parallel.halving import hyperband, successive_halving
from course_lib.parallel.search_result import Row, SearchResult
from course_lib.parallel.search_run import SearchOptions, run_search
from course_lib.parallel.spaces import Space, every, sample
from course_lib.parallel.trials import Objective, Trial

__all__ = [
    "Candidate",
    "FitObjective",
    "Integers",
    "LogUniform",
    "Row",
    "SearchOptions",
    "SearchResult",
    "Trial",
    "Uniform",
    "fit_objective",
    "grid",
    "halving_rungs",
    "hyperband",
    "hyperband_brackets",
    "random",
    "successive_halving",
]


def grid(
    objective: Objective, space: Space, *, budget: int = 1, **options: Unpack[SearchOptions]
) -> SearchResult:
    """Try every combination of the choices.

    Parameters
    ----------
    objective : callable
        Takes a Trial, returns a score, or a score and a state.
    space : mapping of str to sequence
        The choices for each name.
    budget : int
        What each trial is told to spend.
    **options
        See :class:`SearchOptions`.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it should be.
    ParallelError
        If the cluster can not be used. A trial that fails is a row of the result.

    Examples
    --------
    >>> def objective(trial):
    ...     return -((trial.config["x"] - 2) ** 2) - trial.config["y"]
    >>> result = grid(objective, {"x": [0, 1, 2], "y": [0, 1]}, comm="inprocess")
    >>> result.best.config, result.best.score
    ({'x': 2, 'y': 0}, 0.0)

    Notes
    -----
    Chapter: search.
    """
    budget = check_integer(budget, where="grid", name="budget", at_least=1)
    configs = every(space)
    return run_search(objective, configs, [[Rung(len(configs), budget)]], **options)


def random(
    objective: Objective,
    space: Space,
    *,
    n: int,
    budget: int = 1,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Try n configurations drawn at random.

    Parameters
    ----------
    objective : callable
        Takes a Trial, returns a score, or a score and a state.
    space : mapping of str to sequence or Distribution
        Choices or a distribution for each name.
    n : int
        How many.
    budget : int
        What each trial is told to spend.
    **options
        See :class:`SearchOptions`.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError, ParallelError
        As for :func:`grid`.

    References
    ----------
    Bergstra & Bengio 2012.

    Examples
    --------
    >>> space = {"lr": LogUniform(1e-4, 1)}
    >>> result = random(lambda t: -abs(t.config["lr"] - 0.01), space, n=50, comm="inprocess")
    >>> round(result.best.config["lr"], 2)
    0.01

    Notes
    -----
    Chapter: search.
    """
    budget = check_integer(budget, where="random", name="budget", at_least=1)
    n = check_integer(n, where="random", name="n", at_least=1)
    configs = sample(space, n, seed=options.get("seed", 0))
    return run_search(objective, configs, [[Rung(n, budget)]], **options)
