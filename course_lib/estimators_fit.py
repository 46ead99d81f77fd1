"""One training of an estimator, in this process or on workers, with the best epoch as its result.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from course_lib.arrays import Array
from course_lib.checkpoint import join_state, load
from course_lib.early_stopping import EarlyStopping, KeepBest, best_epoch
from course_lib.network import Network
from course_lib.training import FitResult, fit


def train_here(
    net: Network, theta: Array, x: Array, y: Array, *, stop: EarlyStopping | None, **settings: Any
) -> FitResult:
    """Train in this process; with `stop`, return theta and state of the best epoch.

    Parameters
    ----------
    net, theta, x, y, stop, **settings
        As for :func:`~course_lib.training.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import SGD, mlp
    >>> net, x = mlp([1, 1], loss="mse"), np.ones((4, 1))
    >>> how = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 4, "seed": 0}
    >>> train_here(net, np.zeros(2), x, x, stop=None, **how).theta
    array([0.32, 0.32])
    """
    best = KeepBest()
    callbacks = [] if stop is None else [best]
    result = fit(net, theta, x=x, y=y, stop=stop, callbacks=callbacks, **settings)
    if best.theta is None or best.state is None:
        return result
    return FitResult(best.theta, best.state, result.history)


def train_on(
    workers: int,
    client: Any,
    net: Network,
    theta: Array,
    x: Array,
    y: Array,
    *,
    stop: EarlyStopping | None,
    **settings: Any,
) -> FitResult:
    """Do the same on workers: the result is equal up to rounding.

    Parameters
    ----------
    workers, client
        As for :func:`~course_lib.parallel.train`; with `stop`, workers must see this machine's
        folder for temporary files.
    net, theta, x, y, stop, **settings
        As for :func:`train_here`.
    """
    from course_lib.parallel import train

    with nullcontext() if stop is None else TemporaryDirectory() as folder:
        # The best epoch is among the last checkpoints: never further back than `patience`.
        result = train(
            net,
            (x, y),
            theta=theta,
            workers=workers,
            client=client,
            stop=stop,
            checkpoint=folder,
            keep=1 if stop is None else stop.patience + 1,
            **settings,
        )
        if folder is None or stop is None:
            return FitResult(result.theta, result.state, result.history)
        best = best_epoch(result.history, stop.metric, where="fit")
        steps = (best + 1) * ceil(len(x) / settings["batch_size"])
        point = load(Path(folder) / f"step-{steps:08d}.json")
    state = join_state(point.arrays, point.meta["state"])
    return FitResult(point.arrays["theta"], state, result.history)
