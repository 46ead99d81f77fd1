"""The words of scikit-learn's networks mean here what they mean there; the rest is refused."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils import compute_sample_weight

from course_lib import SGD, Adam, MLPClassifier, MLPRegressor, fit, losses, mlp
from course_lib.data import stratified
from course_lib.estimators.runs import Settled, train_on
from course_lib.losses import Loss

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 7))
LABELS = np.array(["cat", "dog", "owl"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)]
VALUES = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
SMALL = {"hidden_layer_sizes": (6, 5), "epochs": 4, "batch_size": 16, "random_state": 3}
BOTH = pytest.mark.parametrize(
    ("kind", "y"), [(MLPClassifier, LABELS), (MLPRegressor, VALUES)], ids=["classes", "numbers"]
)


# The logarithm of the probabilities.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_log_probabilities_are_the_logarithms_and_finite_where_those_are_not(dtype):
    model = MLPClassifier(**SMALL).fit(X.astype(dtype), LABELS)
    x = X.astype(dtype)
    logs = model.predict_log_proba(x)
    assert logs.dtype == dtype
    # An error of the logarithm is the relative error of the probability: a few roundings.
    bound = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(logs, np.log(model.predict_proba(x)), rtol=bound, atol=bound)
    far = 1e4 * x
    assert (model.predict_proba(far) == 0).any()
    outputs = model.network_.forward(model.theta_, far)[0].astype(np.longdouble)
    top = outputs.max(axis=1, keepdims=True)
    exact = outputs - top - np.log(np.exp(outputs - top).sum(axis=1, keepdims=True))
    assert np.isfinite(model.predict_log_proba(far)).all()
    # The outputs themselves, of size 1e4, are rounded.
    np.testing.assert_allclose(
        model.predict_log_proba(far), exact.astype(dtype), rtol=bound, atol=bound * 1e4
    )
    np.testing.assert_array_equal(model.classes_[logs.argmax(axis=1)], model.predict(x))


def test_log_probabilities_need_a_model_and_a_classifier():
    with pytest.raises(NotFittedError):
        MLPClassifier().predict_log_proba(X)
    assert not hasattr(MLPRegressor(), "predict_log_proba")


# Going on.


@BOTH
@pytest.mark.parametrize("optimizer", ["adam", SGD(0.05, momentum=0.9)])
def test_a_warm_fit_goes_on_with_parameters_state_and_order_of_rows(kind, y, optimizer):
    whole = kind(**SMALL | {"epochs": 7, "optimizer": optimizer, "dropout": 0.2}).fit(X, y)
    parts = clone(whole).set_params(warm_start=True, epochs=4).fit(X, y)
    parts.set_params(epochs=3).fit(X, y)
    np.testing.assert_array_equal(parts.theta_, whole.theta_)
    assert parts.history_ == whole.history_
    assert parts.n_iter_ == whole.n_iter_ == 7
    assert parts.optimizer_state_["t"] == whole.optimizer_state_["t"] == 7 * 4
    # Without the word a second fit begins anew.
    again = clone(parts).set_params(warm_start=False, epochs=4).fit(X, y)
    once = again.theta_
    np.testing.assert_array_equal(again.fit(X, y).theta_, once)
    assert again.n_iter_ == 4


def test_a_warm_fit_takes_settings_that_have_changed_meanwhile():
    model = MLPClassifier(**SMALL, warm_start=True).fit(X, LABELS)
    theta, state = model.theta_, model.optimizer_state_
    model.set_params(activation="tanh", dropout=0.3, learning_rate=0.02, batch_size=20)
    net, y = mlp([7, 6, 5, 3], "tanh", dropout=0.3), np.unique(LABELS, return_inverse=True)[1]
    how = {"epochs": 4, "batch_size": 20, "seed": 3, "state": state, "first_epoch": 4}
    expected = fit(net, theta, Adam(0.02), X, y, **how)
    np.testing.assert_array_equal(model.fit(X, LABELS).theta_, expected.theta)
    np.testing.assert_array_equal(model.predict(X), model.classes_[net.predict(model.theta_, X)])


@BOTH
def test_a_warm_fit_goes_on_from_partial_fit_and_stops_early_by_its_own_epochs(kind, y):
    first = [np.unique(y)] if kind is MLPClassifier else []
    warm = kind(**SMALL | {"epochs": 3}, warm_start=True).partial_fit(X, y, *first).fit(X, y)
    np.testing.assert_array_equal(warm.theta_, kind(**SMALL).fit(X, y).theta_)
    warm.set_params(early_stopping=True, epochs=40, patience=2, learning_rate=0.05).fit(X, y)
    assert 4 < warm.n_iter_ < 44 and len(warm.loss_curve_) == warm.n_iter_
    assert len(warm.history_["val_loss"]) == warm.n_iter_ - 4


def test_a_warm_fit_refuses_what_the_last_one_did_not_have():
    """Other classes, as scikit-learn does, other columns, layers, or another optimizer."""
    model = MLPClassifier(**SMALL, warm_start=True).fit(X, LABELS)
    before = model.theta_.copy()
    for y in (np.where(LABELS == "owl", "dog", LABELS), np.where(LABELS == "owl", "cow", LABELS)):
        with pytest.raises(ValueError, match=r"fit: warm_start=True .* classes .*'owl'\], got"):
            model.fit(X, y)
    with pytest.raises(ValueError, match="7 features"):
        model.fit(X[:, :3], LABELS)
    layers = re.escape("layers of the last fit, [7, 6, 5, 3], got [7, 6, 3]; set warm_start=False")
    with pytest.raises(ValueError, match=layers):
        model.set_params(hidden_layer_sizes=6).fit(X, LABELS)
    model.set_params(hidden_layer_sizes=(6, 5))
    with pytest.raises(ValueError, match="state must hold t.* as that of SGD, got t"):
        model.set_params(optimizer="sgd").fit(X, LABELS)
    np.testing.assert_array_equal(model.theta_, before)
    with pytest.raises(ValueError, match=re.escape("[7, 6, 5, 2], got [7, 6, 5, 1]")):
        MLPRegressor(**SMALL, warm_start=True).fit(X, VALUES).fit(X, VALUES[:, 0])


@BOTH
def test_a_warm_start_on_workers_is_refused_before_they_start(kind, y, monkeypatch):
    def none(*args, **kwargs):
        raise AssertionError("workers have been started")

    monkeypatch.setattr("course_lib.estimators.base.train_on", none)
    with pytest.raises(ValueError, match="fit: warm_start=True trains in this process.* got 2"):
        kind(**SMALL, warm_start=True, n_jobs=2).fit(X, y)


# Stopping by the training loss.


@pytest.mark.parametrize(("tol", "patience"), [(1e-4, 10), (1e-2, 3), (0.05, 1), (0.0, 2)])
@pytest.mark.parametrize("rate", [0.003, 0.3])
def test_it_stops_where_scikit_learn_stops_on_the_same_losses(tol, patience, rate):
    theirs = neural_network.MLPClassifier(
        6, solver="sgd", learning_rate_init=rate, max_iter=300, tol=tol,
        n_iter_no_change=patience, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        losses = theirs.fit(X, LABELS).loss_curve_
    stop = Settled(tol, patience)
    stops = [n for n in range(1, len(losses) + 1) if stop({"loss": losses[:n]})]
    assert stops == ([theirs.n_iter_] if theirs.n_iter_ < 300 else [])


def test_an_epoch_is_compared_with_the_least_loss_before_not_with_the_last():
    losses = [1.0, 0.5, 0.9, 0.7, 0.45]
    stop = Settled(0.1, 2)
    assert not stop({"loss": losses[:4]})
    assert stop({"loss": losses})  # 0.45 is less, but not by 0.1
    assert not stop({"loss": [*losses[:4], 0.39]})


@BOTH
def test_a_fit_with_tol_is_the_fit_of_the_epochs_it_took(kind, y):
    settings = SMALL | {"epochs": 500, "tol": 0.01, "n_iter_no_change": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = kind(**settings).fit(X, y)
    losses = model.loss_curve_
    assert 3 < model.n_iter_ < 500
    # The last three have failed, each against the least before it; the one before them had not.
    gains = [min(losses[:n]) - losses[n] for n in range(1, len(losses))]
    assert max(gains[-3:]) < 0.01 <= gains[-4]
    same = kind(**SMALL | {"epochs": model.n_iter_}).fit(X, y)
    np.testing.assert_array_equal(same.theta_, model.theta_)


@BOTH
def test_epochs_that_are_over_too_early_are_warned_of_if_there_is_a_tol(kind, y):
    words = "had not settled within tol=0 when all 4 epochs were over"
    with pytest.warns(ConvergenceWarning, match=words) as seen:
        kind(**SMALL, tol=0).fit(X, y)
    assert len(seen) == 1 and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        kind(**SMALL).fit(X, y)
        # Stopped in the last epoch is stopped, as in scikit-learn.
        kind(**SMALL, tol=1e9, n_iter_no_change=3).set_params(epochs=5).fit(X, y)


def test_tol_and_early_stopping_do_not_go_together():
    with pytest.raises(ValueError, match=r"min_delta and patience, got tol=0\.1"):
        MLPClassifier(**SMALL, tol=0.1, early_stopping=True).fit(X, LABELS)


@BOTH
def test_each_warm_fit_has_all_its_epochs_and_warns_for_itself(kind, y):
    model = kind(**SMALL, tol=0, warm_start=True)
    for epochs in (4, 3):
        with pytest.warns(ConvergenceWarning, match=f"when all {epochs} epochs were over"):
            model.set_params(epochs=epochs).fit(X, y)
    assert model.n_iter_ == 7


@BOTH
def test_single_precision_is_kept_and_finds_nearly_the_same(kind, y):
    double, single = kind(**SMALL).fit(X, y), kind(**SMALL).fit(X.astype(np.float32), y)
    for model, dtype in ((double, np.float64), (single, np.float32)):
        assert {array.dtype for array in [*model.coefs_, *model.intercepts_]} == {np.dtype(dtype)}
    answer = "predict_proba" if kind is MLPClassifier else "predict"
    there = getattr(single, answer)(X.astype(np.float32))
    assert there.dtype == np.float32
    # 16 steps of Adam, of 0.001 each: roundings of 1e-7 stay small.
    np.testing.assert_allclose(there, getattr(double, answer)(X), rtol=0, atol=1e-4)


# What is printed.


def losses_of(printed):
    return [float(n) for n in re.findall(r"^Epoch \d+, loss = (\S+?)(?:,|$)", printed, re.M)]


@BOTH
def test_verbose_prints_the_losses_of_each_epoch_and_changes_nothing(kind, y, capsys):
    quiet = kind(**SMALL).fit(X, y)
    assert capsys.readouterr().out == ""
    loud = kind(**SMALL, verbose=10).fit(X, y)
    printed = capsys.readouterr().out
    np.testing.assert_array_equal(loud.theta_, quiet.theta_)
    assert losses_of(printed) == [float(f"{loss:.8f}") for loss in quiet.loss_curve_]
    loud.partial_fit(X, y)
    assert capsys.readouterr().out == f"Epoch 5, loss = {loud.loss_curve_[-1]:.8f}\n"
    loud.set_params(early_stopping=True, epochs=1, verbose=1).fit(X, y)
    row = {name: values[0] for name, values in loud.history_.items()}
    assert f"Epoch 1, loss = {row['loss']:.8f}, val_loss = {row['val_loss']:.8f}" in (
        capsys.readouterr().out
    )


def test_workers_stop_and_print_the_same(capsys, monkeypatch):
    """As threads of this process, which need no cluster."""
    pytest.importorskip("distributed")
    import functools

    from course_lib import parallel

    monkeypatch.setattr(parallel, "train", functools.partial(parallel.train, comm="inprocess"))
    net, y = mlp([7, 6, 3]), np.unique(LABELS, return_inverse=True)[1]
    theta = net.init(np.random.default_rng(0))
    how = {"epochs": 300, "batch_size": 16, "seed": 1, "stop": Settled(0.01, 2)}
    here = fit(net, theta, Adam(0.01), X, y, **how)
    there = train_on(2, None, net, theta, X, y, optimizer=Adam(0.01), verbose=True, **how)
    assert 3 < len(here.history["loss"]) == len(there.history["loss"]) < 300
    # Sums in another order: about 1e-16 per step.
    np.testing.assert_allclose(there.theta, here.theta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        losses_of(capsys.readouterr().out), here.history["loss"], rtol=0, atol=1e-7
    )


# What is refused.


@BOTH
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_rows_are_refused_by_name(kind, y, form):
    few = form(X)
    model = kind(**SMALL)
    first = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    words = r"X must be a dense array, got a sparse one of shape \(60, 7\); use X.toarray\(\)\."
    with pytest.raises(TypeError, match="^fit: " + words):
        model.fit(few, y)
    with pytest.raises(TypeError, match="^partial_fit: " + words):
        model.partial_fit(few, y, **first)
    model.fit(few.toarray(), y)
    for name in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(model, name):
            with pytest.raises(TypeError, match=f"^{name}: {words}"):
                getattr(model, name)(few)


@pytest.mark.parametrize(
    "y",
    [
        RNG.integers(0, 2, size=(60, 3)),
        RNG.integers(0, 5, size=(60, 3)),
        RNG.integers(0, 2, size=(60, 3)).tolist(),
        sparse.csr_array(np.ones((60, 3))),
    ],
    ids=["multilabel", "multioutput", "lists", "sparse"],
)
def test_several_labels_per_row_are_refused_by_name(y):
    words = r"one label per row, shape \(n,\), got 3 columns; several labels per row \(multilabel"
    with pytest.raises(ValueError, match="^fit: y must have " + words):
        MLPClassifier(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="^partial_fit: y must have " + words):
        MLPClassifier(**SMALL).partial_fit(X, y, classes=[0, 1])


# How much each row counts.

COUNTS = RNG.integers(0, 4, 60)
WHOLE_BATCH = SMALL | {"batch_size": 200}


@BOTH
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_row_of_weight_three_is_three_rows(kind, y, method):
    """In one batch: cut in several, the repeated rows would lie in others."""
    often, first = np.repeat(np.arange(60), COUNTS), {}
    if method == "partial_fit" and kind is MLPClassifier:
        first = {"classes": np.unique(y)}
    model = getattr(kind(**WHOLE_BATCH), method)(X, y, sample_weight=COUNTS, **first)
    same = getattr(kind(**WHOLE_BATCH), method)(X[often], y[often], **first)
    np.testing.assert_allclose(model.theta_, same.theta_, rtol=0, atol=1e-12)
    alike = getattr(kind(**WHOLE_BATCH), method)(X, y, **first)
    assert np.abs(model.theta_ - alike.theta_).max() > 1e-4


@BOTH
def test_one_number_is_that_of_all_rows(kind, y):
    model = kind(**SMALL).fit(X, y, sample_weight=2)
    np.testing.assert_allclose(model.theta_, kind(**SMALL).fit(X, y).theta_, rtol=0, atol=1e-14)


def test_k_partial_fits_with_weights_are_the_fit_of_k_epochs():
    weights = RNG.random(60)
    whole = MLPClassifier(**SMALL).fit(X, LABELS, weights)
    model = MLPClassifier(**SMALL)
    for _ in range(SMALL["epochs"]):
        model.partial_fit(X, LABELS, np.unique(LABELS), sample_weight=weights)
    assert model.theta_.tobytes() == whole.theta_.tobytes()


@BOTH
def test_a_fit_with_weights_and_early_stopping_holds_out_rows_that_count_alike(kind, y):
    """The rows that are trained on keep their weights, by hand through `fit`."""
    weights = RNG.random(60)
    settings = SMALL | {"epochs": 6, "early_stopping": True, "validation_fraction": 0.25}
    model = kind(**settings).fit(X, y, sample_weight=weights)
    labels = np.unique(y, return_inverse=True)[1] if y.ndim == 1 else y
    by = labels if y.ndim == 1 else np.zeros(60)
    rows, out = stratified(by, seed=3, test_fraction=0.25, where="here")
    net = model.network_
    found = fit(
        net, net.init(np.random.default_rng(3)), Adam(0.001), X[rows], labels[rows],
        weights=weights[rows], validation=(X[out], labels[out]), epochs=6, batch_size=16, seed=3,
        keep_best="val_loss",
    )  # fmt: skip
    assert model.theta_.tobytes() == found.theta.tobytes()
    assert model.history_ == found.history


def test_balanced_classes_are_those_of_scikit_learns_logistic_regression():
    """A convex problem has one solution, whoever finds it."""
    x = RNG.normal(size=(80, 2))
    y = (x[:, 0] + RNG.normal(size=80) > 1.2).astype(int)
    assert 5 < y.sum() < 25
    weights = compute_sample_weight("balanced", y)
    model = MLPClassifier(
        (), weights="zeros", optimizer=SGD(1.0), epochs=3000, batch_size=80, random_state=0
    ).fit(x, y, sample_weight=weights)
    theirs = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-10).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), theirs.predict_proba(x), rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (np.ones(59), "one number per row of the data, 60, got 59"),
        (np.zeros(60), "finite and at least 0, and not all of them zero"),
        (-1, "finite and at least 0"),
        (np.full(60, np.inf), "finite and at least 0"),
        ("balanced", "one number per row"),
        (np.ones((60, 2)), "one number per row"),
    ],
)
def test_weights_that_are_none_are_refused_by_name(kind, y, method, weights, told):
    first = {"classes": np.unique(y)} if (method, y.ndim) == ("partial_fit", 1) else {}
    with pytest.raises((TypeError, ValueError), match=f"^{method}: sample_weight must be {told}"):
        getattr(kind(**SMALL), method)(X, y, sample_weight=weights, **first)


def test_weights_reach_the_workers(monkeypatch):
    """As many as they are; the training itself is tested with the strategies."""
    weights, seen = RNG.random(60), {}

    def train_on(workers, client, net, theta, x, y, **settings):
        seen.update(settings)
        return fit(net, theta, x=x, y=y, **{k: v for k, v in settings.items() if k != "verbose"})

    monkeypatch.setattr("course_lib.estimators.base.train_on", train_on)
    model = MLPClassifier(**SMALL, n_jobs=2).fit(X, LABELS, weights)
    assert seen["weights"].tolist() == weights.tolist()
    assert model.theta_.tobytes() == MLPClassifier(**SMALL).fit(X, LABELS, weights).theta_.tobytes()


# The order of the rows.


@BOTH
def test_rows_as_they_come_are_those_of_a_fit_that_does_not_shuffle(kind, y):
    model = kind(shuffle=False, **SMALL).fit(X, y)
    labels = np.unique(y, return_inverse=True)[1] if y.ndim == 1 else y
    net = model.network_
    theta = net.init(np.random.default_rng(3))
    found = fit(net, theta, Adam(0.001), X, labels, epochs=4, batch_size=16, seed=3, shuffle=False)
    assert model.theta_.tobytes() == found.theta.tobytes()
    steps = kind(shuffle=False, **SMALL)
    for _ in range(4):
        steps.partial_fit(X, y, *([np.unique(y)] if y.ndim == 1 else []))
    assert steps.theta_.tobytes() == model.theta_.tobytes()
    assert model.theta_.tobytes() != kind(**SMALL).fit(X, y).theta_.tobytes()


# What is made small.


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_regressor_makes_small_what_it_is_told(loss):
    model = MLPRegressor(loss=loss, **SMALL).fit(X, VALUES)
    net = mlp([7, 6, 5, 2], loss=loss)
    theta = net.init(np.random.default_rng(3))
    found = fit(net, theta, Adam(0.001), X, VALUES, epochs=4, batch_size=16, seed=3)
    assert model.theta_.tobytes() == found.theta.tobytes()
    assert model.history_ == found.history


def test_the_loss_of_absolute_errors_finds_the_median():
    """Of targets that do not depend on the inputs; a mean would be drawn to the outlier."""
    y = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    settings = {"weights": "zeros", "batch_size": 5, "epochs": 2000, "random_state": 0}
    settings |= {"hidden_layer_sizes": (), "optimizer": SGD(lambda t: 2.0 / (1 + t) ** 0.7)}
    model = MLPRegressor(loss="mae", **settings).fit(np.zeros((5, 1)), y)
    assert model.predict([[0.0]]) == pytest.approx([3.0], abs=0.05)


def test_a_loss_of_ones_own_and_one_of_another_kind():
    twice = Loss("twice", lambda o, t, out=None: [2 * part for part in losses.mse.f(o, t, out)])
    model = MLPRegressor(loss=twice, optimizer=SGD(0.01), **SMALL).fit(X, VALUES)
    same = MLPRegressor(optimizer=SGD(0.02), **SMALL).fit(X, VALUES)
    np.testing.assert_allclose(model.theta_, same.theta_, rtol=0, atol=1e-14)
    for kind, y, loss, told in (
        (MLPRegressor, VALUES, "hinge", r"kind 'values', such as mse, mae, huber, got hinge"),
        (MLPClassifier, LABELS, "mse", r"kind 'labels', such as softmax_cross_entropy, got mse"),
        (MLPClassifier, LABELS, "squared_error", "mse"),
    ):
        with pytest.raises(ValueError, match=told):
            kind(loss=loss, **SMALL).fit(X, y)


@BOTH
def test_the_new_settings_go_through_get_set_and_clone(kind, y):
    words = {"tol": 0.5, "n_iter_no_change": 3, "warm_start": True, "verbose": 2}
    defaults = {"tol": None, "n_iter_no_change": 10, "warm_start": False, "verbose": False}
    model = kind()
    assert {name: model.get_params()[name] for name in words} == defaults
    copy = clone(model.set_params(**words))
    assert {name: copy.get_params()[name] for name in words} == words
    for name in words:
        with pytest.raises((ValueError, TypeError), match=f"fit: {name} must be .* got -1"):
            kind(**SMALL | {name: -1}).fit(X, y)


# Every public name of theirs is one of ours, or in the table of what is called otherwise.


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_every_setting_of_scikit_learn_is_ours_or_in_the_table(kind):
    table = MLPClassifier.__doc__.split("Notes\n")[1].split("References\n")[0]
    theirs = set(getattr(neural_network, kind)().get_params())
    ours = set(MLPClassifier().get_params())
    # Its options of the optimizers stand there as "...": each is one of SGD's or Adam's here.
    options = {"beta_2", "nesterovs_momentum"}
    lacking = {name for name in theirs - ours - options if f"`{name}`" not in table}
    assert lacking == set()
