"""Every public door of the core refuses what means nothing: a sentence that names the argument."""

import inspect
import time
from importlib import import_module

import numpy as np
from matplotlib import pyplot

from course_lib import (
    activations,
    autodiff,
    gradcheck,
    layers,
    losses,
    neurons,
    optimizers,
    plotting,
    schedules,
    timing,
    weights,
)
from course_lib.early_stopping import EarlyStopping, KeepBest
from course_lib.evaluation import Epoch, accuracy, evaluate
from course_lib.network import Network, mlp
from course_lib.training import fit
from tests.doors import (
    ANYTHING,
    EMPTY,
    FLAG,
    NAME,
    NUMBER0,
    ONLY,
    OPTIONAL,
    POSITIVE,
    REALS,
    TEXT,
    WHOLE,
    WHOLE0,
    Door,
    check_all,
    door,
    every_argument,
    left_out,
)

RNG = np.random.default_rng(0)
NET = mlp([2, 3, 2], hidden="tanh", dropout=0.5)
THETA = NET.init(RNG)
X, Y = RNG.normal(size=(6, 2)), np.arange(6) % 2
OUTPUTS, CACHES = NET.forward(THETA, X)
HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.0, 1.0]}
START = Epoch(0, THETA, {"t": 0}, HISTORY)
AX = pyplot.subplots()[1]
PIXELS = np.arange(8.0).reshape(2, 4)
SCALARS = frozenset({"nan", "inf", "-inf", "-1", "0", "half", "True"})


def initialiser(f) -> Door:
    return door(f, rng=(np.random.default_rng(0), ONLY), fan_in=(3, WHOLE), fan_out=(4, WHOLE))


def optimizer_step(optimizer) -> Door:
    return door(
        optimizer.step, called=f"{type(optimizer).__name__}.step",
        theta=(THETA, ONLY), grad=(THETA, ONLY, "grad|theta and grad"),
        state=(optimizer.init(THETA), ONLY), out=(THETA.copy(), OPTIONAL),
    )  # fmt: skip


DATA = {"theta": (THETA, ONLY), "x": (X, ONLY), "y": (Y, ONLY, "y|targets|labels")}
SIZE = {"fan_in": (2, WHOLE), "fan_out": (3, WHOLE)}
RATE = {"lr": (0.1, NUMBER0)}
OPTIONS = {"weight_decay": (0.1, NUMBER0), "maximize": (True, FLAG)}
BETAS = {"beta1": (0.9, NUMBER0), "beta2": (0.9, NUMBER0), "eps": (1e-8, NUMBER0)}

MODULES = [
    "activations", "arrays", "autodiff", "chain", "clipping", "descent", "early_stopping",
    "evaluation", "gradcheck", "layers", "losses", "network", "neurons", "optimizers", "plotting",
    "row_losses", "schedules", "targets", "timing", "training", "weights", "workspace",
]  # fmt: skip

# What is public and no door, and why.
NO_DOORS = {
    "arrays": "the checks themselves; tests/core/test_arrays.py",
    "chain.Chain": "Network is one, with a loss",
    "chain.check_bounds": "a check", "chain.check_noise": "a check",
    "clipping.check_clip": "a check",
    "clipping.clip_gradient": "called by the loops of training, with what they have checked",
    "clipping.squares": "the same", "clipping.norm_of": "the same",
    "early_stopping.check_keep_best": "a check",
    "early_stopping.best_epoch": "EarlyStopping and KeepBest call it",
    "evaluation.Epoch": "made by fit", "evaluation.record": "called by the loops of training",
    "evaluation.score": "called by the loops of training, with what they have checked",
    "evaluation.score_names": "the same",
    "layers.Elementwise": "to derive from", "layers.Layer": "a protocol",
    "layers.Noise": "a protocol", "layers.noise": "called by the loops of training",
    "neurons.identity": "a formula", "neurons.step": "a formula",
    "descent.Optimizer": "to derive from",
    "plotting.axes_or_new": "every drawing calls it", "plotting.style": "takes nothing",
    "plotting.use_style": "takes nothing",
    **dict.fromkeys((f"row_losses.{name}" for name in (*losses.ALL, "columns")),
                    "trusts its arguments, as Loss.f does"),
    "schedules.check_schedule": "a check", "targets.check_targets": "Loss.check is the door",
    "training.FitResult": "made by fit", "training.check_finite": "a check",
    "training.check_callbacks": "a check", "training.check_state": "a check",
    "training.check_judging": "a check", "evaluation.check_set_metrics": "a check",
    "evaluation.measure": "called with what check_set_metrics has checked",
    "training.check_validation": "a check", "training.check_weights": "a check",
    "training.epochs_with_bar": "called by fit",
    "workspace.Workspace": "made by net.workspace, which is a door",
}  # fmt: skip

