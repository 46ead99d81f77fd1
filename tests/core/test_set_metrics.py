"""What is no mean over rows, measured on all held-out rows after each epoch."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, EarlyStopping, fit, mlp
from course_lib.evaluation import evaluate

metrics = pytest.importorskip("sklearn.metrics")

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4))
Y = (X[:, 0] + RNG.normal(size=60) > 0.6).astype(int)
HELD = X[:25], Y[:25]
NET = mlp([4, 5, 2], hidden="tanh")
THETA = NET.init(np.random.default_rng(1))
HOW = {"epochs": 4, "batch_size": 9, "seed": 2, "validation": HELD}


def auc(outputs, targets):
    return metrics.roc_auc_score(targets, outputs[:, 1] - outputs[:, 0])


def f1(outputs, targets):
    return metrics.f1_score(targets, outputs.argmax(1))


WHOLES = {"auc": auc, "f1": f1}


def test_evaluate_asks_them_once_with_all_rows():
    found = evaluate(NET, THETA, X, Y, set_metrics=WHOLES)
    outputs = NET.forward(THETA, X)[0]
    assert found == evaluate(NET, THETA, X, Y) | {
        "auc": metrics.roc_auc_score(Y, NET.predict_proba(THETA, X)[:, 1]),
        "f1": metrics.f1_score(Y, NET.predict(THETA, X)),
    }
    assert list(found) == ["loss", "accuracy", "auc", "f1"]
    assert not np.isclose(found["auc"], np.mean([auc(outputs[i::2], Y[i::2]) for i in (0, 1)]))


def test_a_training_has_them_in_its_history_epoch_by_epoch():
    each = []

    def measured(epoch):
        each.append(evaluate(NET, epoch.theta, *HELD, set_metrics=WHOLES))

    result = fit(NET, THETA, SGD(0.3), X, Y, set_metrics=WHOLES, callbacks=[measured], **HOW)
    plain = fit(NET, THETA, SGD(0.3), X, Y, **HOW)
    assert result.theta.tobytes() == plain.theta.tobytes()
    assert result.history == plain.history | {
        f"val_{name}": [numbers[name] for numbers in each] for name in WHOLES
    }


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_best_epoch_is_the_best_of_a_metric_in_the_direction_that_is_said(better):
    kept, options = [], HOW | {"epochs": 8}
    result = fit(
        NET, THETA, SGD(0.9), X, Y, set_metrics=WHOLES, keep_best="val_auc", better=better,
        callbacks=[lambda epoch: kept.append(epoch.theta)], **options,
    )  # fmt: skip
    curve = np.array(result.history["val_auc"])
    best = curve.argmax() if better == "higher" else curve.argmin()
    assert len(set(curve)) > 2  # it is worth a choice
    assert result.theta.tobytes() == kept[best].tobytes()


def test_pytorch_measures_the_same():
    pytest.importorskip("torch")
    from course_lib.torch_mlp import fit_torch, to_torch

    options = HOW | {"set_metrics": WHOLES, "keep_best": "val_f1", "better": "higher"}
    ours = fit(NET, THETA, SGD(0.3), X, Y, **options)
    theirs = fit_torch(to_torch(NET, THETA), SGD(0.3), X, Y, device="cpu", **options)
    np.testing.assert_allclose(theirs.theta, ours.theta, rtol=0, atol=1e-10)
    assert list(theirs.history) == list(ours.history)
    for name, values in ours.history.items():
        np.testing.assert_allclose(theirs.history[name], values, rtol=1e-10)


def test_stopping_early_by_one_of_them():
    stop = EarlyStopping(patience=1, metric="val_auc", better="higher")
    result = fit(
        NET, THETA, SGD(0.9), X, Y, set_metrics=WHOLES, stop=stop, **(HOW | {"epochs": 40})
    )
    curve = result.history["val_auc"]
    assert len(curve) < 40 and curve[-1] <= max(curve[:-1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"validation": None}, r"set_metrics judges held-out rows; pass validation="),
        ({"set_metrics": {"loss": auc}}, "two numbers would be called 'loss'"),
        ({"set_metrics": {"accuracy": auc}}, "two numbers would be called 'accuracy'"),
        ({"set_metrics": {"auc": 3}}, r"set_metrics\['auc'\] must be a function of \(outputs, t"),
        ({"set_metrics": {3: auc}}, "each name of set_metrics must be"),
        ({"set_metrics": [auc]}, "set_metrics must be"),
        ({"set_metrics": {"auc": lambda o, t: o}}, r"set_metrics\['auc'\] must return one number"),
        ({"keep_best": "val_auc"}, "better must be 'lower' or 'higher', got None"),
        ({"keep_best": "val_auc", "better": "most"}, "better must be 'lower' or 'higher'"),
        ({"keep_best": "val_f2", "better": "higher"}, "keep_best must be one of .*val_auc, val_f1"),
        ({"better": "higher"}, "better= says which values are better, and keep_best= of what"),
    ],
)
def test_what_means_nothing_is_refused(change, told):
    options = HOW | {"set_metrics": WHOLES} | change
    with pytest.raises((ValueError, TypeError), match="fit: .*" + told):
        fit(NET, THETA, SGD(0.3), X, Y, **options)
