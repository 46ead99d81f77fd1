"""One try of one configuration: what the objective is given, and what becomes of it.

With it the objective for networks of this package, which trains so many epochs and scores on
held-out rows, and the pool that runs trials in threads: nothing to install, nothing to start.

Chapter: search.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from course_lib.arrays import (
    Array,
    as_array,
    check_callable,
    check_instance,
    check_integer,
    check_number,
    check_pair,
    shown,
)
from course_lib.data import Split
from course_lib.evaluation import evaluate
from course_lib.network import Network
from course_lib.optimizers import Optimizer, State
from course_lib.parallel.search.spaces import Config
from course_lib.training import fit


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


def fit_objective(
    build: Callable[[Config], Candidate],
    data: Split | tuple[Any, Any],
    *,
    held_out: float = 0.2,
    seed: int = 0,
) -> FitObjective:
    """Make an objective that trains networks; its budget counts epochs.

    The score is the accuracy on the held-out rows, or for regression minus the loss there. A
    search picks what does best on these rows, so they flatter the winner; test it on others. A
    trial that goes on from its state does what :func:`course_lib.training.fit` would have done
    without the break, to the bit.

    Parameters
    ----------
    build : callable
        Takes a configuration, returns a :class:`Candidate`: (net, optimizer, batch_size).
    data : Split or (x, y)
        The data; of a Split, its training part only.
    held_out : float
        The share of rows to score on, which are not trained on.
    seed : int
        Decides which rows those are.

    Raises
    ------
    ValueError
        If the share leaves no rows on one side.

    Examples
    --------
    >>> from course_lib import SGD, mlp
    >>> from course_lib.parallel.search import Candidate, grid
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> build = lambda config: Candidate(mlp([1, 1], loss="mse"), SGD(config["lr"]), batch_size=8)
    >>> result = grid(
    ...     fit_objective(build, (x, 3 * x + 1)), {"lr": [0.001, 0.1]}, budget=20, comm="inprocess"
    ... )
    >>> result.best.config, result.state[0].round(1)
    ({'lr': 0.1}, array([3., 1.]))
    """
    where = "fit_objective"
    check_callable(build, where=where, name="build", takes=("config",))
    if isinstance(data, Split):
        data = data.x_train, data.y_train
    x, y = check_pair(data, where=where, name="data")
    x, y = as_array(x, where=where, name="x"), as_array(y, where=where, name="y")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(
            f"{where}: data must have as many targets as rows, got shapes {x.shape} and {y.shape}."
        )
    seed = check_integer(seed, where=where, name="seed", at_least=0)
    held_out = check_number(held_out, where=where, name="held_out", above=0, below=1)
    n = round(held_out * len(x))
    if not 0 < n < len(x):
        raise ValueError(
            f"fit_objective: held_out must leave rows on both sides, got {held_out!r}, which is "
            f"{n} of {len(x)} rows."
        )
    order = np.random.default_rng(seed).permutation(len(x))
    test, train = order[:n], order[n:]
    return FitObjective(build, x[train], y[train], x[test], y[test])


class Candidate(NamedTuple):
    """What a configuration stands for: a network and how to train it."""

    net: Network
    optimizer: Optimizer
    batch_size: int = 32


@dataclass(frozen=True)
class FitObjective:
    """Made by :func:`fit_objective`; call it with a :class:`~course_lib.parallel.search.Trial`."""

    build: Callable[[Config], Candidate]
    x: Array
    y: Array
    x_held_out: Array
    y_held_out: Array

    def __call__(self, trial: Trial) -> tuple[float, tuple[Array, State]]:
        """Train from ``trial.done`` to ``trial.budget`` epochs; return the score and the state."""
        check_instance(trial, Trial, where="the objective", name="trial")
        built = self.build(trial.config)
        if not (isinstance(built, tuple) and len(built) == 3):
            raise TypeError(
                "fit_objective: build must return a Candidate(net, optimizer, batch_size), got "
                f"{shown(built)}."
            )
        net, optimizer, batch_size = built
        theta, state = trial.state or (net.init(np.random.default_rng(trial.seed)), None)
        theta, state, _ = fit(
            net,
            theta.astype(self.x.dtype, copy=False),
            optimizer,
            self.x,
            self.y,
            epochs=trial.budget - trial.done,
            batch_size=batch_size,
            seed=trial.seed,
            state=state,
            first_epoch=trial.done,
        )
        scores = evaluate(net, theta, self.x_held_out, self.y_held_out)
        return scores.get("accuracy", -scores["loss"]), (theta, state)


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
        score: Any
        score, state = returned if isinstance(returned, tuple) else (returned, None)
        if getattr(score, "ndim", None) == 0:  # a number of NumPy's, or a tensor
            score = score.item()
        score = check_number(score, where="search", name="the score")
    except Exception as error:
        return TrialResult(None, error=f"{type(error).__name__}: {error}")
    return TrialResult(score, state)


class TrialResult(NamedTuple):
    """What became of a run: a score and perhaps a state, or an error."""

    score: float | None
    state: Any = None
    error: str | None = None


class ThreadPool:
    """Runs so many trials at a time in threads of this process; one, in the order of submission.

    Examples
    --------
    >>> with ThreadPool(lambda trial: trial.index + 0.5, workers=1) as pool:
    ...     pool.submit(Trial(7, {}, seed=0, budget=1))
    ...     pool.wait()[1].score
    7.5
    """

    def __init__(self, objective: Objective, *, workers: int) -> None:
        self._objective = objective
        self._executor = ThreadPoolExecutor(workers)
        self._ended: queue.SimpleQueue[tuple[Trial, TrialResult]] = queue.SimpleQueue()

    def submit(self, trial: Trial) -> None:
        """Take a trial to be run."""
        self._executor.submit(lambda: self._ended.put((trial, run_trial(self._objective, trial))))

    def wait(self) -> tuple[Trial, TrialResult]:
        """Return one that has ended."""
        return self._ended.get()

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)
