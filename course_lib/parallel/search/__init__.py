"""Search for good hyper-parameters on all workers at once, and stop the hopeless tries early.

An objective is a function of a :class:`~course_lib.parallel.search.Trial` that returns a score,
higher is better; with a second value, a state, a trial can go on later from where it stopped. The
result is the same for any number of workers, any order in which the trials end, and if workers are
lost on the way.

Chapter: search.
"""

from __future__ import annotations

from course_lib.parallel.search.result import Row, SearchResult
from course_lib.parallel.search.rungs import halving_rungs, hyperband_brackets
from course_lib.parallel.search.searches import (
    SearchOptions,
    grid,
    hyperband,
    random,
    successive_halving,
)
from course_lib.parallel.search.spaces import Integers, LogUniform, Uniform, sample
from course_lib.parallel.search.trials import Candidate, FitObjective, Trial, fit_objective

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
    "sample",
    "successive_halving",
]
