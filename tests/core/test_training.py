"""`fit` is the loop one would write by hand, and learns what is known to be learnable."""

import time

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from course_lib import SGD, Adam, EarlyStopping, accuracy, fit, mlp
from course_lib.data import batches, load_digits
from course_lib.training import Epoch, KeepBest, evaluate


def toy(rows: int = 23):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def test_fit_is_the_loop_written_by_hand() -> None:
    x, y = toy()
    net, opt = mlp([4, 6, 2], dropout=0.2), Adam(0.01)
    start = net.init(np.random.default_rng(1))
    theta, state = start, opt.init(start)
    losses = []
    for epoch in range(3):
        total = 0.0
        for step, rows in enumerate(batches(len(x), 5, seed=7, epoch=epoch)):
            noise = np.random.default_rng([7, epoch, step, 1])
            loss, grad = net.loss_and_grad(theta, x[rows], y[rows], rng=noise)
            theta, state = opt.step(theta, grad, state)
            total += loss * len(rows)
        losses.append(total / len(x))
    result = fit(net, start, opt, x, y, epochs=3, batch_size=5, seed=7)
    np.testing.assert_array_equal(result.theta, theta)
    np.testing.assert_array_equal(result.state["m"], state["m"])
    assert result.history == {"loss": losses}


def test_the_same_arguments_give_the_same_bits_and_the_start_is_left_alone() -> None:
    x, y = toy()
    net = mlp([4, 6, 2])
    theta = net.init(np.random.default_rng(1))
    before = theta.copy()
    one, two, other = (
        fit(net, theta, SGD(0.1, momentum=0.9), x, y, epochs=2, batch_size=4, seed=s).theta
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(theta, before)


def test_a_run_in_two_parts_is_the_run_to_the_bit() -> None:
    x, y = toy()
    net, opt = mlp([4, 6, 2], dropout=0.3), Adam(0.01)
    start = net.init(np.random.default_rng(1))
    whole = fit(net, start, opt, x, y, epochs=5, batch_size=4, seed=3)
    front = fit(net, start, opt, x, y, epochs=3, batch_size=4, seed=3)
    before = front.state["m"].copy()
    back = fit(
        net, front.theta, opt, x, y, epochs=2, batch_size=4, seed=3,
        state=front.state, first_epoch=3,
    )  # fmt: skip
    np.testing.assert_array_equal(back.theta, whole.theta)
    assert front.history["loss"] + back.history["loss"] == whole.history["loss"]
    np.testing.assert_array_equal(front.state["m"], before)


def test_linear_regression_reaches_the_least_squares_solution() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x @ [[1.0], [-2.0], [0.5]] + 3 + 0.1 * rng.normal(size=(40, 1))
    net = mlp([3, 1], loss="mse")
    result = fit(net, np.zeros(4), SGD(0.1), x, y, epochs=400, batch_size=40, seed=0)
    exact = LinearRegression().fit(x, y)
    np.testing.assert_allclose(result.theta[:3], exact.coef_[0], rtol=1e-8)
    np.testing.assert_allclose(result.theta[3], exact.intercept_[0], rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_digits_reach_97_percent_in_five_seconds(dtype: type) -> None:
    data = load_digits()
    net = mlp([64, 64, 10])
    start = time.process_time()
    result = fit(
        net,
        net.init(np.random.default_rng(0), dtype),
        Adam(0.003),
        data.x_train,
        data.y_train,
        epochs=30,
        batch_size=32,
        seed=0,
    )
    seconds = time.process_time() - start  # of all cores together; takes 0.1 s where it was written
    assert result.theta.dtype == dtype
    assert accuracy(net, result.theta, data.x_test, data.y_test) >= 0.97
    assert seconds < 5


def test_history_holds_validation_and_callbacks_see_every_epoch() -> None:
    x, y = toy()
    net, seen = mlp([4, 6, 2]), []
    theta = net.init(np.random.default_rng(1))
    result = fit(
        net, theta, SGD(0.1, momentum=0.5), x, y, epochs=4, batch_size=6, seed=0,
        validation=(x[:9], y[:9]), callbacks=[seen.append],
    )  # fmt: skip
    assert set(result.history) == {"loss", "val_loss", "val_accuracy"}
    assert [e.epoch for e in seen] == [0, 1, 2, 3]
    for epoch, event in enumerate(seen):
        scores = evaluate(net, event.theta, x[:9], y[:9])
        assert scores["loss"] == result.history["val_loss"][epoch]
        assert scores["accuracy"] == result.history["val_accuracy"][epoch]
    np.testing.assert_array_equal(seen[-1].theta, result.theta)
    for now, then in ((result.theta, seen[0].theta), (result.state["v"], seen[0].state["v"])):
        assert not np.array_equal(now, then)  # what a callback keeps is not overwritten


def test_early_stopping_ends_the_training_and_decides_from_the_history_alone() -> None:
    x, y = toy()
    net = mlp([4, 6, 2])
    theta = net.init(np.random.default_rng(1))
    result = fit(
        net, theta, SGD(0.0), x, y, epochs=50, batch_size=6, seed=0,
        validation=(x, y), stop=EarlyStopping(patience=3),
    )  # fmt: skip
    assert len(result.history["val_loss"]) == 4  # the first, and three that are no better
    stop = EarlyStopping(patience=2, metric="val_accuracy")
    assert not stop({"val_accuracy": [0.5, 0.6, 0.6]})
    assert stop({"val_accuracy": [0.5, 0.6, 0.6, 0.55]})
    assert EarlyStopping(patience=1, min_delta=0.2)({"val_loss": [1.0, 0.9]})
    with pytest.raises(ValueError, match="must have 'val_loss', got only loss; pass validation"):
        fit(net, theta, SGD(0.1), x, y, epochs=2, batch_size=6, seed=0, stop=EarlyStopping())
    with pytest.raises(ValueError, match="patience must be an integer of at least 1, got 0"):
        EarlyStopping(patience=0)


@pytest.mark.parametrize(
    ("metric", "better", "sign"),
    [
        ("loss", None, 1), ("val_loss", None, 1), ("val_accuracy", None, -1),
        ("val_f1", "higher", -1), ("val_error", "lower", 1), ("val_loss", "higher", -1),
        ("val_accuracy", "lower", 1),
    ],
)  # fmt: skip
def test_the_best_epoch_is_the_lowest_or_the_highest_as_the_metric_is_meant(
    metric, better, sign
) -> None:
    values = np.random.default_rng(3).permutation(12) / 10
    keep, stop = KeepBest(metric, better), EarlyStopping(4, metric=metric, better=better)
    for epoch in range(len(values)):
        best = int(np.argmin(sign * values[: epoch + 1]))
        history = {metric: values[: epoch + 1].tolist()}
        keep(Epoch(epoch, values, {}, history))
        assert keep.epoch == best
        assert stop(history) == (epoch - best >= 4)


@pytest.mark.parametrize("better", [None, "up", "max", True])
def test_a_metric_that_does_not_say_what_is_better_is_refused(better) -> None:
    for make in (EarlyStopping, KeepBest):
        with pytest.raises(ValueError, match=f"better must be .*got {better!r}.*'val_f1' does"):
            make(metric="val_f1", better=better)


def test_progress_bar_is_silent_by_default_and_shows_the_loss_when_asked(capfd) -> None:
    x, y = toy()
    net = mlp([4, 2])
    args = (net, np.zeros(10), SGD(0.1), x, y)
    quiet = fit(*args, epochs=2, batch_size=6, seed=0)
    assert capfd.readouterr().err == ""
    loud = fit(*args, epochs=2, batch_size=6, seed=0, progress=True)
    assert "loss=" in capfd.readouterr().err
    np.testing.assert_array_equal(quiet.theta, loud.theta)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"first_epoch": -1}, ValueError, "fit: first_epoch must be an integer of at least 0"),
        ({"epochs": 0}, ValueError, "fit: epochs must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "fit: batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "fit: batch_size must be an integer"),
        ({"x": np.zeros((3, 5))}, ValueError, r"fit: x must have 4 columns .* got shape \(3, 5\)"),
        (
            {"x": np.zeros((0, 4)), "y": np.zeros(0, int)},
            ValueError,
            "fit: x must have at least one row",
        ),
        ({"x": np.full((2, 4), np.nan), "y": [0, 1]}, ValueError, "fit: x must be finite, got nan"),
        ({"y": np.full(23, 2)}, ValueError, r"fit: labels must lie in 0\.\.1 for 2 outputs, got 2"),
        ({"y": np.zeros(23)}, TypeError, "fit: class labels must be integers"),
        ({"theta": np.zeros(9)}, ValueError, r"theta must have shape \(10,\), got \(9,\)"),
        ({"validation": (np.zeros((2, 3)), [0, 1])}, ValueError, "fit, validation: x must have 4"),
    ],
)
def test_bad_input_gets_a_sentence(change: dict, error: type, message: str) -> None:
    x, y = toy()
    args = {"net": mlp([4, 2]), "theta": np.zeros(10), "optimizer": SGD(0.1), "x": x, "y": y}
    with pytest.raises(error, match=message):
        fit(**{**args, "epochs": 1, "batch_size": 4, "seed": 0, **change})


