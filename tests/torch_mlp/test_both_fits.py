"""`fit` and `fit_torch` take the same arguments, which mean the same."""

import inspect

import numpy as np
import pytest
import torch

from course_lib import KeepBest, fit, mlp, optimizers
from course_lib.torch_mlp import fit_torch, from_torch, to_torch
from tests.torch_mlp.test_torch_mlp import OPTIMIZERS

SAME = 1e-10  # of float64 over some dozen steps
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 4)), RNG.integers(0, 3, 20)
NOISE = RNG.normal(size=(30, 4)), RNG.integers(0, 3, 30)  # nothing to learn: it gets worse
OPTIONS = {"batch_size": 6, "seed": 3}


def numpys(net, theta, optimizer, **options):
    return fit(net, theta, optimizer, X, Y, **OPTIONS | options)


def pytorchs(net, theta, optimizer, **options):
    options = OPTIONS | {"device": "cpu"} | options
    return fit_torch(to_torch(net, theta), optimizer, X, Y, **options)


BOTH = pytest.mark.parametrize("train", [numpys, pytorchs])


def start(net):
    return net.init(np.random.default_rng(1))


def test_the_arguments_are_the_same_but_for_what_holds_the_parameters():
    ours, theirs = (inspect.signature(f).parameters for f in (fit, fit_torch))
    assert set(ours) - set(theirs) == {"net", "theta"}
    assert set(theirs) - set(ours) == {"model", "device"}
    for name in set(ours) & set(theirs):
        assert (ours[name].kind, ours[name].default) == (theirs[name].kind, theirs[name].default)


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_run_in_two_parts_is_the_run_to_the_bit(train, optimizer):
    """With dropout, which draws anew in each epoch; what was given to go on from is left alone."""
    net = mlp([4, 6, 3], dropout=0.3)
    whole = train(net, start(net), optimizer, epochs=5)
    front = train(net, start(net), optimizer, epochs=2)
    before = {name: np.copy(value) for name, value in front.state.items()}
    back = train(net, front.theta, optimizer, epochs=3, state=front.state, first_epoch=2)
    np.testing.assert_array_equal(back.theta, whole.theta)
    assert front.history["loss"] + back.history["loss"] == whole.history["loss"]
    for name in before:
        np.testing.assert_array_equal(back.state[name], whole.state[name])
        np.testing.assert_array_equal(front.state[name], before[name])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("pair", [(numpys, pytorchs), (pytorchs, numpys)])
def test_a_run_goes_on_in_the_other(pair, optimizer):
    net, (first, second) = mlp([4, 6, 3]), pair
    whole = numpys(net, start(net), optimizer, epochs=5)
    front = first(net, start(net), optimizer, epochs=2)
    back = second(net, front.theta, optimizer, epochs=3, state=front.state, first_epoch=2)
    assert np.linalg.norm(back.theta - whole.theta) <= SAME * np.linalg.norm(whole.theta)


@BOTH
def test_callbacks_see_the_model_of_each_epoch(train):
    net, adam, seen = mlp([4, 6, 3]), optimizers.Adam(0.05), []
    options = {"first_epoch": 7, "validation": NOISE}
    train(net, start(net), adam, epochs=3, callbacks=[seen.append], **options)
    assert [event.epoch for event in seen] == [7, 8, 9]
    for count, event in enumerate(seen, start=1):
        alone = train(net, start(net), adam, epochs=count, **options)
        np.testing.assert_array_equal(event.theta, alone.theta)
        np.testing.assert_array_equal(event.state["s"], alone.state["s"])
        assert event.state["t"] == alone.state["t"] == 4 * count


@BOTH
@pytest.mark.parametrize("metric", ["loss", "val_loss", "val_accuracy"])
def test_the_best_epoch_is_what_a_callback_would_have_kept(train, metric):
    net, sgd, keep = mlp([4, 20, 3]), optimizers.SGD(0.8, momentum=0.5), KeepBest(metric)
    options = {"epochs": 12, "validation": NOISE}
    last = train(net, start(net), sgd, callbacks=[keep], **options)
    best = train(net, start(net), sgd, keep_best=metric, **options)
    assert metric == "loss" or keep.epoch < 11  # the test would be empty otherwise
    np.testing.assert_array_equal(best.theta, keep.theta)
    np.testing.assert_array_equal(best.state["v"], keep.state["v"])
    assert best.history == last.history


def test_the_module_ends_with_the_parameters_of_the_result():
    net = mlp([4, 20, 3])
    model = to_torch(net, start(net))
    options = OPTIONS | {"epochs": 12, "validation": NOISE, "device": "cpu"}
    result = fit_torch(model, optimizers.SGD(0.8), X, Y, keep_best="val_loss", **options)
    np.testing.assert_array_equal(from_torch(model), result.theta)
    model.eval()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(
            model(torch.tensor(NOISE[0])), torch.tensor(NOISE[1])
        )
    assert loss.item() == pytest.approx(min(result.history["val_loss"]), rel=1e-12)


@BOTH
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"state": {}}, ValueError, "state must hold t and v, as that of SGD.*, got nothing"),
        ({"state": 3}, TypeError, r"state must be a dict, got 3; such as fit\(...\).state"),
        ({"state": {"t": 1, "v": np.zeros(3)}}, ValueError, r"state\['v'\] .* theta, \(15,\)"),
        ({"state": {"t": -1, "v": np.zeros(15)}}, ValueError, r"state\['t'\] must be an integer"),
        ({"keep_best": "val_loss"}, ValueError, "keep_best must be one of loss, got 'val_loss'"),
        ({"keep_best": 3}, ValueError, "keep_best must be one of loss, got 3"),
        ({"callbacks": 3}, TypeError, "callbacks must be a sequence of functions, got 3"),
        ({"callbacks": [3]}, TypeError, "each of callbacks must be a function"),
        ({"first_epoch": -1}, ValueError, "first_epoch must be an integer of at least 0, got -1"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(train, change, error, message):
    net, sgd = mlp([4, 3]), optimizers.SGD(0.1, momentum=0.9)
    who = "fit" if train is numpys else "fit_torch"
    with pytest.raises(error, match=f"{who}: {message}"):
        train(net, start(net), sgd, epochs=1, **change)
