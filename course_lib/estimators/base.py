"""What both estimators share: their settings, and training here or on several workers.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state

from course_lib import optimizers
from course_lib.arrays import Array, check_integer
from course_lib.data import stratified
from course_lib.early_stopping import EarlyStopping, KeepBest
from course_lib.evaluation import History
from course_lib.network import Network, mlp
from course_lib.optimizers import Optimizer, State
from course_lib.training import FitResult, fit

FLOATS = (np.float64, np.float32)
"""What data is computed in as it comes; any other becomes the first."""


Method = TypeVar("Method", bound=Callable[..., Any])


def whole_or_not_at_all(method: Method) -> Method:
    """Let a method that raises or is interrupted leave its object, and its model, as they were."""

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, run)


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The settings of both, explained at ``MLPClassifier``, and a training that follows them."""

    _loss: ClassVar[str]
    network_: Network
    theta_: Array
    optimizer_state_: State
    history_: History
    n_iter_: int

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        optimizer: str | Optimizer = "adam",
        learning_rate: Any = 0.001,
        batch_size: int = 32,
        epochs: int = 100,
        weights: Any = "he_normal",
        dropout: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        random_state: Any = None,
        n_jobs: int | None = None,
        client: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.weights = weights
        self.dropout = dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.min_delta = min_delta
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.client = client

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, of shape (fan_in, fan_out): views of ``theta_``."""
        return [p["W"] for p in self.network_.unpack(self.theta_) if p]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, of shape (fan_out,): views of ``theta_``."""
        return [p["b"] for p in self.network_.unpack(self.theta_) if p]

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss of each epoch, as scikit-learn names it."""
        return self.history_["loss"]

    def _begin(self, features: int, outputs: int, dtype: Any) -> None:
        """Make the network and its initial parameters."""
        sizes = self.hidden_layer_sizes
        hidden = (sizes,) if np.ndim(sizes) == 0 else tuple(sizes)
        self._seed = self._draw_seed()
        self.network_ = mlp(
            [features, *hidden, outputs],
            self.activation,
            self._loss,
            self.weights,
            dropout=self.dropout,
        )
        self.theta_ = self.network_.init(np.random.default_rng(self._seed), dtype)
        self.optimizer_state_ = optimizers.get(self.optimizer, self.learning_rate).init(self.theta_)
        self.history_, self.n_iter_ = {}, 0

    def _train(self, x: Array, y: Array) -> None:
        """Train from the beginning, as the settings say."""
        settings: dict[str, Any] = {
            "stop": None,
            "optimizer": optimizers.get(self.optimizer, self.learning_rate),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self._seed,
        }
        if self.early_stopping:
            classes = y if self.network_.loss.kind == "labels" else np.zeros(len(x))
            rows, held_out = stratified(
                classes,
                seed=self._seed,
                test_fraction=self.validation_fraction,
                where="fit",
                name="validation_fraction",
            )
            settings["validation"] = x[held_out], y[held_out]
            settings["stop"] = EarlyStopping(self.patience, self.min_delta)
            x, y = x[rows], y[rows]
        start, workers = (self.network_, self.theta_, x, y), self._workers()
        if workers == 1 and self.client is None:
            result = train_here(*start, **settings)
        else:
            result = train_on(workers, self.client, *start, **settings)
        self.theta_, self.optimizer_state_, self.history_ = result
        self.n_iter_ = len(self.history_["loss"])

    def _train_an_epoch(self, x: Array, y: Array) -> None:
        """Go on for one epoch, in this process."""
        result = fit(
            self.network_,
            self.theta_,
            optimizers.get(self.optimizer, self.learning_rate),
            x,
            y,
            epochs=1,
            batch_size=self.batch_size,
            seed=self._seed,
            state=self.optimizer_state_,
            first_epoch=self.n_iter_,
        )
        self.theta_, self.optimizer_state_ = result.theta, result.state
        self.history_.setdefault("loss", []).extend(result.history["loss"])
        self.n_iter_ += 1

    def _refuse_early_stopping(self) -> None:
        if self.early_stopping:
            raise ValueError(
                "partial_fit: one epoch at a time leaves nothing to stop early; use fit, or "
                "early_stopping=False."
            )

    def _draw_seed(self) -> int:
        if self.random_state is None or hasattr(self.random_state, "randint"):
            return int(check_random_state(self.random_state).randint(2**31 - 1))
        return check_integer(self.random_state, where="fit", name="random_state", at_least=0)

    def _workers(self) -> int:
        if self.client is None or (self.n_jobs or 0) > 0:
            return int(effective_n_jobs(self.n_jobs))
        if isinstance(self.client, str):
            raise ValueError(
                "fit: with the address of a scheduler, n_jobs must be the number of workers to "
                f"train on, got {self.n_jobs!r}."
            )
        return len(self.client.nthreads())

    def __sklearn_clone__(self) -> NetworkEstimator:
        # A Client cannot be copied; the clone uses the same cluster.
        settings = self.get_params(deep=False)
        client = settings.pop("client")
        return type(self)(**{k: clone(v, safe=False) for k, v in settings.items()}, client=client)

    def __getstate__(self) -> dict[str, Any]:
        # Nor can it be pickled; its address can, and serves as well.
        state: dict[str, Any] = super().__getstate__()
        scheduler = getattr(state["client"], "scheduler", None)
        return state if scheduler is None else {**state, "client": str(scheduler.address)}


def train_here(
    net: Network, theta: Array, x: Array, y: Array, *, stop: EarlyStopping | None, **settings: Any
) -> FitResult:
    """Train in this process; with `stop`, return theta and state of the best epoch.

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
    """Do the same on workers, as ``parallel.train`` takes them, up to rounding."""
    from course_lib.parallel import train

    result = train(
        net,
        (x, y),
        theta=theta,
        workers=workers,
        client=client,
        stop=stop,
        keep_best=None if stop is None else stop.metric,
        **settings,
    )
    return FitResult(result.theta, result.state, result.history)
