"""Estimators: scikit-learn's own checks and its own MLPClassifier are the oracles, and `fit` is."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import course_lib
from course_lib import (
    SGD,
    Adam,
    EarlyStopping,
    KeepBest,
    MLPClassifier,
    MLPRegressor,
    data,
    fit,
    mlp,
    optimizers,
)

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 7))
LABELS = np.array(["cat", "dog", "owl"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)]
VALUES = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
SMALL = {"hidden_layer_sizes": (6, 5), "epochs": 4, "batch_size": 16, "random_state": 3}
DIGITS = data.load_digits()


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learns_checks(estimator, check):
    """All of them: none is expected to fail."""
    check(estimator)


def test_digits_are_read_as_well_as_by_scikit_learns_own_network():
    common = {"hidden_layer_sizes": (64,), "batch_size": 32, "random_state": 0}
    theirs = neural_network.MLPClassifier(learning_rate_init=0.001, max_iter=40, tol=0, **common)
    with pytest.warns(match="Maximum iterations"):
        theirs.fit(DIGITS.x_train, DIGITS.y_train)
    ours = MLPClassifier(epochs=40, **common).fit(DIGITS.x_train, DIGITS.y_train)
    scores = [model.score(DIGITS.x_test, DIGITS.y_test) for model in (ours, theirs)]
    assert min(scores) > 0.95
    assert abs(scores[0] - scores[1]) < 0.02


def test_it_computes_what_fit_computes_to_the_bit():
    model = MLPClassifier(activation="tanh", dropout=0.2, **SMALL).fit(X, LABELS)
    net = mlp([7, 6, 5, 3], "tanh", dropout=0.2)
    theta = net.init(np.random.default_rng(3))
    classes, y = np.unique(LABELS, return_inverse=True)
    result = fit(net, theta, Adam(0.001), X, y, epochs=4, batch_size=16, seed=3)
    np.testing.assert_array_equal(model.theta_, result.theta)
    assert model.history_ == result.history and model.loss_curve_ == result.history["loss"]
    np.testing.assert_array_equal(model.predict(X), classes[net.predict(result.theta, X)])
    np.testing.assert_array_equal(model.predict_proba(X), net.predict_proba(result.theta, X))
    assert [w.shape for w in model.coefs_] == [(7, 6), (6, 5), (5, 3)]
    assert [b.shape for b in model.intercepts_] == [(6,), (5,), (3,)]
    assert model.n_iter_ == 4


@pytest.mark.parametrize("estimator", [MLPClassifier(**SMALL), MLPRegressor(**SMALL)])
def test_k_partial_fits_are_a_fit_of_k_epochs_to_the_bit(estimator):
    is_classifier = isinstance(estimator, MLPClassifier)
    y = LABELS if is_classifier else VALUES
    stepwise = clone(estimator)
    for _ in range(4):
        stepwise.partial_fit(X, y, *([np.unique(y)] if is_classifier else []))
    whole = clone(estimator).fit(X, y)
    np.testing.assert_array_equal(stepwise.theta_, whole.theta_)
    assert stepwise.n_iter_ == whole.n_iter_ == 4
    assert stepwise.history_ == whole.history_
    whole.partial_fit(X, y)
    np.testing.assert_array_equal(
        whole.theta_, clone(estimator).set_params(epochs=5).fit(X, y).theta_
    )


def test_partial_fit_learns_from_batches_that_lack_a_class():
    model = MLPClassifier(**SMALL)
    some = LABELS != "owl"
    model.partial_fit(X[some], LABELS[some], classes=["owl", "dog", "cat"])
    assert list(model.classes_) == ["cat", "dog", "owl"]
    assert model.predict_proba(X).shape == (60, 3)


def test_partial_fit_says_what_it_lacks():
    with pytest.raises(ValueError, match="first call needs classes=, all labels that may come."):
        MLPClassifier().partial_fit(X, LABELS)
    model = MLPClassifier(**SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"classes were .'cat' 'dog' 'owl'.* got .'cat' 'dog'.\."):
        model.partial_fit(X, LABELS, classes=["cat", "dog"])
    with pytest.raises(ValueError, match=r"labels that are not in classes, got .'cow'.\."):
        model.partial_fit(X, np.where(LABELS == "owl", "cow", LABELS))
    for kind, y in ((MLPClassifier, LABELS), (MLPRegressor, VALUES)):
        with pytest.raises(ValueError, match="leaves nothing to stop early"):
            kind(early_stopping=True).partial_fit(X, y)


def test_early_stopping_returns_the_best_epoch_of_a_run_that_went_on():
    settings = SMALL | {"epochs": 60, "early_stopping": True, "patience": 3, "learning_rate": 0.05}
    for estimator, y in ((MLPClassifier(**settings), LABELS), (MLPRegressor(**settings), VALUES)):
        stopped = estimator.fit(X, y)
        losses = stopped.history_["val_loss"]
        best = int(np.argmin(losses))
        assert len(losses) == stopped.n_iter_ == best + 4 < 60
        # Retrained for just so many epochs it is the same model: nothing later has leaked in.
        again = clone(estimator).set_params(epochs=best + 1).fit(X, y)
        np.testing.assert_array_equal(again.theta_, stopped.theta_)
        assert stopped.optimizer_state_["t"] == (best + 1) * 4  # 54 rows are left, in 4 batches


def test_what_is_held_out_has_each_class_in_proportion():
    with pytest.raises(
        ValueError, match="fit: validation_fraction must leave samples on both sides"
    ):
        MLPClassifier(early_stopping=True, validation_fraction=0.001).fit(X, LABELS)


@pytest.fixture(scope="module")
def client():
    """Two Dask workers, threads of this process, which start fast."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(processes=False, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as found,
    ):
        yield found


