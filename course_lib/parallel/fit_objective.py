"""An objective for networks of this package: train so many epochs, score on held-out rows.

Chapter: search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.data import Split
from course_lib.evaluation import evaluate
from course_lib.network import Network
from course_lib.optimizers import Optimizer, State
from course_lib.parallel.spaces import Config
from course_lib.parallel.trials import Trial
from course_lib.training import fit


class Candidate(NamedTuple):
    """What a configuration stands for: a network and how to train it."""

    net: Network
    optimizer: Optimizer
    batch_size: int = 32


@dataclass(frozen=True)
class FitObjective:
    """Made by :func:`fit_objective`; call it with a :class:`~course_lib.parallel.trials.Trial`."""

    build: Callable[[Config], Candidate]
    x: Array
    y: Array
    x_held_out: Array
    y_held_out: Array

    def __call__(self, trial: Trial) -> tuple[float, tuple[Array, State]]:
        """Train from ``trial.done`` to ``trial.budget`` epochs; return the score and the state."""
        net, optimizer, batch_size = self.build(trial.config)
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

    Returns
    -------
    FitObjective

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

    Notes
    -----
    Chapter: search.
    """
    x, y = (data.x_train, data.y_train) if isinstance(data, Split) else data
    x, y = np.asarray(x), np.asarray(y)
    seed = check_integer(seed, where="fit_objective", name="seed", at_least=0)
    n = round(held_out * len(x))
    if not 0 < n < len(x):
        raise ValueError(
            f"fit_objective: held_out must leave rows on both sides, got {held_out!r}, which is "
            f"{n} of {len(x)} rows."
        )
    order = np.random.default_rng(seed).permutation(len(x))
    test, train = order[:n], order[n:]
    return FitObjective(build, x[train], y[train], x[test], y[test])
