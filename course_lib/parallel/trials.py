"""One try of one configuration: what the objective is given, and what becomes of it.

Chapter: search.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from course_lib.parallel.spaces import Config


@dataclass(frozen=True)
class Trial:
    """What an objective is called with.

    Attributes
    ----------
    index : int
        Which configuration, from 0; the same in all its runs.
    config : dict
        The configuration to try.
    seed : int
        For all randomness of the run. It depends on the search's seed and on `index` only, so a
        run that is repeated on another worker gives the same score.
    budget : int
        How much the configuration is to have been trained when this run ends, in units of the
        objective's choice (epochs, steps, rows).
    done : int
        How much of this `state` has had already: 0 without a state.
    state : object
        What the objective returned for this configuration the last time; None at first. Not to
        be changed in place: the run may have to be repeated from it.

    Examples
    --------
    >>> def objective(trial):
    ...     x = 10.0 if trial.state is None else trial.state
    ...     for _ in range(trial.done, trial.budget):
    ...         x -= trial.config["lr"] * 2 * x
    ...     return -(x**2), x
    >>> objective(Trial(index=0, config={"lr": 0.25}, seed=0, budget=2))
    (-6.25, 2.5)
    """

    index: int
    config: Config
    seed: int
    budget: int
    done: int = 0
    state: Any = None


Objective: TypeAlias = Callable[[Trial], "float | tuple[float, Any]"]
"""Returns a score, higher is better; or the score and a state from which to go on."""


class TrialResult(NamedTuple):
    """What became of a run: a score and perhaps a state, or an error."""

    score: float | None
    state: Any = None
    error: str | None = None


def run_trial(objective: Objective, trial: Trial) -> TrialResult:
    """Call the objective; what it raises becomes part of the result.

    Examples
    --------
    >>> run_trial(lambda trial: 1 / trial.budget, Trial(0, {}, seed=0, budget=4))
    TrialResult(score=0.25, state=None, error=None)
    >>> run_trial(lambda trial: 1 / trial.done, Trial(0, {}, seed=0, budget=4)).error
    'ZeroDivisionError: division by zero'
    """
    try:
        returned = objective(trial)
        score, state = returned if isinstance(returned, tuple) else (returned, None)
        score = float(score)
    except Exception as error:
        return TrialResult(None, error=f"{type(error).__name__}: {error}")
    if not math.isfinite(score):
        return TrialResult(None, error=f"the score is {score}, expected a finite number")
    return TrialResult(score, state)
