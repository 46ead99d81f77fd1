"""What a search leaves: a table with one row per run, the best one, and its state.

Chapter: search.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from course_lib.parallel.errors import ParallelError
from course_lib.parallel.search.spaces import Config


@dataclass(frozen=True)
class Row:
    """One run of one configuration.

    Attributes
    ----------
    trial : int
        Which configuration.
    bracket, rung : int
        Where in the plan, from 0.
    budget : int
        How much the configuration had been trained at the end.
    spent : int
        How much of that was spent in this run; the rest was in the state it went on from.
    score : float or None
        Higher is better; None if the run failed.
    error : str or None
        Why it failed.
    config : dict
        The configuration.
    """

    trial: int
    bracket: int
    rung: int
    budget: int
    spent: int
    score: float | None
    error: str | None
    config: Config


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search; equal for equal arguments, whatever ran where and when.

    Attributes
    ----------
    rows : tuple of Row
        All runs, by bracket, rung and trial.
    state : object
        What the objective returned as the state of the best run: for
        :func:`~course_lib.parallel.search.fit_objective`, its parameters and optimizer state.
    seconds : float
        The whole call.

    Examples
    --------
    >>> rows = [
    ...     Row(0, 0, 0, 5, 5, 0.5, None, {"lr": 0.1}),
    ...     Row(1, 0, 0, 5, 5, 0.75, None, {"lr": 0.01}),
    ...     Row(2, 0, 0, 5, 5, None, "FloatingPointError: diverged", {"lr": 10}),
    ... ]
    >>> result = SearchResult(tuple(rows), seconds=1.0)
    >>> print(result.report())
    trial  bracket  rung  budget         score  config
        1        0     0       5          0.75  lr=0.01
        0        0     0       5           0.5  lr=0.1
        2        0     0       5        failed  lr=10: FloatingPointError: diverged
    3 configurations, 3 runs, budget 15, 1 failed; best: trial 1
    """

    rows: tuple[Row, ...]
    state: Any = field(default=None, compare=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def table(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, for ``pandas.json_normalize`` and the like."""
        return [asdict(row) for row in self.rows]

    @property
    def best(self) -> Row:
        """The run with the highest score; of several, the longest, then the first configuration.

        Raises
        ------
        ParallelError
            If every run failed; the message has the first error.
        """
        row = min(self.rows, key=rank)
        if row.score is None:
            raise ParallelError(
                f"all {len(self.rows)} runs of the search failed; the first with: "
                f"{self.rows[0].error}"
            )
        return row

    @property
    def budget(self) -> int:
        """What was spent by all runs together."""
        return sum(row.spent for row in self.rows)

    def report(self, top: int = 10) -> str:
        """Return a table of the best runs, and of those that failed."""
        ok = sorted((row for row in self.rows if row.score is not None), key=rank)
        failed = [row for row in self.rows if row.score is None]
        lines = ["trial  bracket  rung  budget         score  config"]
        for row in [*ok[:top], *failed[:top]]:
            score = "failed" if row.score is None else f"{row.score:.6g}"
            config = ", ".join(f"{name}={_short(value)}" for name, value in row.config.items())
            error = "" if row.error is None else f": {row.error}"
            lines.append(
                f"{row.trial:5d}  {row.bracket:7d}  {row.rung:4d}  {row.budget:6d}  {score:>12}  "
                f"{config}{error}"
            )
        best = f"best: trial {ok[0].trial}" if ok else "none succeeded"
        lines.append(
            f"{len({row.trial for row in self.rows})} configurations, {len(self.rows)} runs, "
            f"budget {self.budget}, {len(failed)} failed; {best}"
        )
        return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def rank(row: Row) -> tuple[float, int, int]:
    """Return a sort key, best first; the trial's number breaks ties, never the order of ending."""
    score = -math.inf if row.score is None else row.score
    return -score, -row.budget, row.trial
