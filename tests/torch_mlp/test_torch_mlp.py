"""The twin in PyTorch: the same loss, gradient and parameters after training, for every piece."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import hinge_loss
from torch import nn

from course_lib import activations, losses, optimizers, schedules
from course_lib.data import load_digits
from course_lib.network import Activate, Dense, Network, mlp
from course_lib.torch_mlp import (
    TorchMLP,
    fit_torch,
    from_torch,
    to_torch,
    torch_loss,
    torch_optimizer,
)
from course_lib.training import EarlyStopping, fit
from tests.patience import patient

# Two programs that add the same float64 numbers in another order: errors of 1e-16 grow a little
# from layer to layer and step to step, and 1e-10 is what the course promises.
SAME = 1e-10
LOSS_AND_OUTPUTS = [(loss, k) for loss in losses.ALL for k in (1, 3) if (loss, k) not in
                    {("softmax_cross_entropy", 1)}]  # fmt: skip


def _targets(loss, k, n, rng):
    kind = losses.get(loss).kind
    if kind in ("labels", "margin"):
        return rng.integers(0, max(k, 2), n)
    if kind == "binary":
        return rng.integers(0, 2, (n, k))
    return rng.normal(scale=2, size=(n, k))


def _problem(loss="softmax_cross_entropy", k=3, hidden="tanh", n=11):
    """Inputs 7, hidden 4 and 6, k outputs; biases not zero."""
    rng = np.random.default_rng(0)
    net = mlp([7, 4, 6, k], hidden=hidden, loss=loss)
    theta = rng.normal(scale=0.5, size=net.n_params)
    return net, theta, rng.normal(size=(n, 7)), _targets(loss, k, n, rng)


def _torch_loss_and_grad(net, theta, x, y):
    model = to_torch(net, theta)
    loss = torch_loss(net.loss)(model(torch.tensor(x)), torch.tensor(y)) / len(x)
    loss.backward()
    for parameter in model.parameters():
        parameter.data = parameter.grad
    return loss.item(), from_torch(model)


def _close(a, b):
    return np.linalg.norm(np.subtract(a, b)) <= SAME * np.linalg.norm(b)


@pytest.mark.parametrize(("loss", "k"), LOSS_AND_OUTPUTS)
def test_every_loss_and_its_gradient_equal_numpys(loss, k):
    net, theta, x, y = _problem(loss, k)
    ours, gradient = net.loss_and_grad(theta, x, y)
    theirs, torch_gradient = _torch_loss_and_grad(net, theta, x, y)
    assert _close(theirs, ours)
    assert np.linalg.norm(gradient) > 0.01
    for mine, other in zip(net.unpack(gradient), net.unpack(torch_gradient), strict=True):
        for name in mine:
            assert _close(other[name], mine[name])


@pytest.mark.parametrize("hidden", activations.ALL)
def test_every_activation_and_its_derivative_equal_numpys(hidden):
    net, theta, x, y = _problem(hidden=hidden)
    theta = 3 * theta  # far into the tails
    ours, gradient = net.loss_and_grad(theta, x, y)
    theirs, torch_gradient = _torch_loss_and_grad(net, theta, x, y)
    assert _close(theirs, ours) and _close(torch_gradient, gradient)


@pytest.mark.parametrize("hidden", activations.ALL)
def test_activations_agree_from_minus_to_plus_100(hidden):
    z = np.linspace(-100, 100, 2001)  # includes 0 and the point 20 where Softplus bends by default
    act = activations.get(hidden)
    zt = torch.tensor(z, requires_grad=True)
    a = to_torch(Network((Dense(1, 1), Activate(act)), losses.mse), np.zeros(2)).layers[1](zt)
    a.sum().backward()
    np.testing.assert_allclose(a.detach().numpy(), act(z), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(zt.grad.numpy(), act.df(z, act(z)), rtol=1e-12, atol=1e-15)


def test_hinge_is_scikit_learns():
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    ours = torch_loss("hinge")(torch.tensor(z), torch.tensor(y)).item() / 20
    assert ours == pytest.approx(hinge_loss(y, z, labels=range(4)), rel=1e-12)


OPTIMIZERS = [
    optimizers.SGD(0.1),
    optimizers.SGD(0.1, momentum=0.9),
    optimizers.SGD(0.1, momentum=0.5, weight_decay=0.01),
    optimizers.Nesterov(0.05, momentum=0.9),
    optimizers.Nesterov(0.05, momentum=0.0),
    optimizers.AdaGrad(0.05),
    optimizers.RMSProp(0.01),
    optimizers.RMSProp(0.01, decay=0.9, eps=1e-4),
    optimizers.Adam(0.01),
    optimizers.Adam(0.01, beta1=0.8, beta2=0.9, eps=1e-3),
    optimizers.AdamW(0.01, weight_decay=0.1),
    # Each option at least once: its name in PyTorch, and what it adds to the state.
    optimizers.SGD(0.05, momentum=0.9, dampening=0.4, maximize=True),
    optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
    optimizers.Nesterov(0.05, weight_decay=0.1, maximize=True),
    optimizers.AdaGrad(0.05, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.1),
    optimizers.RMSProp(0.01, centered=True, weight_decay=0.1),
    optimizers.RMSProp(0.01, momentum=0.5, maximize=True),
    optimizers.RMSProp(0.01, momentum=0.5, centered=True),
    optimizers.Adam(0.01, weight_decay=0.1, amsgrad=True),
    optimizers.AdamW(0.01, beta2=0.9, amsgrad=True, maximize=True),
]


def test_the_table_of_optimizers_is_complete():
    assert {type(o).__name__ for o in OPTIMIZERS} == set(optimizers.__all__) - {
        "Optimizer",
        "State",
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimizers_equal_torch_optim_step_by_step(optimizer):
    rng = np.random.default_rng(1)
    theta = rng.normal(size=9)
    parameter = nn.Parameter(torch.tensor(theta))
    twin = torch_optimizer(optimizer, [parameter])
    state = optimizer.init(theta)
    for _ in range(20):
        grad = rng.normal(size=9) * 10.0 ** rng.integers(-4, 4, 9)  # eight orders of magnitude
        parameter.grad = torch.tensor(grad)
        twin.step()
        theta, state = optimizer.step(theta, grad, state)
        np.testing.assert_allclose(parameter.detach().numpy(), theta, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_fifty_steps_of_training_equal_numpys(optimizer):
    net, theta, x, y = _problem(n=40)
    settings = {"epochs": 10, "batch_size": 9, "seed": 5, "validation": (x[:13], y[:13])}
    ours = fit(net, theta, optimizer, x, y, **settings)
    model = to_torch(net, theta)
    theirs = fit_torch(model, optimizer, x, y, device="cpu", **settings)
    assert ours.state["t"] == 50  # batches of 9, 9, 9, 9 and 4
    assert np.linalg.norm(ours.theta - theta) > 0.01 * np.linalg.norm(theta)
    assert _close(theirs.theta, ours.theta)
    np.testing.assert_array_equal(from_torch(model), theirs.theta)
    assert theirs.history.keys() == ours.history.keys() == {"loss", "val_loss", "val_accuracy"}
    for name in ours.history:
        np.testing.assert_allclose(theirs.history[name], ours.history[name], rtol=SAME)
    assert theirs.state.keys() == ours.state.keys() and theirs.state["t"] == 50
    for name in set(ours.state) - {"t"} if optimizer != optimizers.Nesterov(0.05, 0.0) else ():
        assert _close(theirs.state[name], ours.state[name])


@pytest.mark.parametrize(("loss", "k"), LOSS_AND_OUTPUTS)
def test_training_equals_numpys_for_every_loss(loss, k):
    net, theta, x, y = _problem(loss, k, n=20)
    settings = {"epochs": 5, "batch_size": 6, "seed": 0, "validation": (x, y)}
    ours = fit(net, theta, optimizers.Adam(0.01), x, y, **settings)
    theirs = fit_torch(to_torch(net, theta), optimizers.Adam(0.01), x, y, device="cpu", **settings)
    assert _close(theirs.theta, ours.theta)
    assert theirs.history.keys() == ours.history.keys()
    for name in ours.history:
        np.testing.assert_allclose(theirs.history[name], ours.history[name], rtol=SAME)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.step_decay(0.1, factor=0.5, every=3),
        schedules.warmup(schedules.cosine(0.1, steps=12), steps=4),
    ],
    ids=repr,
)
def test_schedules_move_the_learning_rate_at_every_step(schedule):
    net, theta, x, y = _problem(n=20)
    optimizer = optimizers.AdamW(schedule)
    settings = {"epochs": 4, "batch_size": 5, "seed": 0}
    ours = fit(net, theta, optimizer, x, y, **settings)
    theirs = fit_torch(to_torch(net, theta), optimizer, x, y, device="cpu", **settings)
    assert _close(theirs.theta, ours.theta)


def test_early_stopping_stops_at_the_same_epoch():
    net, theta, x, y = _problem(n=40)
    rng = np.random.default_rng(1)
    validation = rng.normal(size=(30, 7)), rng.integers(0, 3, 30)  # noise: it gets worse
    settings = {"epochs": 60, "batch_size": 8, "seed": 0, "validation": validation}
    stop = EarlyStopping(patience=3)
    ours = fit(net, theta, optimizers.Adam(0.05), x, y, stop=stop, **settings)
    theirs = fit_torch(
        to_torch(net, theta), optimizers.Adam(0.05), x, y, stop=stop, device="cpu", **settings
    )
    assert 3 < len(ours.history["loss"]) < 60
    assert len(theirs.history["loss"]) == len(ours.history["loss"])


def test_training_goes_on_in_numpy_where_pytorch_stopped():
    net, theta, x, y = _problem(n=20)
    adam = optimizers.Adam(0.01)
    half = fit_torch(
        to_torch(net, theta), adam, x, y, epochs=3, batch_size=20, seed=0, device="cpu"
    )
    resumed, state = half.theta, half.state
    for _ in range(3):
        resumed, state = adam.step(resumed, net.loss_and_grad(resumed, x, y)[1], state)
    whole = fit(net, theta, adam, x, y, epochs=6, batch_size=20, seed=0)
    assert _close(resumed, whole.theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_come_back_bitwise_and_are_copies(dtype):
    net, theta, x, _ = _problem()
    theta = theta.astype(dtype)
    model = to_torch(net, theta)
    back = from_torch(model)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, theta)
    linear = [module for module in model.layers if isinstance(module, nn.Linear)]
    np.testing.assert_array_equal(linear[1].weight.detach().numpy(), net.unpack(theta)[2]["W"].T)
    theta[:] = 0
    back[:] = 0
    assert np.any(from_torch(model) != 0)
    assert model(torch.tensor(x, dtype=linear[0].weight.dtype)).dtype == linear[0].weight.dtype


def test_float32_trains_in_float32():
    net, theta, x, y = _problem(n=20)
    result = fit_torch(
        to_torch(net, theta.astype(np.float32)), optimizers.Adam(), x, y,
        epochs=1, batch_size=5, seed=0, device="cpu",
    )  # fmt: skip
    assert result.theta.dtype == result.state["m"].dtype == np.float32
    assert type(result.state["t"]) is int and type(result.history["loss"][0]) is float


def test_the_module_has_the_layers_of_the_network_and_float64_by_default():
    model = TorchMLP(mlp([5, 4, 2], hidden="gelu", dropout=0.25))
    assert [type(m).__name__ for m in model.layers] == ["Linear", "GELU", "Dropout", "Linear"]
    assert model.layers[2].p == 0.25
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert {p.dtype for p in TorchMLP(mlp([2, 2]), dtype=torch.float32).parameters()} == {
        torch.float32
    }


def test_dropout_is_on_while_training_off_in_validation_and_seeded():
    rng = np.random.default_rng(0)
    net = mlp([5, 64, 3], dropout=0.5)
    theta, x, y = net.init(rng), rng.normal(size=(30, 5)), rng.integers(0, 3, 30)
    settings = {"epochs": 2, "batch_size": 10, "seed": 1, "device": "cpu", "validation": (x, y)}
    runs = [
        fit_torch(to_torch(net, theta), optimizers.SGD(lr), x, y, **settings)
        for lr in (0.1, 0.1, 0)
    ]
    np.testing.assert_array_equal(runs[0].theta, runs[1].theta)
    # With a learning rate of 0 only the noise of dropout can change the training loss.
    assert runs[2].history["loss"][0] != runs[2].history["loss"][1]
    expected = net.loss_value(theta, x, y)
    np.testing.assert_allclose(runs[2].history["val_loss"], expected, rtol=SAME)


def test_pytorchs_global_generator_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    net, theta, x, y = _problem(n=10)
    fit_torch(
        to_torch(net, theta),
        optimizers.SGD(0.1),
        x,
        y,
        epochs=1,
        batch_size=5,
        seed=0,
        device="cpu",
    )
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_digits_reach_97_percent_in_a_few_seconds():
    split = load_digits(seed=0)
    net = mlp([64, 64, 10])
    theta = net.init(np.random.default_rng(0))
    start = time.perf_counter()
    result = fit_torch(
        to_torch(net, theta), optimizers.Adam(0.005), split.x_train, split.y_train,
        epochs=20, batch_size=32, seed=0, device="cpu", validation=(split.x_test, split.y_test),
    )  # fmt: skip
    assert result.history["val_accuracy"][-1] >= 0.97
    assert time.perf_counter() - start < patient(20)  # about 1 s on a quiet machine


def test_read_only_inputs_and_lists_are_accepted_without_a_warning():
    net, theta, x, y = _problem(n=10)
    x.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_torch(
            to_torch(net, theta), optimizers.SGD(0.1), x, y.tolist(),
            epochs=1, batch_size=5, seed=0, device="cpu",
        )  # fmt: skip


@dataclass(frozen=True)
class _MyLayer(Dense):
    pass


@dataclass(frozen=True)
class _MyOptimizer(optimizers.SGD):
    pass


def test_what_has_no_twin_is_named():
    mine = replace(activations.relu, f=np.abs)
    with pytest.raises(
        TypeError, match="the activation 'relu' has no twin in PyTorch that we know"
    ):
        TorchMLP(mlp([2, 2, 2], hidden=mine))
    mine = replace(losses.mse, f=lambda outputs, targets: (0.0, outputs))
    with pytest.raises(TypeError, match="torch_loss: the loss 'mse' has no twin in PyTorch"):
        torch_loss(mine)
    with pytest.raises(
        TypeError, match=r"have a twin in torch\.optim .* got _MyOptimizer.*; known are SGD"
    ):
        torch_optimizer(_MyOptimizer(0.1), [nn.Parameter(torch.zeros(1))])

    class Mine:
        fan_in = None

        def width(self, fan_in):
            return fan_in

        def shapes(self):
            return {}

    with pytest.raises(TypeError, match="the layer Mine has no twin in PyTorch"):
        TorchMLP(Network((Mine(),), losses.mse))


def test_bad_arguments_get_a_sentence():
    net, theta, x, y = _problem(n=10)
    model, sgd = to_torch(net, theta), optimizers.SGD(0.1)
    usual = {"epochs": 1, "batch_size": 5, "seed": 0, "device": "cpu"}
    with pytest.raises(TypeError, match=r"model must be a TorchMLP, got Linear.*; .* to_torch"):
        fit_torch(nn.Linear(2, 2), sgd, x, y, **usual)
    with pytest.raises(ValueError, match="fit_torch: epochs must be an integer of at least 1"):
        fit_torch(model, sgd, x, y, **{**usual, "epochs": 0})
    with pytest.raises(ValueError, match="size must be an integer of at least 1, got 0"):
        fit_torch(model, sgd, x, y, **{**usual, "batch_size": 0})
    with pytest.raises(ValueError, match=r"fit_torch: x must have 7 columns"):
        fit_torch(model, sgd, x[:, :3], y, **usual)
    with pytest.raises(ValueError, match=r"fit_torch, validation: labels must lie in 0..2"):
        fit_torch(model, sgd, x, y, validation=(x, y + 1), **usual)
    with pytest.raises(ValueError, match="theta must have shape"):
        to_torch(net, theta[1:])
    np.testing.assert_array_equal(from_torch(model), theta)  # nothing was trained


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_said_to_be():
    net, theta, x, y = _problem(n=10)
    with pytest.raises(ValueError, match="device 'cuda' was asked for, but PyTorch finds no CUDA"):
        fit_torch(
            to_torch(net, theta), optimizers.SGD(0.1), x, y,
            epochs=1, batch_size=5, seed=0, device="cuda",
        )  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_training_on_the_gpu_equals_numpys(optimizer):
    net, theta, x, y = _problem(n=40)
    settings = {"epochs": 10, "batch_size": 9, "seed": 5, "validation": (x, y)}
    ours = fit(net, theta, optimizer, x, y, **settings)
    model = to_torch(net, theta)
    theirs = fit_torch(model, optimizer, x, y, **settings)
    assert next(model.parameters()).is_cuda
    assert _close(theirs.theta, ours.theta)


def test_divergence_is_reported():
    net, theta, x, y = _problem("mse", 3, "identity", n=10)
    with pytest.raises(FloatingPointError, match=r"the loss is .* the training has diverged"):
        fit_torch(
            to_torch(net, theta), optimizers.SGD(1e6), x, y,
            epochs=200, batch_size=5, seed=0, device="cpu",
        )  # fmt: skip


def test_without_pytorch_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "course_lib.torch_mlp")
    with pytest.raises(ImportError, match=r'needs PyTorch; pip install "course-lib\[torch\]"'):
        import course_lib.torch_mlp  # noqa: F401


def test_the_model_survives_a_state_dict_and_a_deep_copy():
    import copy

    net, theta, _, _ = _problem()
    model, other = to_torch(net, theta), TorchMLP(net)
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(from_torch(other), theta)
    np.testing.assert_array_equal(from_torch(copy.deepcopy(model)), theta)


@pytest.mark.parametrize("zero", [0, 0.0, np.float32(0)])
def test_adam_without_the_first_memory_trains_there_as_here(zero):
    net, rng = mlp([3, 4, 2], hidden="tanh"), np.random.default_rng(0)
    theta, x, y = net.init(rng), rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    options = {"epochs": 3, "batch_size": 5, "seed": 0}
    adam = optimizers.Adam(0.01, zero, 0.999)
    there = fit_torch(to_torch(net, theta), adam, x, y, device="cpu", **options)
    np.testing.assert_allclose(there.theta, fit(net, theta, adam, x, y, **options).theta, rtol=1e-9)


def test_a_model_that_is_not_finite_is_named():
    net = mlp([1, 1], loss="mse")
    model = to_torch(net, np.array([np.nan, 0.0]))
    with pytest.raises(ValueError, match="fit_torch: theta must be finite, got nan at position 0"):
        fit_torch(
            model, optimizers.SGD(0.1), [[1.0]], [1.0], epochs=1, batch_size=1, seed=0, device="cpu"
        )


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool, np.float32, "float32"])
def test_parameters_are_floating_point_numbers(dtype):
    with pytest.raises(TypeError, match="TorchMLP: dtype must be a floating-point type such as"):
        TorchMLP(mlp([2, 1]), dtype=dtype)
