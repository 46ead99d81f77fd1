"""What both estimators share: their settings, and training here or on several workers.

Chapter: a network in NumPy.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from dataclasses import fields, replace
from numbers import Integral
from typing import Any, ClassVar, cast

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from course_lib import losses, optimizers
from course_lib.arrays import (
    Array,
    check_flag,
    check_integer,
    check_number,
    check_sequence,
    shown,
)
from course_lib.data import stratified
from course_lib.early_stopping import EarlyStopping
from course_lib.estimators.doors import FLOATS, check_dense, whole_or_not_at_all
from course_lib.estimators.runs import Settled, train_here, train_on
from course_lib.evaluation import History
from course_lib.losses import Loss
from course_lib.network import Network, mlp
from course_lib.optimizers import Optimizer, State
from course_lib.training import FitResult

_OF_OPTIMIZER = "optimizer__"

# Seconds in which a scheduler says how many workers it has.
_ANSWER = 60.0


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The settings of both, explained at ``MLPClassifier``, and a training that follows them."""

    _loss: ClassVar[Loss]
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
        loss: str | Loss | None = None,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        tol: float | None = None,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        verbose: bool | int = False,
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
        self.loss = loss
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.min_delta = min_delta
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.client = client

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings; deep, also those of an optimizer that is an object.

        Examples
        --------
        >>> from course_lib import SGD, MLPClassifier
        >>> MLPClassifier(optimizer=SGD(0.1)).get_params()["optimizer__lr"]
        0.1
        """
        settings: dict[str, Any] = super().get_params(deep=deep)
        if deep and isinstance(self.optimizer, Optimizer):
            for option in fields(self.optimizer):
                settings[_OF_OPTIMIZER + option.name] = getattr(self.optimizer, option.name)
        return settings

    @whole_or_not_at_all
    def set_params(self, **params: Any) -> NetworkEstimator:
        """Change settings; ``optimizer__lr=0.1`` puts another optimizer in the place of this one.

        Raises
        ------
        ValueError, TypeError
            If there is no such setting, or the optimizer refuses the value.

        Examples
        --------
        >>> from course_lib import SGD, MLPClassifier
        >>> MLPClassifier(optimizer=SGD(0.1)).set_params(optimizer__momentum=0.9).optimizer
        SGD(lr=0.1, momentum=0.9, weight_decay=0.0)
        """
        inner = {k: v for k, v in params.items() if k.startswith(_OF_OPTIMIZER)}
        super().set_params(**{k: v for k, v in params.items() if k not in inner})
        if not inner:
            return self
        if not isinstance(self.optimizer, Optimizer):
            raise ValueError(
                f"set_params: {', '.join(inner)} can be set of an optimizer that is an object, "
                f"such as optimizer=Adam(), got optimizer={shown(self.optimizer)}."
            )
        options = {name.removeprefix(_OF_OPTIMIZER): value for name, value in inner.items()}
        known = [option.name for option in fields(self.optimizer)]
        for name in options:
            if name not in known:
                raise ValueError(
                    f"set_params: the optimizer {type(self.optimizer).__name__} has "
                    f"{', '.join(known)}, got {name!r}."
                )
        self.optimizer = replace(self.optimizer, **options)  # it is frozen, and may be shared
        return self

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

    def _goes_on(self) -> bool:
        """Say whether this fit goes on from an earlier one."""
        warm = check_flag(self.warm_start, where="fit", name="warm_start")
        return warm and hasattr(self, "network_")

    def _begin(self, features: int, outputs: int, dtype: Any, *, on: bool = False) -> None:
        """Make the network and its initial parameters, or go on with those that are there."""
        sizes, name = self.hidden_layer_sizes, "hidden_layer_sizes"
        if not isinstance(sizes, Integral):
            sizes = check_sequence(sizes, where="fit", name=name, of="integers, or one")
        hidden = [
            check_integer(size, where="fit", name=name, at_least=1)
            for size in (sizes if isinstance(sizes, list) else [sizes])
        ]
        sizes = [features, *hidden, outputs]
        net = mlp(sizes, self.activation, self._made_small(), self.weights, dropout=self.dropout)
        if on:
            if sizes != (old := [features, *(len(b) for b in self.intercepts_)]):
                raise ValueError(
                    f"fit: warm_start=True goes on with the layers of the last fit, {old}, got "
                    f"{sizes}; set warm_start=False to begin anew."
                )
            self.network_ = net
            return
        self.network_, self._seed = net, self._draw_seed()
        self.theta_ = self.network_.init(np.random.default_rng(self._seed), dtype)
        self.optimizer_state_ = optimizers.get(self.optimizer, self.learning_rate).init(self.theta_)
        self.history_, self.n_iter_ = {}, 0

    def _made_small(self) -> Loss:
        """Return the loss, which must be for targets of the kind that the estimator has."""
        loss = self._loss if self.loss is None else losses.get(self.loss)
        if loss.kind != self._loss.kind:
            known = [name for name, known in losses.ALL.items() if known.kind == self._loss.kind]
            raise ValueError(
                f"fit: loss must be for targets of the kind {self._loss.kind!r}, such as "
                f"{', '.join(known)}, got {loss.name}, for {loss.kind!r}."
            )
        return loss

    def _train(self, x: Array, y: Array, weights: Array | None) -> None:
        """Train as the settings say, from the parameters and the optimizer's state of now."""
        # Checked in any case: a wrong setting should not wait for the day when it is used.
        stop = EarlyStopping(self.patience, self.min_delta)
        settled = None if self.tol is None else Settled(self.tol, self.n_iter_no_change)
        check_integer(self.n_iter_no_change, where="fit", name="n_iter_no_change", at_least=1)
        name = "validation_fraction"
        check_number(self.validation_fraction, where="fit", name=name, above=0, below=1)
        settings: dict[str, Any] = {
            "stop": settled,
            "keep_best": None,
            "verbose": self._verbose("fit"),
            "optimizer": optimizers.get(self.optimizer, self.learning_rate),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self._seed,
            "shuffle": check_flag(self.shuffle, where="fit", name="shuffle"),
        }
        if check_flag(self.early_stopping, where="fit", name="early_stopping"):
            if settled is not None:
                raise ValueError(
                    "fit: tol= looks at the training loss, early_stopping=True at the loss of "
                    f"held-out rows; set min_delta and patience, got tol={shown(self.tol)}."
                )
            classes = y if self.network_.loss.kind == "labels" else np.zeros(len(x))
            rows, held_out = stratified(
                classes,
                seed=self._seed,
                test_fraction=self.validation_fraction,
                where="fit",
                name=name,
            )
            settings["validation"] = x[held_out], y[held_out]
            settings |= {"stop": stop, "keep_best": stop.metric}
            x, y = x[rows], y[rows]
            weights = None if weights is None else weights[rows]
        settings["weights"] = weights
        start, workers = (self.network_, self.theta_, x, y), self._workers()
        if workers == 1 and self.client is None:
            settings |= {"state": self.optimizer_state_, "first_epoch": self.n_iter_}
            result = train_here(*start, **settings)
        elif self.warm_start:
            raise ValueError(
                "fit: warm_start=True trains in this process, for workers begin without an "
                f"optimizer's state; leave out client= and set n_jobs=None, got {self.n_jobs!r}."
            )
        else:
            result = train_on(workers, self.client, *start, **settings)
        self._take(result)
        if settled is not None and not settled(result.history):
            warnings.warn(
                f"fit: the training loss had not settled within tol={self.tol:g} when all "
                f"{self.epochs} epochs were over; raise epochs, or tol.",
                ConvergenceWarning,
                stacklevel=4,  # of who called fit
            )

    def _train_an_epoch(self, x: Array, y: Array, weights: Array | None) -> None:
        """Go on for one epoch, in this process."""
        result = train_here(
            self.network_,
            self.theta_,
            x,
            y,
            optimizer=optimizers.get(self.optimizer, self.learning_rate),
            verbose=self._verbose("partial_fit"),
            epochs=1,
            batch_size=self.batch_size,
            seed=self._seed,
            shuffle=check_flag(self.shuffle, where="partial_fit", name="shuffle"),
            weights=weights,
            state=self.optimizer_state_,
            first_epoch=self.n_iter_,
        )
        self._take(result)

    def _take(self, result: FitResult) -> None:
        """Take over what a training has left."""
        self.theta_, self.optimizer_state_ = result.theta, result.state
        rows = {name: [*self.history_.get(name, []), *new] for name, new in result.history.items()}
        self.history_ = {**self.history_, **rows}
        self.n_iter_ += len(result.history["loss"])

    def _verbose(self, where: str) -> bool:
        how: Any = self.verbose
        if not isinstance(how, bool) and isinstance(how, Integral):
            return check_integer(how, where=where, name="verbose", at_least=0) > 0
        return check_flag(how, where=where, name="verbose")

    def _refuse_early_stopping(self) -> None:
        if check_flag(self.early_stopping, where="partial_fit", name="early_stopping"):
            raise ValueError(
                "partial_fit: one epoch at a time leaves nothing to stop early; use fit, or "
                "early_stopping=False."
            )

    def _read(self, X: Any, where: str) -> Array:
        """Return rows to answer for, as the network that is there takes them."""
        check_is_fitted(self)
        check_dense(X, where=where)
        return cast(Array, validate_data(self, X, dtype=FLOATS, reset=False))

    def _draw_seed(self) -> int:
        if self.random_state is None or hasattr(self.random_state, "randint"):
            return int(check_random_state(self.random_state).randint(2**31 - 1))
        return check_integer(self.random_state, where="fit", name="random_state", at_least=0)

    def _workers(self) -> int:
        jobs: Any = self.n_jobs
        if jobs is not None and (
            isinstance(jobs, bool) or not isinstance(jobs, Integral) or int(jobs) == 0
        ):
            raise ValueError(
                "fit: n_jobs must be a number of processes, -1 for one per core, or None, got "
                f"{shown(jobs)}."
            )
        if self.client is not None:
            from course_lib.parallel.doors import check_client

            check_client(self.client, threads=False, where="fit")
        elif _nested():
            return 1
        if self.client is None or int(jobs or 0) > 0:
            return int(effective_n_jobs(jobs))
        if isinstance(self.client, str):
            raise ValueError(
                "fit: with the address of a scheduler, n_jobs must be the number of workers to "
                f"train on, got {self.n_jobs!r}."
            )
        return _count_workers(self.client)

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


def _count_workers(client: Any) -> int:
    from course_lib.parallel.clock import within
    from course_lib.parallel.errors import ClusterUnreachable

    try:
        return len(within(_ANSWER, client.nthreads))
    except TimeoutError:
        raise ClusterUnreachable(
            f"fit: the scheduler of client= did not answer within {_ANSWER:g} s; give n_jobs=, or "
            "another client."
        ) from None


def _nested() -> bool:
    """Whether this is one of several processes already: of joblib, of a Pool, of a Dask cluster."""
    known = (None, *multiprocessing.get_all_start_methods())
    if multiprocessing.current_process().daemon:
        return True
    if multiprocessing.get_start_method(allow_none=True) not in known:  # joblib has one of its own
        return True
    try:
        return "distributed" in sys.modules and bool(sys.modules["distributed"].get_worker())
    except ValueError:
        return False