def assert_found_alike(there, here):
    """Sums in another order: about 1e-16 per step, amplified little in so few."""
    np.testing.assert_allclose(there.theta_, here.theta_, rtol=0, atol=1e-10)
    assert there.n_iter_ == here.n_iter_
    for name, values in here.history_.items():
        np.testing.assert_allclose(there.history_[name], values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("early", [False, True])
def test_workers_find_what_one_process_finds(client, early):
    settings = SMALL | {"epochs": 6, "early_stopping": early, "patience": 2, "learning_rate": 0.02}
    here = MLPClassifier(**settings).fit(X, LABELS)
    there = MLPClassifier(client=client, **settings).fit(X, LABELS)
    assert_found_alike(there, here)
    # Going on in this process works too: the optimizer's state came back with the parameters.
    for model in (here, there):
        model.set_params(early_stopping=False).partial_fit(X, LABELS)
    assert_found_alike(there, here)


def test_n_jobs_alone_starts_processes_of_this_machine():
    pytest.importorskip("distributed")
    settings = SMALL | {"early_stopping": True, "patience": 1, "learning_rate": 0.1, "epochs": 30}
    here = MLPClassifier(**settings).fit(X, LABELS)
    assert here.n_iter_ < 30
    assert_found_alike(MLPClassifier(n_jobs=2, **settings).fit(X, LABELS), here)


def fitted(**settings):
    return MLPClassifier(**SMALL | settings).fit(X, LABELS)


def test_inside_one_of_several_processes_the_fit_stays_there(client):
    """As in a cross-validation whose folds are processes: the same, and no processes of its own."""
    here = fitted()
    nested = cross_val_score(MLPClassifier(n_jobs=2, **SMALL), X, LABELS, cv=2, n_jobs=2)
    assert nested.tolist() == cross_val_score(here, X, LABELS, cv=2).tolist()
    task = client.submit(fitted, n_jobs=2, pure=False).result(timeout=60)
    np.testing.assert_array_equal(task.theta_, here.theta_)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        other = pool.apply_async(fitted, kwds={"n_jobs": 2}).get(timeout=60)
    np.testing.assert_array_equal(other.theta_, here.theta_)


def test_a_cluster_that_does_not_say_how_many_workers_it_has_is_not_waited_for(monkeypatch):
    pytest.importorskip("distributed")
    from course_lib.parallel.errors import ClusterUnreachable

    class Frozen:
        nthreads = threading.Event().wait

    monkeypatch.setattr("course_lib.estimators.base._ANSWER", 0.2)
    with pytest.raises(ClusterUnreachable, match=r"fit: the scheduler .* did not answer within"):
        fitted(client=Frozen())


def test_a_clone_shares_the_client_and_a_pickle_remembers_its_address(client):
    here = MLPRegressor(**SMALL).fit(X, VALUES)
    there = clone(MLPRegressor(client=client, **SMALL)).fit(X, VALUES)
    assert there.client is client
    assert_found_alike(there, here)
    again = pickle.loads(pickle.dumps(there))
    assert again.client == client.scheduler.address
    np.testing.assert_array_equal(again.predict(X), there.predict(X))
    with pytest.raises(ValueError, match="n_jobs must be the number of workers to train on, got N"):
        again.fit(X, VALUES)


def test_a_client_may_be_an_address_with_the_number_of_workers(client):
    there = MLPRegressor(client=client.scheduler.address, n_jobs=2, **SMALL)
    assert_found_alike(there.fit(X, VALUES), MLPRegressor(**SMALL).fit(X, VALUES))


def test_it_works_in_a_pipeline_under_grid_search():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL | {"epochs": 25}))
    grid = {
        "mlpclassifier__hidden_layer_sizes": [(), 8],
        "mlpclassifier__optimizer": ["adam", SGD(0.1, momentum=0.9)],
    }
    search = GridSearchCV(pipeline, grid, cv=3).fit(10 * X + 3, LABELS)
    assert search.best_score_ > 0.7  # three classes of 15 to 30 rows: guessing gives 0.5
    scores = cross_val_score(search.best_estimator_, 10 * X + 3, LABELS, cv=3)
    assert scores.mean() == pytest.approx(search.best_score_)


