"""Every option of every optimizer, in all combinations, is PyTorch's for 200 steps."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from course_lib import optimizers
from course_lib.optimizers import Optimizer

STEPS, SIZE = 200, 12
# What each is tried with; the first value of an option is its default, and the optimizer's without.
BOTH = {"weight_decay": (0.0, 0.05), "maximize": (False, True)}
BETAS = {"beta1": (0.9, 0.7), "beta2": (0.999, 0.8), "eps": (1e-8, 1e-2), "amsgrad": (False, True)}
OPTIONS: dict[str, dict[str, tuple[Any, Any]]] = {
    "SGD": {"momentum": (0.0, 0.8), "dampening": (0.0, 0.3), "nesterov": (False, True)} | BOTH,
    "Nesterov": {"momentum": (0.9, 0.5)} | BOTH,
    "AdaGrad": {"eps": (1e-10, 1e-2), "lr_decay": (0.0, 0.1)}
    | {"initial_accumulator_value": (0.0, 0.5)}
    | BOTH,
    "RMSProp": {"decay": (0.99, 0.8), "eps": (1e-8, 1e-2), "momentum": (0.0, 0.8)}
    | {"centered": (False, True)}
    | BOTH,
    "Adam": BETAS | BOTH,
    "AdamW": BETAS | BOTH | {"weight_decay": (0.01, 0.0)},
}
TORCH = {"Nesterov": "SGD", "AdaGrad": "Adagrad", "RMSProp": "RMSprop"}
STATE = {
    "SGD": {"v": "momentum_buffer"},
    "AdaGrad": {"s": "sum"},
    "RMSProp": {"s": "square_avg", "m": "grad_avg", "v": "momentum_buffer"},
    "Adam": {"m": "exp_avg", "s": "exp_avg_sq", "s_max": "max_exp_avg_sq"},
}
STATE |= {"Nesterov": STATE["SGD"], "AdamW": STATE["Adam"]}


def combinations(kind: str) -> list[dict[str, Any]]:
    names = OPTIONS[kind]
    return [dict(zip(names, values, strict=True)) for values in product(*names.values())]


def of_torch(kind: str, options: dict[str, Any], parameter: Any) -> Any:
    """The optimizer of torch.optim, by its own names."""
    given = {"alpha" if name == "decay" else name: value for name, value in options.items()}
    if "beta1" in given:
        given["betas"] = given.pop("beta1"), given.pop("beta2")
    given |= {"nesterov": True} if kind == "Nesterov" else {}
    return getattr(torch.optim, TORCH.get(kind, kind))([parameter], lr=0.02, **given)


def said(options: dict[str, Any], kind: str) -> str:
    """What is not a default."""
    changed = {n: v for n, v in options.items() if v != OPTIONS[kind][n][0]}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "defaults"


def allowed(kind: str, options: dict[str, Any]) -> bool:
    try:
        of_torch(kind, options, torch.zeros(1))
    except ValueError:
        return False
    return True


EVERY = [(kind, options) for kind in OPTIONS for options in combinations(kind)]
VALID = [pytest.param(*c, id=f"{c[0]}: {said(c[1], c[0])}") for c in EVERY if allowed(*c)]


def gradients(dtype: type) -> np.ndarray:
    """Of very different sizes and of changing signs, smaller at the end; some are zero.

    None is small beside a decay: where that alone is left, a quotient of it and its own root moves
    theta around zero, and any rounding grows.
    """
    rng = np.random.default_rng(4)
    g = rng.normal(size=(STEPS, SIZE)) * np.logspace(0, 2, SIZE)
    g[rng.random(g.shape) < 0.1] = g[:3, 0] = 0
    g[STEPS // 2 :] /= 3
    return g.astype(dtype)


def start(dtype: type) -> np.ndarray:
    return np.random.default_rng(5).normal(size=SIZE).astype(dtype)


def walk(opt: Optimizer, dtype: type) -> np.ndarray:
    theta, path = start(dtype), []
    state = opt.init(theta)
    for g in gradients(dtype):
        theta, state = opt.step(theta, g, state)
        path.append(theta)
    return np.array(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "options"), VALID)
def test_two_hundred_steps_equal_torch(kind: str, options: dict[str, Any], dtype: type) -> None:
    opt = getattr(optimizers, kind)(lr=0.02, **options)
    theta, twins = start(dtype), []
    parameter = torch.tensor(theta, requires_grad=True)
    other, state = of_torch(kind, options, parameter), opt.init(theta)
    path = []
    for g in gradients(dtype):
        theta, state = opt.step(theta, g, state)
        path.append(theta)
        parameter.grad = torch.tensor(g)
        other.step()
        twins.append(parameter.detach().numpy().copy())
    assert path[-1].dtype == twins[-1].dtype == dtype
    # The same operations in another order: about ten roundings a step, each by at most half an ulp
    # of the largest number on the way, and errors of earlier steps stay. Hence 5 t ulps.
    ulp = np.finfo(dtype).eps * np.maximum.accumulate(np.abs([start(dtype), *twins]))[1:]
    assert (np.abs(np.array(path) - twins) <= 5 * np.arange(1, STEPS + 1)[:, None] * ulp).all()
    vectors = {name: other.state[parameter].get(STATE[kind][name]) for name in opt.memory}
    assert state.keys() == {"t", *vectors}
    kept = {name for name, value in other.state[parameter].items() if value is not None}
    assert kept - {"step"} == {STATE[kind][name] for name in vectors}  # no vector more
    for name, theirs in vectors.items():
        scale = np.abs(theirs.numpy()) + np.abs(gradients(dtype)).max(axis=0) ** (
            1 + name.startswith("s")
        )
        assert (np.abs(state[name] - theirs.numpy()) <= 200 * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [pytest.param(*c, id=f"{c[0]}: {said(c[1], c[0])}") for c in EVERY if not allowed(*c)],
)
def test_what_torch_refuses_is_refused(kind: str, options: dict[str, Any]) -> None:
    sentence = r"SGD: nesterov=True needs a momentum above 0 and a dampening of 0, got momentum=0"
    with pytest.raises(ValueError, match=sentence):
        getattr(optimizers, kind)(lr=0.02, **options)


def test_there_are_combinations_of_both_kinds() -> None:
    assert len(VALID) == 20 + 8 + 32 + 64 + 64 + 64
    assert len(EVERY) - len(VALID) == 12


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in OPTIONS.items() for n in names])
def test_every_option_changes_the_path(kind: str, name: str) -> None:
    """Or a comparison with PyTorch, in which it is left out on both sides, would say nothing."""
    needs = {"dampening": {"momentum": 0.8}, "nesterov": {"momentum": 0.8}}
    options = (needs | {"amsgrad": {"beta2": 0.8}}).get(name, {})
    before, after = (
        walk(getattr(optimizers, kind)(lr=0.02, **options | {name: value}), np.float64)
        for value in OPTIONS[kind][name]
    )
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("kind", OPTIONS)
def test_all_options_are_tried(kind: str) -> None:
    opt = getattr(optimizers, kind)(lr=0.02)
    assert set(vars(opt)) - {"lr"} == OPTIONS[kind].keys()
    assert {name: getattr(opt, name) for name in OPTIONS[kind]} == {
        name: values[0] for name, values in OPTIONS[kind].items()
    }


def test_a_repr_makes_the_optimizer_again_and_shows_no_option_that_is_not_set() -> None:
    for kind, options in (case.values for case in VALID):
        opt = getattr(optimizers, kind)(lr=0.02, **options)
        assert eval(repr(opt), vars(optimizers)) == opt
        for name in ("maximize", "amsgrad", "centered", "nesterov", "lr_decay", "dampening"):
            assert (f"{name}=" in repr(opt)) == bool(options.get(name))


def test_a_constant_gradient_has_no_variance_less_than_none() -> None:
    """In float32, rounding leaves s - m * m below zero for some of these; its root would be NaN."""
    theta = np.linspace(0.1, 3, 500, dtype=np.float32)
    opt = optimizers.RMSProp(lr=1e-9, decay=0.9, centered=True)
    state, g, below = opt.init(theta), theta.copy(), False
    for _ in range(400):
        theta, state = opt.step(theta, g, state)
        below |= bool((state["s"] < state["m"] * state["m"]).any())
    assert below
    assert np.isfinite(theta).all()
