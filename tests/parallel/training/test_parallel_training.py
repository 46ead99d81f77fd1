"""Training on p ranks is the serial training: parameters, history, early stopping, errors.

The oracle is the serial ``fit``. Tolerance 1e-10 relative: the sums are the same numbers in another
order (1e-16 each), and a few dozen steps of a smooth network do not enlarge that much.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

from course_lib import SGD, Adam, EarlyStopping, FitResult, KeepBest, fit, mlp
from course_lib.cli import parser
from course_lib.data import Split
from course_lib.parallel import SyncSGD, predict, train
from course_lib.parallel.errors import ParallelError, RankFailed
from course_lib.parallel.training import RankTiming, TrainResult

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)  # 53: prime, the last batch is short
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
OPTIMIZERS = {"momentum": SGD(0.1, momentum=0.9), "adam": Adam(0.01)}
PARTS = ["theta", "history"]


def serial(net, optimizer, x=X, y=Y, **options):
    options = {"epochs": 3, "batch_size": 10, "seed": 5, "validation": (XV, YV)} | options
    theta = net.init(np.random.default_rng(options["seed"]))
    return fit(net, theta, optimizer, x, y, **options)


def parallel(net, optimizer, workers, x=X, y=Y, **options):
    options = {"epochs": 3, "batch_size": 10, "seed": 5, "validation": (XV, YV)} | options
    options.setdefault("comm", "inprocess")
    return train(net, (x, y), optimizer=optimizer, workers=workers, timeout=30, **options)


def assert_equal(result, reference, rtol=1e-10):
    scale = np.abs(reference.theta).max()
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=rtol * scale)
    assert result.history.keys() == reference.history.keys()
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=rtol, atol=rtol)
    assert result.theta.dtype == reference.theta.dtype
    assert result.replicas_identical


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_on_p_ranks_is_serial_training(optimizer, dropout, workers):
    # Batch 10 on 3 or 4 ranks is uneven; the last batch has 3 rows: with 4 ranks one has none.
    net = mlp([7, 6, 5, 3], hidden="tanh", dropout=dropout)
    result = parallel(net, OPTIMIZERS[optimizer], workers)
    assert_equal(result, serial(net, OPTIMIZERS[optimizer]))


@pytest.mark.parametrize("strategy", ["sync", SyncSGD("ordered"), SyncSGD("tree")])
def test_every_way_to_add_gives_the_serial_result(strategy):
    net = mlp([7, 6, 3])
    assert_equal(parallel(net, Adam(0.01), 3, strategy=strategy), serial(net, Adam(0.01)))


@pytest.mark.parametrize(
    ("loss", "y", "yv"),
    [
        ("mse", X[:, :2] ** 2, XV[:, :2] ** 2),
        ("huber", X[:, 0], XV[:, 0]),
        ("binary_cross_entropy", Y % 2, YV % 2),
        ("binary_cross_entropy", (X[:, :2] > 0) * 1.0, (XV[:, :2] > 0) * 1.0),
        ("hinge", Y, YV),
    ],
)
def test_every_kind_of_loss_gives_the_serial_history(loss, y, yv):
    outputs = {"hinge": 3}.get(loss, 1 if np.ndim(y) == 1 else 2)
    net = mlp([7, 6, outputs], hidden="tanh", loss=loss)
    options = {"y": y, "validation": (XV, yv)}
    assert_equal(parallel(net, SGD(0.05), 3, **options), serial(net, SGD(0.05), **options))


def test_float32_stays_float32_and_close_to_serial():
    net = mlp([7, 6, 3])
    theta = net.init(np.random.default_rng(5), dtype=np.float32)
    options = {"epochs": 2, "batch_size": 10, "seed": 5, "validation": (XV, YV)}
    reference = fit(net, theta, Adam(0.01), X, Y, **options)
    result = parallel(net, Adam(0.01), 3, theta=theta, epochs=2)
    assert result.theta.dtype == np.float32
    assert_equal(result, reference, rtol=1e-4)  # Adam's division enlarges the 1e-7 of float32


def test_early_stopping_stops_where_the_serial_run_stops():
    net, optimizer, stop = mlp([7, 20, 3]), SGD(0.5), EarlyStopping(patience=2)
    reference = serial(net, optimizer, stop=stop, epochs=40)
    assert 3 <= len(reference.history["loss"]) < 40  # the test would be empty otherwise
    assert_equal(parallel(net, optimizer, 3, stop=stop, epochs=40), reference)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("metric", ["loss", "val_loss", "val_accuracy"])
def test_the_best_epoch_is_the_serial_one(metric, workers):
    net, optimizer, keep = mlp([7, 20, 3]), SGD(0.5), KeepBest(metric)
    reference = serial(net, optimizer, epochs=12, callbacks=[keep])
    assert metric == "loss" or keep.epoch < 11  # the test would be empty otherwise
    result = parallel(net, optimizer, workers, epochs=12, keep_best=metric)
    assert_equal(result, FitResult(keep.theta, keep.state, reference.history))


def test_ranks_that_disagree_about_stopping_go_on_together():
    calls = []

    def stop(history):  # the threads call in turn: one says stop, the other not
        calls.append(1)
        return len(calls) % 2 == 0

    result = parallel(mlp([7, 3]), SGD(0.1), 2, stop=stop, epochs=4)
    assert len(result.history["loss"]) == 4


def test_more_validation_ranks_than_rows():
    net, options = mlp([7, 6, 3]), {"validation": (XV[:2], YV[:2])}
    assert_equal(parallel(net, SGD(0.1), 4, **options), serial(net, SGD(0.1), **options))


def test_a_split_brings_its_training_part_and_theta_is_where_to_start():
    net = mlp([7, 6, 3])
    theta = net.init(np.random.default_rng(1)) + 0.1
    before = theta.copy()
    options = {"epochs": 2, "batch_size": 10, "seed": 5}
    result = train(
        net, Split(X, Y, XV, YV), optimizer=SGD(0.1), theta=theta, comm="inprocess", **options
    )
    assert_equal(result, fit(net, theta, SGD(0.1), X, Y, **options))
    np.testing.assert_array_equal(theta, before)


def test_the_optimizers_state_is_returned_so_that_training_can_go_on():
    net = mlp([7, 6, 3])
    result, reference = parallel(net, Adam(0.01), 2), serial(net, Adam(0.01))
    assert result.state.keys() == reference.state.keys()
    assert result.state["t"] == reference.state["t"] == 18
    np.testing.assert_allclose(result.state["m"], reference.state["m"], rtol=0, atol=1e-12)


def test_messages_and_bytes_are_those_of_the_formula():
    net, workers = mlp([7, 6, 3]), 3
    result = parallel(net, SGD(0.1), workers, epochs=2)
    steps, epochs = 2 * 6, 2  # 53 rows in batches of 10
    # A sum on p ranks: 2 (p - 1) messages; per step of theta, per epoch of the 3 metrics.
    messages = 2 * (workers - 1) * (steps + epochs)
    size = 2 * (workers - 1) * 8 * (steps * net.n_params + epochs * 3)
    assert sum(t.messages for t in result.timing) == messages
    assert sum(t.bytes for t in result.timing) == size


def test_the_report_shows_every_rank_and_shares_of_the_whole():
    result = parallel(mlp([7, 6, 3]), SGD(0.1), 3)
    for t in result.timing:
        assert 0 < t.compute < t.total
        assert 0 <= t.waiting <= t.communication <= t.total <= result.seconds
    lines = result.report().splitlines()
    assert [line.split()[0] for line in lines] == ["rank", "0", "1", "2", "replicas"]
    assert "replicas identical: yes" in lines[-1]


def test_the_report_is_that_of_a_calculation_by_hand():
    """Shares of 2.5 s, bytes in millions, and what went wrong."""
    times = {"compute": 1.4, "communication": 0.5, "waiting": 0.25, "input": 0.5}
    rank = RankTiming(**times, evaluation=0.1, total=2.5, messages=10, bytes=8_123_000)
    idle = RankTiming(0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
    result = TrainResult(np.zeros(1), {}, {}, (rank, idle), ("a", "b"), 3.25, restarts=2)
    lines = [line.replace(" %", "").split() for line in result.report().splitlines()]
    assert lines[1:3] == [
        ["0", "56", "20", "10", "20", "4", "2.50", "10", "8.12"],
        ["1", "0", "0", "0", "0", "0", "0.00", "0", "0.00"],
    ]
    assert " ".join(lines[3]) == "replicas identical: NO; whole call: 3.25 s; restarts: 2"


def test_events_come_once_per_epoch_with_the_rows_of_the_history():
    events = []
    result = parallel(mlp([7, 6, 3]), SGD(0.1), 2, on_event=events.append)
    assert [e.epoch for e in events] == [0, 1, 2]
    for name, values in result.history.items():
        assert [e.metrics[name] for e in events] == values


def test_without_more_said_two_ranks_train_in_silence(capsys):
    options = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 10, "comm": "inprocess"}
    assert len(train(mlp([7, 3]), (X, Y), **options).timing) == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("function", [train, predict])
def test_what_is_not_said_is_the_same_in_a_program_and_on_the_command_line(function):
    typed = vars(parser().parse_args(["train"]))
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    both = [
        name
        for name in typed
        if defaults.get(name, inspect.Parameter.empty) is not inspect.Parameter.empty
    ]
    assert {"workers", "comm", "timeout"} <= set(both)
    assert {name: defaults[name] for name in both} == {name: typed[name] for name in both}


def test_an_interrupt_is_told_in_a_sentence():
    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^train: interrupted; its ranks were stopped\.$"):
        parallel(mlp([7, 3]), SGD(0.1), 2, on_event=interrupt)


def test_the_progress_bar_counts_epochs_and_shows_the_loss(capsys):
    result = parallel(mlp([7, 6, 3]), SGD(0.1), 2, progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert f"loss={result.history['loss'][-1]:.4g}" in shown


def test_divergence_is_reported_with_its_epoch_and_step():
    net = mlp([7, 6, 2], loss="mse")
    with pytest.raises(RankFailed, match=r"FloatingPointError: the loss is .* at epoch \d+, step"):
        parallel(net, SGD(1e6), 2, y=X[:, :2], validation=None, epochs=50)


BAD = [
    ({"strategy": "synk"}, ValueError, r"unknown strategy 'synk'; did you mean 'sync'.*: sync"),
    ({"comm": "dusk"}, ValueError, r"unknown comm 'dusk'; did you mean 'dask'.*: auto, dask"),
    ({"backend": "numpi"}, ValueError, r"unknown backend 'numpi'; .*mean 'numpy'.*numpy, torch"),
    ({"workers": 0}, ValueError, "workers must be an integer of at least 1, got 0"),
    ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
    ({"batch_size": 2.5}, TypeError, r"batch_size must be an integer of at least 1, got 2\.5"),
    ({"seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
    ({"theta": np.zeros(3)}, ValueError, r"theta must have shape"),
    ({"keep_best": "val_f1"}, ValueError, "one of loss, val_loss, val_accuracy, got 'val_f1'"),
    ({"theta": np.zeros(24, int)}, TypeError, "train: theta must be an array of floating-point"),
    ({"client": "tcp://127.0.0.1:1"}, ValueError, "client must be left out with comm='inprocess'"),
    ({"validation": (XV[:, :2], YV)}, ValueError, r"train, validation: x must have 7 columns"),
    (
        {"validation": None, "keep_best": "val_loss"},
        ValueError,
        r"keep_best must be one of loss, got 'val_loss'; .* needs validation=",
    ),
    ({"x": X[:, :2]}, ValueError, r"train: x must have 7 columns"),
    ({"y": Y + 1}, ValueError, r"train: labels must lie in 0..2"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "match"), BAD)
def test_wrong_arguments_are_refused_before_anything_starts(options, error, match):
    with pytest.raises(error, match=match):
        parallel(mlp([7, 3]), SGD(0.1), options.pop("workers", 2), **options)


def test_the_model_must_be_a_network():
    with pytest.raises(TypeError, match=r"model must be a course_lib Network, got list"):
        parallel([7, 3], SGD(0.1), 2)


def test_importing_the_package_loads_neither_dask_nor_torch():
    code = (
        "import sys, course_lib.parallel as p; p.train, p.SyncSGD, p.TrainResult, p.comm.InProcess,"
        "p.collectives.all_reduce, p.errors.WorkerLost; "
        "print(sorted({'dask', 'distributed', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names_are_listed_and_others_are_refused():
    import course_lib.parallel as package

    for name in package.__all__:
        assert getattr(package, name) is not None
    assert dir(package) == sorted(package.__all__)
    assert callable(package.train)
    for module in (package, package.comm):
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            module.nonsense  # noqa: B018
    assert issubclass(RankFailed, ParallelError)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_theta_that_is_not_finite_is_refused_before_anything_starts(bad):
    net = mlp([2, 2])
    data, theta = (np.eye(2), np.array([0, 1])), np.array([0.0, bad, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=f"train: theta must be finite, got {bad} at position 1"):
        train(net, data, optimizer=SGD(0.1), epochs=1, batch_size=2, theta=theta, comm="inprocess")


@pytest.mark.parametrize("timeout", [1e300, 0, -1, np.nan, np.inf, "60", None])
def test_how_long_to_wait_is_a_number_that_a_clock_knows(timeout):
    data = np.eye(2), np.array([0, 1])
    options = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 2, "comm": "inprocess"}
    for call in (train, predict):
        with pytest.raises((ValueError, TypeError), match=f"{call.__name__}: timeout must be"):
            call(mlp([2, 2]), data, timeout=timeout, **options)