def test_a_grid_search_finds_the_options_of_an_optimizer():
    sgd = SGD(0.1, momentum=0.5)
    model = MLPClassifier(**SMALL | {"optimizer": sgd, "epochs": 25})
    grid = {"optimizer__lr": [1e-6, 0.1], "optimizer__momentum": [0.0, 0.8]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X, LABELS)
    assert len(set(search.cv_results_["mean_test_score"])) >= 3  # both count
    best = search.best_params_
    assert best["optimizer__lr"] == 0.1
    assert search.best_estimator_.optimizer == SGD(0.1, momentum=best["optimizer__momentum"])
    assert model.optimizer is sgd  # and is as it was
    by_hand = MLPClassifier(**SMALL | {"optimizer": search.best_estimator_.optimizer, "epochs": 25})
    np.testing.assert_array_equal(search.best_estimator_.theta_, by_hand.fit(X, LABELS).theta_)
    # Through a pipeline, and of an optimizer that the same call brings.
    pipeline = make_pipeline(StandardScaler(), model)
    assert pipeline.get_params()["mlpclassifier__optimizer__momentum"] == 0.5
    pipeline.set_params(mlpclassifier__optimizer__eps=0.1, mlpclassifier__optimizer=Adam(0.01))
    assert pipeline[-1].optimizer == Adam(0.01, eps=0.1)


def test_options_of_an_optimizer_are_set_of_an_object_only_and_by_their_names():
    model = MLPClassifier(optimizer=SGD(0.1))
    assert model.get_params(deep=False).keys() == MLPClassifier().get_params().keys()
    assert {n.removeprefix("optimizer__") for n in model.get_params() if "__" in n} == {
        "lr", "momentum", "weight_decay", "dampening", "nesterov", "maximize",
    }  # fmt: skip
    for wrong, words in (
        ({"optimizer__beta1": 0.5}, r"the optimizer SGD has lr, .*weight_decay.*, got 'beta1'"),
        ({"optimizer__lr": -1}, "SGD: lr must be a finite number >= 0, got -1"),
        ({"optimizer__nesterov": True}, "SGD: nesterov=True needs a momentum above 0"),
        ({"optimizer": "sgd", "optimizer__lr": 1}, "is an object, such as .* got optimizer='sgd'"),
        ({"optimiser__lr": 1}, "Invalid parameter 'optimiser' for estimator"),
    ):
        with pytest.raises(ValueError, match=words):
            clone(model).set_params(**wrong)
    assert model.set_params(optimizer__nesterov=True, optimizer__momentum=0.9) is model
    assert model.optimizer == SGD(0.1, momentum=0.9, nesterov=True)


@pytest.mark.parametrize("estimator", [MLPClassifier(**SMALL), MLPRegressor(**SMALL)])
def test_a_pickle_predicts_and_goes_on_the_same(estimator):
    model = estimator.fit(X, LABELS if isinstance(estimator, MLPClassifier) else X[:, 0])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    y = LABELS if isinstance(estimator, MLPClassifier) else X[:, 0]
    np.testing.assert_array_equal(again.partial_fit(X, y).theta_, model.partial_fit(X, y).theta_)