DOORS = [
    # What a network is made of.
    *(initialiser(f) for f in weights.ALL.values()),
    door(weights.normal, called="normal, std", rng=(RNG, ONLY), fan_in=(2, WHOLE),
         fan_out=(2, WHOLE), std=(1.0, POSITIVE)),
    door(weights.uniform, called="uniform, limit", rng=(RNG, ONLY), fan_in=(2, WHOLE),
         fan_out=(2, WHOLE), limit=(1.0, POSITIVE | OPTIONAL)),
    door(weights.orthogonal, called="orthogonal, gain", rng=(RNG, ONLY), fan_in=(2, WHOLE),
         fan_out=(2, WHOLE), gain=(1.0, POSITIVE)),
    door(weights.get, called="weights.get", weights=("zeros", NAME, "initialiser")),
    door(activations.Activation, name=("mine", TEXT), f=(np.sin, ONLY), df=(np.add, ONLY)),
    *(door(a, called=a.name, z=(0.5, REALS | EMPTY)) for a in activations.ALL.values()),
    door(activations.softmax, z=(X, frozenset({"numbers", "cube", "nan array"})),
         out=(None, OPTIONAL)),
    door(activations.softmax, called="softmax, out", z=(X, ONLY, "z|out"),
         out=(X.copy(), OPTIONAL)),
    door(activations.get, called="activations.get", activation=("tanh", NAME)),
    door(losses.Loss, name=("mine", TEXT), f=(np.add, ONLY), kind=("values", NAME),
         rows=(None, OPTIONAL)),
    *(door(loss, called=loss.name, outputs=(OUTPUTS, ONLY, "outputs|targets"),
           targets=(OUTPUTS * 0 if loss.kind in ("values", "binary") else Y, ONLY,
                    "targets|labels"))
      for loss in losses.ALL.values()),
    door(losses.mse.check, called="Loss.check", targets=(Y, ONLY), shape=((6, 1), ONLY, "outputs"),
         where=("here", ANYTHING)),
    door(losses.get, called="losses.get", loss=("mse", NAME)),
    door(layers.Dense, **SIZE, weights=(weights.zeros, ONLY)),
    door(layers.Activate, activation=(activations.tanh, ONLY)),
    door(layers.Dropout, rate=(0.25, NUMBER0)),
    door(mlp, sizes=([2, 3, 2], frozenset({"numbers"})), hidden=("relu", NAME, "activation"),
         loss=("mse", NAME), weights=("zeros", NAME, "initialiser"), dropout=(0.1, NUMBER0)),
    door(Network, layers=(NET.layers, ONLY), loss=(losses.mse, ONLY)),
    # What it does.
    door(NET.init, rng=(RNG, ONLY), dtype=(np.float32, ONLY)),
    door(NET.widths, n_inputs=(2, WHOLE)),
    door(NET.unpack, theta=(THETA, ONLY)),
    door(NET.pack, tree=(NET.unpack(THETA), ONLY)),
    door(NET.split, bounds=([2], EMPTY)),
    door(NET.forward, theta=(THETA, ONLY), x=(X, ONLY), rng=(RNG, OPTIONAL)),
    door(NET.backward, theta=(THETA, ONLY), caches=(CACHES, ONLY), dy=(OUTPUTS, ONLY)),
    door(NET.loss_and_grad, **DATA, denominator=(6, POSITIVE | OPTIONAL),
         out=(THETA.copy(), OPTIONAL), workspace=(None, OPTIONAL), rng=(RNG, OPTIONAL),
         weights=(np.ones(6), OPTIONAL)),
    door(NET.loss_and_grad, called="loss_and_grad, workspace", theta=(THETA, ONLY), x=(X, ONLY),
         y=(Y, ONLY), denominator=(6, OPTIONAL), out=(THETA.copy(), OPTIONAL),
         workspace=(NET.workspace(6), OPTIONAL), rng=(RNG, OPTIONAL), weights=(None, OPTIONAL)),
    door(NET.loss_value, **DATA, denominator=(6, OPTIONAL)),
    door(NET.predict, theta=(THETA, ONLY), x=(X, ONLY)),
    door(NET.predict_proba, theta=(THETA, ONLY), x=(X, ONLY)),
    door(NET.workspace, batch_size=(3, WHOLE), dtype=(float, ONLY)),
    door(NET.check_data, x=(X, ONLY), y=(Y, ONLY, "y|targets|labels"), where=("here", ANYTHING),
         empty=(False, ANYTHING)),
    # How it learns.
    door(schedules.constant, **RATE),
    door(schedules.step_decay, **RATE, factor=(0.5, NUMBER0), every=(3, WHOLE)),
    door(schedules.cosine, **RATE, steps=(3, WHOLE), final=(0.0, NUMBER0)),
    door(schedules.warmup, schedule=(0.1, NUMBER0), steps=(3, WHOLE)),
    *(door(s, called=f"{type(s).__name__}(...)", step=(0, WHOLE0))
      for s in (schedules.constant(1), schedules.step_decay(1, 0.5, 2), schedules.cosine(1, 5),
                schedules.warmup(1, 5))),
    door(optimizers.SGD, **RATE, **OPTIONS, momentum=(0.9, NUMBER0), dampening=(0.1, NUMBER0)),
    door(optimizers.SGD, called="SGD, nesterov", **RATE, momentum=(0.9, frozenset({"half"})),
         dampening=(0.0, frozenset({"0"})), nesterov=(True, FLAG)),
    door(optimizers.Nesterov, **RATE, **OPTIONS, momentum=(0.9, NUMBER0)),
    door(optimizers.AdaGrad, **RATE, **OPTIONS, eps=(0.1, NUMBER0), lr_decay=(0.1, NUMBER0),
         initial_accumulator_value=(0.1, NUMBER0)),
    door(optimizers.RMSProp, **RATE, **OPTIONS, decay=(0.9, NUMBER0), eps=(0.1, NUMBER0),
         momentum=(0.9, NUMBER0), centered=(True, FLAG)),
    door(optimizers.Adam, **RATE, **BETAS, **OPTIONS, amsgrad=(True, FLAG)),
    door(optimizers.AdamW, **RATE, **BETAS, **OPTIONS, amsgrad=(True, FLAG)),
    door(optimizers.get, called="optimizers.get", optimizer=("adam", NAME), lr=(0.1, NUMBER0)),
    door(optimizers.Adam().init, called="Optimizer.init", theta=(THETA, frozenset({"cube",
         "nan array"}))),
    *(optimizer_step(o) for o in (optimizers.SGD(0.1, 0.9), optimizers.Adam())),
    door(fit, net=(NET, ONLY), theta=(THETA, ONLY), optimizer=(optimizers.SGD(0.1), ONLY),
         x=(X, ONLY), y=(Y, ONLY, "y|targets|labels"), epochs=(1, WHOLE), batch_size=(3, WHOLE),
         seed=(0, WHOLE0), shuffle=(True, FLAG), validation=((X, Y), OPTIONAL),
         stop=(EarlyStopping(metric="loss"), OPTIONAL), state=(None, OPTIONAL),
         first_epoch=(0, WHOLE0), weights=(None, OPTIONAL),
         clip=(None, POSITIVE | OPTIONAL), set_metrics=(None, OPTIONAL),
         keep_best=(None, OPTIONAL), better=(None, OPTIONAL),
         callbacks=([], EMPTY), progress=(False, FLAG)),
    door(accuracy, net=(NET, ONLY), **DATA),
    door(evaluate, net=(NET, ONLY), **DATA, set_metrics=(None, OPTIONAL)),
    door(EarlyStopping, patience=(2, WHOLE), min_delta=(0.0, NUMBER0), metric=("loss", TEXT),
         better=("lower", OPTIONAL)),
    door(EarlyStopping(), called="EarlyStopping(...)", history=(HISTORY, ONLY)),
    door(KeepBest, metric=("loss", TEXT), better=("lower", OPTIONAL)),
    door(KeepBest(), called="KeepBest(...)", event=(START, ONLY)),
    # What checks and shows it.
    door(gradcheck.numerical_gradient, f=(np.sum, ONLY), theta=(THETA, EMPTY), h=(1e-5, POSITIVE)),
    door(gradcheck.relative_error, a=(3.0, SCALARS, "a|gradients"),
         n=(3.0, SCALARS, "n|gradients"), floor=(0.0, NUMBER0)),
    door(gradcheck.check, called="gradcheck.check", net=(NET, ONLY), **DATA),
    door(timing.compare, name_a=("one", TEXT), a=(lambda: 1, ONLY), name_b=("two", TEXT),
         b=(lambda: 2, ONLY), repeats=(3, WHOLE), clock=(time.perf_counter, ONLY)),
    door(timing.Comparison, names=(("one", "two"), frozenset({"texts"})), seconds_a=((1.0,), ONLY),
         seconds_b=((1.0,), ONLY)),
    door(timing.Comparison(("a", "b"), (1.0,), (1.0,)).verdict, at_least=(2, POSITIVE)),
    door(timing.Comparison(("a", "b"), (1.0,), (1.0,)).plot, ax=(AX, ONLY)),
    door(plotting.learning_curve, history=(HISTORY, ONLY), ax=(None, OPTIONAL),
         metrics=(["loss"], ONLY)),
    door(plotting.decision_regions, predict=(lambda p: (p[:, 0] > 0).astype(int), ONLY),
         x=(X, ONLY), y=(Y, ONLY), ax=(None, OPTIONAL), resolution=(3, WHOLE)),
    door(plotting.image_grid, images=(PIXELS, ONLY), titles=(["a", "b"], OPTIONAL | {"texts",
         "objects", "complex", "cube", "ragged"}), columns=(2, WHOLE)),
    # A neuron computes with arrays of points, too.
    door(neurons.Neuron, weights=([1.0, 2.0], frozenset({"numbers", "cube", "nan array"})),
         bias=(0.5, SCALARS | OPTIONAL | {"cube", "complex", "nan array"}),
         activation=(neurons.step, frozenset({"class", "function"}))),
    door(neurons.Neuron([1.0, 2.0]), called="Neuron(...)", x=([1.0, 2.0], frozenset({"cube"}))),
    door(autodiff.Value, data=(2.0, SCALARS, "number")),
    *(door(getattr(autodiff.Value(2.0), f"__{sign}__"), called=f"Value {sign}",
           other=(2.0, SCALARS | {"0"}, "number|Value")) for sign in ("add", "mul", "sub")),
]  # fmt: skip


@every_argument(DOORS)
def test_what_means_nothing_is_refused_by_name(entry: Door, name: str) -> None:
    check_all(entry, name)


def test_every_public_name_is_a_door_or_says_why_not() -> None:
    calls = {getattr(entry.call, "__func__", entry.call) for entry in DOORS}
    calls |= {type(getattr(entry.call, "__self__", entry.call)) for entry in DOORS}
    found = {}
    for module in map(import_module, (f"course_lib.{name}" for name in MODULES)):
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", "") == module.__name__
            if (
                own
                and not name.startswith("_")
                and (inspect.isfunction(thing) or inspect.isclass(thing))
            ):
                found[f"{module.__name__.removeprefix('course_lib.')}.{name}"] = thing
    missing = {
        name for name, thing in found.items()
        if thing not in calls and not {name, name.split(".")[0]} & set(NO_DOORS)
    }  # fmt: skip
    assert missing == set()
    assert {name for name in NO_DOORS if name not in found and name != "arrays"} == set()


def test_no_argument_is_left_out() -> None:
    assert left_out(DOORS) == set()