def test_divergence_is_an_error_that_says_what_to_do() -> None:
    x, y = toy()
    net = mlp([4, 6, 1], loss="mse")
    theta = net.init(np.random.default_rng(0))
    with pytest.raises(FloatingPointError, match=r"epoch .* has diverged; lower the learning rate"):
        fit(net, theta, SGD(1e6), x, y, epochs=50, batch_size=4, seed=0)


# --- doors ---


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "call",
    [
        lambda net, theta, x, y: fit(net, theta, SGD(0.1), x, y, epochs=1, batch_size=2, seed=0),
        lambda net, theta, x, y: net.predict(theta, x),
        lambda net, theta, x, y: accuracy(net, theta, x, y),
    ],
    ids=["fit", "predict", "accuracy"],
)
def test_a_theta_that_is_not_finite_is_named_and_not_the_learning_rate(call, bad):
    net, x, y = mlp([2, 3, 2]), np.ones((4, 2)), np.array([0, 1, 0, 1])
    theta = net.init(np.random.default_rng(0))
    theta[7] = bad
    with pytest.raises(ValueError, match=f"theta must be finite, got {bad} at position 7;"):
        call(net, theta, x, y)


def test_accuracy_refuses_labels_that_could_never_be_right():
    net, x = mlp([2, 2]), np.ones((2, 2))
    theta = net.init(np.random.default_rng(0))
    for labels, words in (
        (["cat", "dog"], "accuracy: class labels must be integers, got dtype <U3"),
        ([0.0, 1.0], "accuracy: class labels must be integers, got dtype float64"),
        ([-1, -1], r"accuracy: labels must lie in 0\.\.1 for 2 outputs, got -1 at row 0"),
        ([0, 1, 0], "accuracy: y must have as many rows as x, which has 2"),
        ([[1, 0], [0, 1]], r"by y\.argmax\(axis=1\)"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            accuracy(net, theta, x, labels)
    linear = mlp([2, 1], loss="mse")
    with pytest.raises(ValueError, match="accuracy: net must tell classes apart, got .* mse"):
        accuracy(linear, np.zeros(3), x, [0.0, 0.0])


@pytest.mark.parametrize("name", ["stop", "callbacks"])
def test_what_cannot_be_called_so_is_refused_before_the_first_step(name):
    net, x, y = mlp([2, 2]), np.ones((2, 2)), np.array([0, 1])
    options = {"epochs": 1, "batch_size": 2, "seed": 0}
    for wrong in (lambda: True, lambda a, b: True, EarlyStopping, "stop", 5):
        given = {name: wrong if name == "stop" else [wrong]}
        with pytest.raises(TypeError, match=f"{name} must be a function of .*got"):
            fit(net, np.zeros(6), SGD(-0.0), x, y, **options, **given)
    seen = []
    given = {name: seen.append if name == "stop" else [seen.append]}  # written in C: not asked
    fit(net, np.zeros(6), SGD(0.0), x, y, **options, **given)
    assert len(seen) == 1


@pytest.mark.parametrize("value", [-1, -1e-12, np.nan, np.inf, "0.1", None, True])
def test_an_improvement_is_a_number_of_at_least_0(value):
    with pytest.raises((ValueError, TypeError), match="EarlyStopping: min_delta must be .* got"):
        EarlyStopping(min_delta=value)
