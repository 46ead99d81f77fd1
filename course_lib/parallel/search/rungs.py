"""Who is trained how long, and the heart of every search: the best of each rung go on to the next.

A rung is a pair (n, r): n configurations, each trained up to a budget of r. A bracket is a list of
rungs; that of successive halving has a rule for both, Hyperband has several brackets.

A rung is judged when all its runs have ended, by score alone, ties going to the configuration with
the lower number. So the plan and the result do not depend on which run ended first. Rungs of
different brackets do not wait for each other.

Chapter: search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from course_lib.arrays import check_integer
from course_lib.parallel.search.result import Row, rank
from course_lib.parallel.search.spaces import Config
from course_lib.parallel.search.trials import Trial, TrialResult


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


def climb(
    configs: Sequence[Config],
    brackets: Sequence[Sequence[Rung]],
    pool: Pool,
    *,
    seed: int,
    on_row: Callable[[Row], None],
) -> tuple[tuple[Row, ...], Any]:
    """Run all brackets to their end; return the rows in their order, and the state of the best.

    The configurations are for the first rungs of all brackets, in order: as many as have places.
    """
    trials = [Trial(i, c, trial_seed(seed, i), budget=0) for i, c in enumerate(configs)]
    home: dict[int, _Bracket] = {}
    waiting = 0
    for number, rungs in enumerate(brackets):
        own, trials = trials[: rungs[0].n], trials[rungs[0].n :]
        bracket = _Bracket(number, rungs, own)
        for trial in bracket.runs():
            home[trial.index] = bracket
            pool.submit(trial)
            waiting += 1
    rows: list[Row] = []
    best: Row | None = None
    best_state = None
    while waiting:
        trial, result = pool.wait()
        waiting -= 1
        bracket = home[trial.index]
        row = bracket.end(trial, result)
        rows.append(row)
        on_row(row)
        if row.score is not None and (best is None or rank(row) < rank(best)):
            best, best_state = row, result.state  # only this one is kept: states may be large
        if bracket.promote():
            for next_trial in bracket.runs():
                pool.submit(next_trial)
                waiting += 1
    rows.sort(key=lambda row: (row.bracket, row.rung, row.trial))
    return tuple(rows), best_state


@dataclass
class _Bracket:
    number: int
    rungs: Sequence[Rung]
    trials: list[Trial]
    rung: int = 0
    ended: dict[int, tuple[Row, Any]] = field(default_factory=dict)

    def runs(self) -> list[Trial]:
        """Return the trials of this rung, with the budget of this rung."""
        self.ended.clear()
        return [replace(t, budget=self.rungs[self.rung].budget) for t in self.trials]

    def end(self, trial: Trial, result: TrialResult) -> Row:
        """Enter a result."""
        row = Row(
            trial.index, self.number, self.rung, trial.budget, trial.budget - trial.done,
            result.score, result.error, trial.config,
        )  # fmt: skip
        self.ended[trial.index] = (row, result.state)
        return row

    def promote(self) -> bool:
        """If the rung is complete and another follows, move the best there; return whether."""
        if len(self.ended) < len(self.trials):
            return False
        self.rung += 1
        if self.rung == len(self.rungs):
            return False
        scored = [t for t in self.trials if self.ended[t.index][0].score is not None]
        scored.sort(key=lambda t: rank(self.ended[t.index][0]))
        best = scored[: self.rungs[self.rung].n]
        # A trial without a state starts anew, with the whole budget.
        states = {t.index: self.ended[t.index][1] for t in best}
        done = self.rungs[self.rung - 1].budget
        self.trials = [
            replace(t, state=states[t.index], done=0 if states[t.index] is None else done)
            for t in best
        ]
        return bool(best)


class Pool(Protocol):
    """Where trials run."""

    def submit(self, trial: Trial) -> None:
        """Take a trial to be run."""

    def wait(self) -> tuple[Trial, TrialResult]:
        """Return one that has ended; in any order."""
        ...


def trial_seed(seed: int, index: int) -> int:
    """Return the seed of a trial: far from those of all others, and the same every time.

    Examples
    --------
    >>> trial_seed(0, 1) == trial_seed(0, 1) != trial_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