def test_a_regressor_answers_in_the_shape_of_its_targets():
    assert MLPRegressor(**SMALL).fit(X, VALUES).predict(X).shape == (60, 2)
    assert MLPRegressor(**SMALL).fit(X, VALUES[:, :1]).predict(X).shape == (60, 1)
    one = MLPRegressor(**SMALL).fit(X, VALUES[:, 0])
    column = MLPRegressor(**SMALL).fit(X, VALUES[:, :1])
    assert one.predict(X).shape == (60,)
    np.testing.assert_array_equal(one.predict(X), column.predict(X)[:, 0])


def test_a_linear_regressor_finds_the_least_squares_solution():
    model = MLPRegressor(
        (), optimizer="sgd", learning_rate=0.2, epochs=400, batch_size=60, random_state=0
    ).fit(X, VALUES)
    exact, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), VALUES)
    # Full batches of a convex problem converge geometrically: 400 steps leave about 1e-12.
    np.testing.assert_allclose(model.coefs_[0], exact[:-1], atol=1e-8)
    np.testing.assert_allclose(model.intercepts_[0], exact[-1], atol=1e-8)


def test_float32_data_is_computed_in_float32():
    model = MLPClassifier(**SMALL).fit(X.astype(np.float32), LABELS)
    assert model.theta_.dtype == model.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_random_state_decides_and_may_be_a_generator_of_numpy():
    def trained(random_state):
        return MLPRegressor(**SMALL | {"random_state": random_state}).fit(X, VALUES).theta_

    np.testing.assert_array_equal(
        trained(np.random.RandomState(1)), trained(np.random.RandomState(1))
    )
    assert not np.array_equal(trained(None), trained(None))
    with pytest.raises(TypeError, match="random_state"):
        trained("seven")


def test_wrong_settings_are_named_by_fit():
    for wrong, words in (
        ({"activation": "rele"}, "did you mean 'relu'"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"hidden_layer_sizes": (6, 0)}, "hidden_layer_sizes must be .* got 0"),
        ({"epochs": 0}, "epochs"),
    ):
        with pytest.raises(ValueError, match=words):
            MLPClassifier(**SMALL | wrong).fit(X, LABELS)


def test_a_training_that_diverges_says_so():
    with pytest.raises(FloatingPointError, match="diverged; lower the learning rate"):
        MLPRegressor(
            **SMALL | {"activation": "identity", "optimizer": "sgd", "learning_rate": 1e9}
        ).fit(X, VALUES)


