"""One training of an estimator, here or on workers: when it stops, and what it says meanwhile.

Chapter: a network in NumPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from course_lib.arrays import Array, check_integer, check_number
from course_lib.evaluation import Epoch, History
from course_lib.network import Network
from course_lib.training import FitResult, fit


@dataclass(frozen=True)
class Settled:
    """Stop when the training loss no longer falls, counted as scikit-learn's networks count.

    An epoch fails if its loss is above the least one before it, less `tol`; the training stops when
    more than `n_iter_no_change` epochs in a row have failed. Many small steps are no improvement
    here, for the least loss falls with each; to
    :class:`~course_lib.early_stopping.EarlyStopping` their sum is one.

    Parameters
    ----------
    tol : float
        By how much the loss must fall.
    n_iter_no_change : int
        How many epochs in a row may fail.

    Raises
    ------
    ValueError, TypeError
        If `tol` is below 0, or `n_iter_no_change` below 1.

    Examples
    --------
    >>> stop = Settled(tol=0.1, n_iter_no_change=1)
    >>> stop({"loss": [1.0, 0.95]}), stop({"loss": [1.0, 0.95, 0.88]})
    (False, True)
    """

    tol: float
    n_iter_no_change: int

    def __post_init__(self) -> None:
        check_number(self.tol, where="fit", name="tol", at_least=0)
        name = "n_iter_no_change"
        check_integer(self.n_iter_no_change, where="fit", name=name, at_least=1)

    def __call__(self, history: History) -> bool:
        """Say whether training should stop now."""
        least, failed = math.inf, 0
        for loss in history["loss"]:
            failed = failed + 1 if loss > least - self.tol else 0
            least = min(least, loss)
        return failed > self.n_iter_no_change


def train_here(
    net: Network, theta: Array, x: Array, y: Array, *, verbose: bool = False, **settings: Any
) -> FitResult:
    """Train in this process, as :func:`~course_lib.training.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import SGD, mlp
    >>> net, x = mlp([1, 1], loss="mse"), np.ones((4, 1))
    >>> how = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 4, "seed": 0}
    >>> train_here(net, np.zeros(2), x, x, verbose=True, **how).theta
    Epoch 1, loss = 1.00000000
    Epoch 2, loss = 0.36000000
    array([0.32, 0.32])
    """

    def show(epoch: Epoch) -> None:
        _say(epoch.epoch, {name: values[-1] for name, values in epoch.history.items()})

    return fit(net, theta, x=x, y=y, callbacks=[show] if verbose else [], **settings)


def train_on(
    workers: int,
    client: Any,
    net: Network,
    theta: Array,
    x: Array,
    y: Array,
    *,
    verbose: bool = False,
    **settings: Any,
) -> FitResult:
    """Do the same on workers, as ``parallel.train`` takes them, up to rounding."""
    from course_lib.parallel import Event, train

    def show(event: Event) -> None:
        if event.kind == "metric":
            _say(event.epoch, event.metrics)

    result = train(
        net,
        (x, y),
        theta=theta,
        workers=workers,
        client=client,
        on_event=show if verbose else None,
        **settings,
    )
    return FitResult(result.theta, result.state, result.history)


def _say(epoch: int, numbers: dict[str, float]) -> None:
    said = (f"{name} = {value:.8f}" for name, value in numbers.items())
    print(f"Epoch {epoch + 1}, {', '.join(said)}", flush=True)
