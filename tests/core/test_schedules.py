"""Schedules equal PyTorch's of the same name."""

import pickle

import numpy as np
import pytest
import torch

from course_lib.schedules import constant, cosine, step_decay, warmup

L = torch.optim.lr_scheduler
TWINS = {
    "constant": (constant(0.1), lambda o: L.LambdaLR(o, lambda t: 1.0)),
    "step_decay": (step_decay(0.1, 0.5, 7), lambda o: L.StepLR(o, step_size=7, gamma=0.5)),
    "cosine": (
        cosine(0.1, steps=30, final=0.01),
        lambda o: L.CosineAnnealingLR(o, T_max=30, eta_min=0.01),
    ),
    "warmup": (
        warmup(step_decay(0.1, 0.5, 10), steps=5),
        lambda o: L.SequentialLR(
            o,
            [L.LinearLR(o, start_factor=0.2, total_iters=4), L.StepLR(o, step_size=10, gamma=0.5)],
            milestones=[5],
        ),
    ),
}


@pytest.mark.parametrize(("schedule", "make"), TWINS.values(), ids=TWINS)
def test_thirty_steps_equal_torch(schedule, make) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    twin = make(optimizer)
    for step in range(30):
        # PyTorch multiplies step by step, we use the closed form: rounding differs.
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        twin.step()


def test_cosine_keeps_its_final_value_and_warmup_takes_a_number() -> None:
    assert cosine(1.0, steps=10, final=0.25)(10_000) == 0.25
    assert [warmup(0.6, steps=3)(t) for t in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.6, 0.6])


def test_schedules_are_values() -> None:
    for schedule, _ in TWINS.values():
        assert pickle.loads(pickle.dumps(schedule)) == schedule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(-1), "constant: lr must be a finite number >= 0, got -1"),
        (lambda: step_decay(0.1, -1, 3), "step_decay: factor must be"),
        (lambda: step_decay(0.1, 0.5, 0), "step_decay: every must be an integer of at least 1"),
        (lambda: cosine(0.1, steps=0), "cosine: steps must be an integer of at least 1"),
        (lambda: cosine(0.1, steps=5, final=-1), "cosine: final must be"),
        (lambda: warmup(-0.1, steps=5), "warmup: schedule must be a finite number >= 0"),
        (lambda: warmup(0.1, steps=0), "warmup: steps must be an integer of at least 1"),
    ],
)
def test_bad_arguments_get_a_sentence(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_of_numpys_numbers_is_the_one_of_pythons() -> None:
    half = np.float32(0.5)  # exact
    pairs = [
        (constant(half), constant(0.5)),
        (step_decay(half, half, np.int64(2)), step_decay(0.5, 0.5, 2)),
        (cosine(half, np.int32(4), half), cosine(0.5, 4, 0.5)),
        (warmup(half, np.int8(2)), warmup(0.5, 2)),
    ]
    for ours, wanted in pairs:
        assert repr(ours) == repr(wanted)
        assert [type(ours(t)) for t in range(5)] == [float] * 5
        assert [ours(np.int64(t)) for t in range(5)] == [wanted(t) for t in range(5)]


@pytest.mark.parametrize("step", [-1, 0.5, None, "1", True])
@pytest.mark.parametrize("schedule", [s for s, _ in TWINS.values()], ids=TWINS)
def test_a_step_is_counted_from_0(schedule, step) -> None:
    with pytest.raises((ValueError, TypeError), match=f"{type(schedule).__name__}: step must be"):
        schedule(step)
