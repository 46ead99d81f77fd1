"""What an ordinary training has, on ranks: the numbers of a loop by hand for one process."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import distributed
import torch
import torch.distributed as dist
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.utils.data import TensorDataset

from course_lib import optimizers
from course_lib.data import batches
from course_lib.parallel import torch_ddp
from course_lib.parallel.errors import RankFailed
from tests.parallel.launch.conftest import by_hand  # noqa: F401
from tests.parallel.torch_ddp.quick import copies  # noqa: F401
from tests.patience import patient

N, BATCH, EPOCHS, SEED = 43, 10, 3, 6  # five steps per epoch, the last of three rows
RNG = np.random.default_rng(8)
X, Y = torch.from_numpy(RNG.normal(size=(N, 1, 5, 5))), torch.from_numpy(RNG.integers(0, 2, N))
WEIGHTS = RNG.uniform(0, 3, N)
LOSS = nn.CrossEntropyLoss(reduction="none")
ADAM = partial(torch.optim.Adam, lr=0.02)
CYCLE = partial(OneCycleLR, max_lr=0.05, total_steps=5 * EPOCHS)


def cnn(norm=nn.BatchNorm2d, dtype=torch.float64):
    torch.manual_seed(2)
    layers = nn.Conv2d(1, 4, 3, bias=False), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)
    return nn.Sequential(*layers).to(dtype)


plain = partial(cnn, partial(nn.GroupNorm, 2))  # each row by itself


@pytest.fixture
def train(copies):  # noqa: F811
    base = {"epochs": EPOCHS, "batch_size": BATCH, "seed": SEED}

    def run(module=plain, loss=LOSS, optimizer=ADAM, dtype=torch.float64, **options):
        data = TensorDataset(X.to(dtype), Y)
        return copies(module, data, loss, optimizer, **base | options)

    return run


def serial(
    make=plain, optimizer=ADAM, *, weights=None, schedule=None, by_epoch=None, clip=None,
    order=None, groups=None, rate=None, pieces=1, ranks=lambda step: 1, lower=None,
    scaler=None, dtype=torch.float64, loss=LOSS,
):  # fmt: skip
    """Train in one process; rows are cut as so many ranks would, for what looks at the batch."""
    model, x, step, history = make(), X.to(dtype), 0, []
    w = torch.ones(N, dtype=torch.float64) if weights is None else torch.from_numpy(weights)
    steps = optimizer(groups(model.named_parameters()) if groups else model.parameters())
    schedule = schedule and schedule(steps)
    by_epoch = by_epoch and by_epoch(steps)
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in order(epoch) if order else batches(N, BATCH, seed=SEED, epoch=epoch):
            if rate:
                steps.param_groups[0]["lr"] = rate(step)
            steps.zero_grad()
            for piece in np.array_split(rows, pieces):
                for rank, part in enumerate(np.array_split(piece, ranks(step))):
                    if not len(part):
                        continue
                    before = [buffer.clone() for buffer in model.buffers()]
                    with torch.autocast("cpu", lower, enabled=lower is not None):
                        found = loss(model(x[part]), Y[part])
                    found = (found * w[part].to(found.dtype)).sum()
                    # As DDP does, which averages: in 16 bits the factor is not without effect.
                    scaler.scale(found * (ranks(step) / w[rows].sum().item())).backward()
                    total += found.item()
                    for buffer, then in zip(model.buffers(), before, strict=True):
                        if rank > 0:  # rank 0's statistics are those that stay
                            buffer.copy_(then)
            for p in model.parameters():
                p.grad /= ranks(step)
            if clip:
                scaler.unscale_(steps)
                norm = sum((p.grad**2).sum() for p in model.parameters()) ** 0.5
                for p in model.parameters():
                    p.grad *= min(1.0, clip / (norm + 1e-6))
            before = scaler.get_scale()
            scaler.step(steps)
            scaler.update()
            if schedule and scaler.get_scale() >= before:
                schedule.step()
            step += 1
        if by_epoch:
            by_epoch.step()
        history.append(total)
    return model, history, steps


def assert_same(result, model, tolerance=1e-10):
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(
            result.state_dict[name], expected, rtol=0, atol=tolerance, msg=lambda m, n=name: n + m
        )
    assert result.replicas_identical


@pytest.mark.parametrize(("ranks", "pieces"), [(1, 3), (2, 4), (3, 2)])
def test_a_batch_that_is_accumulated_is_one_batch(train, ranks, pieces):
    model, history, _ = serial()
    result = train(accumulate=pieces, ranks=ranks)
    assert_same(result, model)
    assert result.history["loss"] == pytest.approx(np.divide(history, N), rel=1e-10)


def no_decay(named):
    named = list(named)
    biases = [p for name, p in named if name.endswith("bias") or p.ndim == 1]
    others = [p for name, p in named if not (name.endswith("bias") or p.ndim == 1)]
    return [{"params": others}, {"params": biases, "weight_decay": 0.0, "lr": 0.01}]


ADAMW = partial(torch.optim.AdamW, lr=0.02, weight_decay=0.5)


def test_groups_by_name_clipping_and_a_schedule_by_steps(train):
    model, _, _ = serial(optimizer=ADAMW, groups=no_decay, clip=0.3, schedule=CYCLE)
    assert_same(train(optimizer=ADAMW, groups=no_decay, clip=0.3, schedule=CYCLE), model)
    other, _, _ = serial(optimizer=ADAMW, clip=0.3, schedule=CYCLE)
    assert (other[0].weight - model[0].weight).abs().max() > 1e-4
    assert (serial(optimizer=ADAMW)[0][0].weight - other[0].weight).abs().max() > 1e-4


def test_a_schedule_by_epochs(train):
    by_epoch = partial(StepLR, step_size=1, gamma=0.3)
    model, _, steps = serial(by_epoch=by_epoch)
    result = train(schedule=by_epoch, schedule_each="epoch")
    assert_same(result, model)
    assert result.optimizer_state["param_groups"][0]["lr"] == steps.param_groups[0]["lr"]


def test_our_optimizers_are_translated_and_their_rate_follows_its_schedule(train):
    model, _, _ = serial(optimizer=partial(torch.optim.Adam, lr=1.0), rate=lambda t: 0.1 / (t + 1))
    assert_same(train(optimizer=optimizers.Adam(lambda t: 0.1 / (t + 1))), model)


@pytest.mark.parametrize("ranks", [1, 3])
def test_weighted_rows_are_a_weighted_mean_over_the_global_batch(train, ranks):
    model, history, _ = serial(weights=WEIGHTS)
    result = train(weights=WEIGHTS, accumulate=2, ranks=ranks)
    assert_same(result, model)
    assert result.history["loss"] == pytest.approx(np.divide(history, WEIGHTS.sum()), rel=1e-10)


def drawn(epoch):
    rows = np.random.default_rng([SEED, epoch]).choice(N, N, p=WEIGHTS / WEIGHTS.sum())
    return [rows[i : i + BATCH] for i in range(0, N, BATCH)]


def test_rows_that_are_drawn_are_the_same_for_any_number_of_ranks(train):
    assert_same(train(draw=WEIGHTS, ranks=3), serial(order=drawn)[0])


def own_step(module, inputs, targets):
    outputs = module(inputs)
    return LOSS(outputs, targets) + 0.1 * outputs.pow(2).mean(1)


def test_a_training_step_of_ones_own_takes_the_place_of_the_loss(train):
    def loss(outputs, targets):
        return LOSS(outputs, targets) + 0.1 * outputs.pow(2).mean(1)

    held_out = TensorDataset(X[:7], Y[:7])
    result = train(training_step=own_step, validation=held_out)
    model, history, _ = serial(loss=loss)
    assert_same(result, model)
    assert result.history["loss"] == pytest.approx(np.divide(history, N), rel=1e-10)
    with torch.no_grad():
        expected = LOSS(model(X[:7]), Y[:7]).mean().item()
    assert result.history["val_loss"][-1] == pytest.approx(expected, rel=1e-8)


def large(outputs, targets):
    return 1000 * LOSS(outputs.float(), targets)


def test_in_float16_a_step_that_is_skipped_changes_nothing(train):
    half = torch.float32
    scaler = torch.amp.GradScaler("cpu")
    make = partial(plain, half)
    found = {"schedule": CYCLE, "clip": 1.0, "dtype": half, "loss": large}
    model, _, steps = serial(make, scaler=scaler, lower=torch.float16, **found)
    taken = steps.state_dict()["state"][0]["step"].item()
    assert taken < 5 * EPOCHS  # the first are skipped, until the factor is small enough
    result = train(make, precision="float16", ranks=1, **found)
    assert_same(result, model, 1e-6)
    assert result.optimizer_state["state"][0]["step"].item() == taken
    assert result.optimizer_state["param_groups"][0]["lr"] == steps.param_groups[0]["lr"]


def auc(outputs, targets):
    """The share of pairs of a right and a wrong row that are in the right order."""
    score = (outputs[:, 1] - outputs[:, 0]).double()
    pairs = score[targets == 1][:, None] - score[targets == 0]
    return ((pairs > 0).double() + 0.5 * (pairs == 0)).mean()


def place(outputs, targets):
    return (torch.arange(len(outputs)) * outputs[:, 0]).sum().item()


@pytest.mark.parametrize("ranks", [1, 3])
def test_metrics_of_the_whole_set_get_all_rows_in_their_order(train, ranks):
    held_out = TensorDataset(X[:23], Y[:23])
    wholes = {"auc": auc, "place": place}
    result = train(
        validation=held_out, set_metrics=wholes, ranks=ranks, epochs=1, keep_best="val_auc",
        better="higher",
    )  # fmt: skip
    model = plain()
    model.load_state_dict(result.state_dict)
    with torch.no_grad():
        outputs = model(X[:23])
    expected = roc_auc_score(Y[:23], outputs[:, 1] - outputs[:, 0])
    assert result.history["val_auc"] == pytest.approx([expected], abs=1e-12)
    in_order = (np.arange(23) * outputs[:, 0].numpy()).sum()
    assert result.history["val_place"] == pytest.approx([in_order], rel=1e-10)


def note(path, event):
    norm = sum(p.detach().pow(2).sum().item() for p in event.module.parameters())
    line = f"{event.epoch} {dist.get_rank()} {event.history['loss'][-1]!r} {norm!r}\n"
    with open(path, "a") as file:
        file.write(line)
    event.history.clear()  # its own copy


def test_callbacks_are_called_on_rank_0_after_each_epoch(train, tmp_path):
    result = train(callbacks=[partial(note, tmp_path / "notes")])
    lines = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert [(line[0], line[1]) for line in lines] == [("0", "0"), ("1", "0"), ("2", "0")]
    assert [float(line[2]) for line in lines] == result.history["loss"]
    weights = [v for k, v in result.state_dict.items()]
    expected = sum(v.pow(2).sum().item() for v in weights)
    assert float(lines[-1][3]) == pytest.approx(expected, rel=1e-12)


class TwoHeads(nn.Module):
    """A module of which a forward pass uses only a part."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = plain(), nn.Linear(2, 2).double()

    def forward(self, x):
        return self.used(x)


