"""Every optimizer equals PyTorch's step by step, and finds minima that are known."""

import pickle

import numpy as np
import pytest
import torch

from course_lib import optimizers
from course_lib.descent import BLOCK
from course_lib.optimizers import SGD, AdaGrad, Adam, AdamW, Nesterov, Optimizer, RMSProp
from course_lib.schedules import cosine

PAIRS = {
    "SGD": (SGD(0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (SGD(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "L2": (
        SGD(0.05, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    ),
    "Nesterov": (
        Nesterov(0.05, momentum=0.8),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    ),
    "AdaGrad": (AdaGrad(0.1), lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "RMSProp": (RMSProp(0.02, decay=0.9), lambda p: torch.optim.RMSprop(p, lr=0.02, alpha=0.9)),
    "Adam": (
        Adam(0.02, beta1=0.8, beta2=0.95),
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95)),
    ),
    "AdamW": (
        AdamW(0.02, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    ),
    # The options; all their combinations are in test_optimizer_options.py.
    "dampening": (
        SGD(0.05, momentum=0.9, dampening=0.4),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.4),
    ),
    "centred": (
        RMSProp(0.02, decay=0.9, momentum=0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.5, centered=True),
    ),
    "AMSGrad": (
        Adam(0.02, beta2=0.8, amsgrad=True, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.9, 0.8), amsgrad=True, weight_decay=0.1),
    ),
    "climbing": (
        AdaGrad(0.1, lr_decay=0.1, initial_accumulator_value=0.5, maximize=True),
        lambda p: torch.optim.Adagrad(
            p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, maximize=True
        ),
    ),
}
every_optimizer = pytest.mark.parametrize("opt", [p[0] for p in PAIRS.values()], ids=PAIRS)


@pytest.mark.parametrize(("opt", "make"), PAIRS.values(), ids=PAIRS)
def test_twenty_steps_equal_torch(opt: Optimizer, make) -> None:
    rng = np.random.default_rng(0)
    n = BLOCK + 3  # crosses the border of a block
    theta = rng.normal(size=n)
    twin = torch.tensor(theta.copy(), requires_grad=True)
    other, state = make([twin]), opt.init(theta)
    for _ in range(20):
        grad = rng.normal(size=n) * np.logspace(-3, 2, n)
        theta, state = opt.step(theta, grad, state)
        twin.grad = torch.tensor(grad)
        other.step()
        # The same operations up to their order: a few ulp a step.
        np.testing.assert_allclose(theta, twin.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert state["t"] == 20


def test_two_steps_of_momentum_by_hand() -> None:
    opt = SGD(lr=0.1, momentum=0.5)
    theta = np.array([1.0])
    theta, state = opt.step(theta, np.array([2.0]), opt.init(theta))  # v = 2
    assert theta == pytest.approx([0.8])
    theta, state = opt.step(theta, np.array([4.0]), state)  # v = 0.5 * 2 + 4 = 5
    assert theta == pytest.approx([0.3])
    assert state["v"] == pytest.approx([5.0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_first_step_of_adam_has_length_lr_whatever_the_gradient(scale: float) -> None:
    opt = Adam(lr=0.01)
    theta, _ = opt.step(np.zeros(2), scale * np.array([3.0, -0.5]), opt.init(np.zeros(2)))
    np.testing.assert_allclose(theta, [-0.01, 0.01], rtol=1e-4)  # eps / |g| is at most 2e-5


@every_optimizer
def test_finds_the_bottom_of_a_parabola(opt: Optimizer) -> None:
    centre, theta = np.array([1.0, -0.5]), np.array([2.0, 1.0])
    opt = type(opt)(lr=cosine(0.1 if not isinstance(opt, AdaGrad) else 1.0, steps=800))
    state = opt.init(theta)
    for _ in range(800):
        theta, state = opt.step(theta, np.array([2.0, 6.0]) * (theta - centre), state)
    # AdamW's decay of 0.01 pulls the minimum towards zero by less than this.
    np.testing.assert_allclose(theta, centre, atol=0.02)


@every_optimizer
def test_step_is_pure_unless_out_is_given(opt: Optimizer) -> None:
    rng = np.random.default_rng(1)
    theta, grad = rng.normal(size=(2, 5))
    _, state = opt.step(theta, grad, opt.init(theta))
    before = pickle.dumps((theta, grad, state))
    pure, after = opt.step(theta, grad, state)
    assert pickle.dumps((theta, grad, state)) == before
    elsewhere, _ = opt.step(theta, grad, pickle.loads(before)[2], out=np.empty(5))
    in_place, same = opt.step(theta, grad, state, out=theta)
    assert in_place is theta
    for name in opt.memory:
        assert same[name] is state[name]
        np.testing.assert_array_equal(same[name], after[name])
    np.testing.assert_array_equal(pure, in_place)
    np.testing.assert_array_equal(pure, elsewhere)


@every_optimizer
def test_float32_stays_float32(opt: Optimizer) -> None:
    theta = np.ones(3, np.float32)
    state = opt.init(theta)
    for _ in range(3):
        theta, state = opt.step(theta, np.ones(3, np.float32), state)
    assert theta.dtype == np.float32
    assert all(state[name].dtype == np.float32 for name in opt.memory)
    assert type(state["t"]) is int


@every_optimizer
def test_steps_on_slices_are_steps_on_the_whole(opt: Optimizer) -> None:
    # What lets an optimizer be sharded over workers: no parameter looks at another.
    rng = np.random.default_rng(2)
    theta, grad = rng.normal(size=(2, 10))
    whole, _ = opt.step(theta, grad, opt.init(theta))
    parts = [opt.step(theta[s], grad[s], opt.init(theta[s]))[0] for s in (slice(4), slice(4, 10))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_schedule_is_asked_with_the_number_of_steps_taken() -> None:
    opt = SGD(lr=lambda t: [1.0, 10.0, 100.0][t])
    theta, state = np.zeros(1), opt.init(np.zeros(1))
    for expected in (-1, -11, -111):
        theta, state = opt.step(theta, np.ones(1), state)
        assert theta == expected


@every_optimizer
def test_pickle_and_repr(opt: Optimizer) -> None:
    assert pickle.loads(pickle.dumps(opt)) == opt
    assert repr(opt).startswith(f"{type(opt).__name__}(lr=")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), r"SGD: lr must be a finite number >= 0, got -0\.1"),
        (lambda: Adam(float("nan")), "Adam: lr must be a finite number >= 0, got nan"),
        (lambda: SGD("fast"), "SGD: lr must be a finite number >= 0, got 'fast'"),
        (
            lambda: SGD(0.1, momentum=1.0),
            r"SGD: momentum must be a finite number >= 0 and < 1, got 1\.0",
        ),
        (lambda: SGD(0.1, weight_decay=-1), "weight_decay must be a finite number >= 0, got -1"),
        (lambda: Nesterov(0.1, momentum=-0.1), "Nesterov: momentum must be"),
        (lambda: RMSProp(0.1, decay=2), "RMSProp: decay must be"),
        (lambda: RMSProp(0.1, eps=-1), "RMSProp: eps must be"),
        (lambda: AdaGrad(0.1, eps=-1), "AdaGrad: eps must be"),
        (lambda: Adam(0.1, beta1=1), "Adam: beta1 must be"),
        (lambda: Adam(0.1, beta2=-1), "Adam: beta2 must be"),
        (lambda: Adam(0.1, eps=-1), "Adam: eps must be"),
        (lambda: AdamW(0.1, weight_decay=-1), "AdamW: weight_decay must be"),
    ],
)
def test_bad_hyper_parameters_get_a_sentence(make, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_mismatched_vectors_get_a_sentence() -> None:
    opt, theta = Adam(), np.zeros(3)
    with pytest.raises(
        ValueError, match=r"Adam.step: grad must be like theta, float64 \(3,\), got float64 \(4,\)"
    ):
        opt.step(theta, np.zeros(4), opt.init(theta))
    with pytest.raises(ValueError, match=r"grad must be like theta.*got float32"):
        opt.step(theta, np.zeros(3, np.float32), opt.init(theta))
    with pytest.raises(ValueError, match="m must be like theta"):
        opt.step(theta, theta, opt.init(np.zeros(4)))
    with pytest.raises(
        ValueError, match=r"state must have the keys \['t', 'm', 's'\], got \['t'\]"
    ):
        opt.step(theta, theta, SGD(0.1).init(theta))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, int])
@pytest.mark.parametrize("name", optimizers.ALL)
def test_a_numpy_number_as_rate_trains_to_the_bits_of_pythons(name, kind):
    rng = np.random.default_rng(3)
    theta, grad = rng.normal(size=(2, 9)).astype(np.float32)
    rate = kind(1) if kind in (np.int64, int) else kind(0.125)  # exact in every type
    wanted = optimizers.get(name, float(rate))
    for lr in (rate, lambda t: rate):
        got = optimizers.get(name, lr)
        state, state2 = wanted.init(theta), got.init(theta)
        a, b = theta, theta
        for _ in range(3):
            a, state = wanted.step(a, grad, state)
            b, state2 = got.step(b, grad, state2)
        assert b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rate", [True, np.bool_(True), "0.1", None, np.nan, 1j])
def test_what_is_no_number_is_no_rate(rate):
    with pytest.raises((ValueError, TypeError), match="lr must be a finite number >= 0, got"):
        optimizers.SGD(rate)


RATES = {
    "SGD": ("lr", "momentum", "weight_decay"),
    "Nesterov": ("lr", "momentum"),
    "AdaGrad": ("lr", "eps"),
    "RMSProp": ("lr", "decay", "eps"),
    "Adam": ("lr", "beta1", "beta2", "eps"),
    "AdamW": ("lr", "beta1", "beta2", "eps", "weight_decay"),
}


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize(("name", "rate"), [(n, r) for n, rates in RATES.items() for r in rates])
def test_every_number_of_numpy_trains_to_the_bits_of_pythons(name, rate, kind) -> None:
    theta, grad = np.random.default_rng(3).normal(size=(2, 9)).astype(np.float32)
    results = []
    for number in (0.125, kind(0.125)):  # exact in every type
        opt = getattr(optimizers, name)(**({"lr": 0.5} | {rate: number}))
        assert type(getattr(opt, rate)) is float
        at, state = theta, opt.init(theta)
        for _ in range(3):
            at, state = opt.step(at, grad, state)
        results.append(at)
    assert results[1].dtype == np.float32
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("value", [-1, -1e-9, np.nan, np.inf, "0.1", None, [0.1], True])
def test_what_a_schedule_returns_is_checked_when_it_is_used(value) -> None:
    opt = SGD(lambda step: 0.1 if step < 2 else value)
    theta, state = np.zeros(1), SGD(0.1).init(np.zeros(1))
    for _ in range(2):
        theta, state = opt.step(theta, np.ones(1), state)
    with pytest.raises((ValueError, TypeError), match=r"SGD: lr\(step=2\) must be .* >= 0, got"):
        opt.step(theta, np.ones(1), state)
    assert (theta[0], state["t"]) == (-0.2, 2)  # nothing was stepped


def test_a_state_of_another_kind_is_refused_and_a_count_of_numpy_is_not() -> None:
    opt, theta = Adam(), np.zeros(2, np.float32)
    for t in (-1, 0.5, "1", None, True):
        with pytest.raises((ValueError, TypeError), match=r"state\['t'\] must be an integer"):
            opt.step(theta, theta, {**opt.init(theta), "t": t})
    new, state = opt.step(theta, theta + 1, {**opt.init(theta), "t": np.int64(0)})
    assert (new.dtype, type(state["t"])) == (np.float32, int)
    with pytest.raises(ValueError, match=r"Adam.step: out must be like theta, float32 \(2,\)"):
        opt.step(theta, theta, opt.init(theta), out=np.zeros(2))
