"""The settings of the estimators are checked by fit, all of them, whether they are used or not."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from course_lib import MLPClassifier, MLPRegressor
from course_lib.estimators.runs import Settled
from tests.doors import (
    FLAG,
    NAME,
    NUMBER0,
    ONLY,
    OPTIONAL,
    POSITIVE,
    WHOLE,
    WHOLE0,
    Door,
    check_all,
    door,
    every_argument,
    left_out,
)

X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2

SETTINGS = {
    "hidden_layer_sizes": (3, frozenset({"empty", "numbers"})), "activation": ("relu", NAME),
    "optimizer": ("sgd", NAME), "learning_rate": (0.1, NUMBER0, "lr"), "batch_size": (8, WHOLE),
    "epochs": (1, WHOLE), "weights": ("zeros", NAME, "initialiser"), "dropout": (0.1, NUMBER0),
    "loss": (None, OPTIONAL), "shuffle": (True, FLAG),
    "early_stopping": (False, FLAG), "validation_fraction": (0.2, POSITIVE),
    "patience": (2, WHOLE), "min_delta": (0.0, NUMBER0), "tol": (None, NUMBER0 | OPTIONAL),
    "n_iter_no_change": (2, WHOLE), "warm_start": (False, FLAG), "verbose": (0, FLAG | WHOLE0),
    "random_state": (0, WHOLE0 | OPTIONAL),
    "n_jobs": (None, OPTIONAL | {"-1"}), "client": (None, OPTIONAL, "client|scheduler"),
}  # fmt: skip


def fitting(kind: type) -> Door:
    def fit(**settings: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is not enough for a tol
            weights = settings.pop("sample_weight")
            return kind(**settings).fit(X, Y, weights)

    weights = (np.ones(20), OPTIONAL | POSITIVE | FLAG)
    return door(fit, called=kind.__name__, sample_weight=weights, **SETTINGS)


def going_on(classes: Any) -> Any:
    return MLPClassifier(3, random_state=0).partial_fit(X, Y, classes)


DOORS = [
    fitting(MLPClassifier),
    fitting(MLPRegressor),
    door(going_on, classes=([0, 1], ONLY)),
    door(Settled, tol=(0.1, NUMBER0), n_iter_no_change=(2, WHOLE)),
]


@every_argument(DOORS)
def test_what_means_nothing_is_refused_by_name(entry: Door, name: str) -> None:
    check_all(entry, name)


def test_no_argument_is_left_out() -> None:
    assert left_out(DOORS) == set()