def test_options_of_ddp_reach_it(train):
    with pytest.raises(RankFailed, match="find_unused_parameters"):
        train(TwoHeads, epochs=1)
    result = train(TwoHeads, ddp={"find_unused_parameters": True})
    model, _, _ = serial()
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(result.state_dict[f"used.{name}"], expected, rtol=0, atol=1e-10)


def kill_once(mark, history):
    """Kill rank 1 after the second epoch, once."""
    if len(history["loss"]) == 2 and dist.get_rank() == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return False


# Not Adam, which divides by the root of small numbers: in 16 bits a last digit is a percent.
DECAYS = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=0.5)


def all_of_it(train, folder, precision, dtype, tolerance, **where):
    """Train with everything at once, killed on three ranks and gone on with two; compare.

    BatchNorm looks at the rows of a rank, so that the serial loop cuts the rows alike.
    """
    events, make = [], partial(cnn, dtype=dtype)
    result = train(
        make, optimizer=DECAYS, dtype=dtype, groups=no_decay, schedule=CYCLE, clip=0.5,
        accumulate=2, precision=precision, weights=WEIGHTS, workers=(2, 3),
        validation=TensorDataset(X.to(dtype), Y), set_metrics={"auc": auc},
        checkpoint=folder / "run", every=4, stop=partial(kill_once, folder / "mark"),
        on_event=events.append, **where,
    )  # fmt: skip
    assert [e.step for e in events if e.kind == "restart"] == [8]  # in the middle of an epoch
    assert (result.restarts, len(result.digests)) == (1, 2)
    lower = torch.bfloat16 if precision == "bfloat16" else None
    model, history, _ = serial(
        make, DECAYS, dtype=dtype, groups=no_decay, schedule=CYCLE, clip=0.5, pieces=2,
        lower=lower, weights=WEIGHTS, ranks=lambda step: 3 if step < 8 else 2,
    )  # fmt: skip
    assert_same(result, model, tolerance)
    expected = np.divide(history, WEIGHTS.sum())
    assert result.history["loss"] == pytest.approx(expected, rel=100 * tolerance)
    with torch.no_grad(), torch.autocast("cpu", lower, enabled=lower is not None):
        outputs = model.eval()(X.to(dtype)).double()
    area = roc_auc_score(Y, outputs[:, 1] - outputs[:, 0])
    assert result.history["val_auc"][-1] == pytest.approx(area, abs=1e-3 if lower else 1e-12)


ALL_OF_IT = pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [("bfloat16", torch.float32, 1e-6), ("float32", torch.float64, 1e-10)],
)


@ALL_OF_IT
def test_all_of_it_together_killed_on_three_ranks_goes_on_with_two(
    train, tmp_path, precision, dtype, tolerance
):
    all_of_it(train, tmp_path, precision, dtype, tolerance, ranks=[3, 2])


@ALL_OF_IT
def test_and_on_a_cluster_of_dask(by_hand, tmp_path, precision, dtype, tolerance):  # noqa: F811
    """Of workers that nobody starts again."""

    def train(module, loss=LOSS, dtype=torch.float64, **options):
        return torch_ddp.train(
            module, TensorDataset(X.to(dtype), Y), loss, epochs=EPOCHS, batch_size=BATCH,
            seed=SEED, client=client, device="cpu", timeout=patient(60), **options,
        )  # fmt: skip

    for _ in range(3):
        by_hand.worker()
    with distributed.Client(by_hand.address, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=patient(60))
        client.upload_file(__file__)  # the functions of this file
        all_of_it(train, tmp_path, precision, dtype, tolerance)