def test_without_scikit_learn_the_sentence_names_the_extra(root):
    code = (
        "import sys; sys.modules['sklearn'] = None\nimport course_lib\n"
        "try: course_lib.MLPClassifier\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith('scikit-learn; pip install "course-lib[data]".')


def test_the_lazy_names_are_listed():
    assert {"MLPClassifier", "MLPRegressor", "estimators"} <= set(dir(course_lib))
    assert course_lib.estimators.MLPClassifier is MLPClassifier


@pytest.mark.parametrize("name", optimizers.ALL)
def test_optimizers_are_found_by_name(name):
    made = optimizers.get(name, 0.25)
    assert made.lr == 0.25 and optimizers.get(made, 0.5) is made
    assert type(made).__name__.lower() in (name, "sgd")


def test_keep_best_keeps_the_epoch_with_the_least_loss_or_the_most_accuracy():
    y = np.unique(LABELS, return_inverse=True)[1]
    net = mlp([7, 6, 3])
    theta = net.init(np.random.default_rng(0))
    for metric, pick in (("val_loss", np.argmin), ("val_accuracy", np.argmax)):
        seen, best = [], KeepBest(metric)
        result = fit(
            net, theta, Adam(0.05), X[:40], y[:40], epochs=12, batch_size=8, seed=0,
            validation=(X[40:], y[40:]), callbacks=[seen.append, best],
        )  # fmt: skip
        epoch = int(pick(result.history[metric]))  # of equals the first, as argmin says
        assert best.epoch == epoch < 11
        np.testing.assert_array_equal(best.theta, seen[epoch].theta)
        assert best.state["t"] == (epoch + 1) * 5
    with pytest.raises(
        ValueError, match="KeepBest: the history must have 'val_loss', got only loss; pass"
    ):
        fit(net, theta, Adam(), X, y, epochs=1, batch_size=8, seed=0, callbacks=[KeepBest()])


def test_early_stopping_and_keep_best_agree_where_the_improvement_is_large_enough():
    losses = [3.0, 2.0, 1.0, 1.5, 1.2, 1.1]
    assert EarlyStopping(patience=3)({"val_loss": losses})
    assert not EarlyStopping(patience=3)({"val_loss": losses[:-1]})


FAILURES = {
    "diverges": (
        {"learning_rate": 1e200, "optimizer": "sgd", "activation": "identity"},
        FloatingPointError,
    ),
    "a wrong setting": ({"activation": "relou"}, ValueError),
    "too few rows to hold out": ({"early_stopping": True, "validation_fraction": 0.01}, ValueError),
    "interrupted": ({"learning_rate": lambda step: _interrupt()}, KeyboardInterrupt),
}


def _interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_fit_that_fails_leaves_the_model_as_it_was(kind, failure, fitted):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    settings, error = FAILURES[failure]
    model = kind(4, random_state=0, epochs=3)
    if fitted:
        model.fit(x, y)
        before = model.predict(x)
    model.set_params(**settings)
    with pytest.raises(error), np.errstate(all="ignore"):
        model.fit(x[:, :2] * 1e3, y + 5)
    if fitted:
        np.testing.assert_array_equal(model.predict(x), before)
        assert model.n_features_in_ == 3
    else:
        with pytest.raises(NotFittedError):
            model.predict(x)


def test_a_partial_fit_that_is_refused_changes_nothing():
    x, y = np.ones((4, 2)), np.array([[0.0], [1.0], [0.0], [1.0]])
    model = MLPRegressor(3, random_state=0).fit(x, y)
    with pytest.raises(ValueError, match="columns|shape|targets"):
        model.partial_fit(x, np.ones((4, 3)))
    assert model.predict(x).shape == (4, 1)
    new = MLPClassifier(3)
    with pytest.raises(ValueError, match="needs classes="):
        new.partial_fit(x, y[:, 0])
    with pytest.raises(NotFittedError):
        new.predict(x)


def test_a_regressor_answers_in_the_shape_of_its_first_targets_whatever_comes_later():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    two = MLPRegressor(4, random_state=0).partial_fit(x, y)
    with pytest.raises(ValueError, match=r"targets for mse must have shape \(20, 2\), got \(20,\)"):
        two.partial_fit(x, y[:, 0])
    assert two.predict(x).shape == (20, 2)
    for first, later in ((y[:, 0], y[:, :1]), (y[:, :1], y[:, 0])):
        one = MLPRegressor(4, random_state=0).partial_fit(x, first)
        same = MLPRegressor(4, random_state=0).partial_fit(x, first).partial_fit(x, first)
        assert one.partial_fit(x, later).predict(x).shape == first.shape
        np.testing.assert_array_equal(one.theta_, same.theta_)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_jobs": 1.5},
        {"n_jobs": 0},
        {"early_stopping": "yes"},
        {"dropout": "some"},
        {"min_delta": -1},
        {"min_delta": float("nan")},
        {"patience": 0.5},
        {"client": 5},
        {"optimizer": course_lib.Adam},
        {"hidden_layer_sizes": "64"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_wrong_setting_leaves_the_old_model_and_goes_through_clone_and_pickle(kind, wrong):
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    model = kind(4, random_state=0, epochs=2).fit(x, y)
    before, history = model.predict(x), model.history_["loss"][:]
    model.set_params(**wrong)
    (name,) = wrong
    assert repr(clone(model).get_params()[name]) == repr(wrong[name])  # refused by fit, not before
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        with pytest.raises((ValueError, TypeError), match=f"{name}.*got"):
            each.fit(x, y)
        np.testing.assert_array_equal(each.predict(x), before)
        assert each.history_["loss"] == history


def test_what_partial_fit_adds_to_the_history_does_not_reach_a_copy_of_it():
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    model = MLPClassifier(4, random_state=0).partial_fit(x, y, classes=[0, 1])
    kept = model.history_
    model.partial_fit(x, y)
    assert (len(kept["loss"]), len(model.history_["loss"]), model.n_iter_) == (1, 2, 2)


@pytest.mark.parametrize("name", ["learning_rate", "dropout", "min_delta", "validation_fraction"])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_setting_of_numpy_trains_to_the_bits_of_pythons(kind, name):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    settings = {"optimizer": "sgd", "random_state": 0, "epochs": 3, "early_stopping": True}
    number = 0.125  # exact in both types

    def trained(value):
        return MLPClassifier(4, **settings, **{name: value}).fit(x, np.arange(40) % 2).theta_

    assert trained(kind(number)).dtype == np.float32
    np.testing.assert_array_equal(trained(kind(number)), trained(number))
