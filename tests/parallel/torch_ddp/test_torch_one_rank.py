"""One rank as a thread of this process, without a cluster: what PyTorch alone would do."""

from __future__ import annotations

import hashlib
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from course_lib.data import batches
from course_lib.parallel import torch_ddp
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import (
    CheckpointMismatch,
    RankFailed,
    WorkerLost,
)
from course_lib.parallel.torch_ddp import Context
from course_lib.parallel.torch_ddp import context as context_file
from course_lib.parallel.torch_ddp import runner as runner_file
from course_lib.parallel.torch_ddp import training as training_file
from course_lib.parallel.torch_ddp.training import TorchResult

CPU = torch.device("cpu")
N, BATCH = 42, 10  # the last batch has two rows, of which BatchNorm makes something
RNG = np.random.default_rng(7)
X = torch.from_numpy(RNG.normal(size=(N, 4)))
Y = torch.from_numpy(RNG.integers(0, 3, N))
DATA, HELD_OUT = TensorDataset(X, Y), TensorDataset(X[:13], Y[:13])
ROW_LOSS = nn.CrossEntropyLoss(reduction="none")
MOMENTUM = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def net(seed=3):
    torch.manual_seed(seed)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)
    return nn.Sequential(*layers).double()


def accuracy(outputs, labels):
    return outputs.argmax(1) == labels


def serial(epochs, rows=N):
    """Train as anybody would with PyTorch; what is measured after each epoch, too."""
    model = net()
    optimizer, history = MOMENTUM(model.parameters()), {"loss": [], "val_loss": [], "val_hits": []}
    for epoch in range(epochs):
        model.train()
        total, seen = 0.0, 0
        for chosen in batches(N, BATCH, seed=5, epoch=epoch):
            if seen == rows:
                break
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(X[chosen]), Y[chosen])
            loss.backward()
            optimizer.step()
            total, seen = total + loss.item() * len(chosen), seen + len(chosen)
        model.eval()
        with torch.no_grad():
            outputs = model(X[:13])
        history["loss"].append(total / seen)
        history["val_loss"].append(functional.cross_entropy(outputs, Y[:13]).item())
        history["val_hits"].append((outputs.argmax(1) == Y[:13]).double().mean().item())
    return model, history


@pytest.fixture
def here(monkeypatch):
    """In place of a cluster: one rank, a thread of this process. Attempts may fail at their end."""
    found = SimpleNamespace(asked=[], repaired=[], failures=[])

    class Here:
        def __init__(self, client, workers, *, timeout, among):
            found.asked.append((client, workers, timeout))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def launch(self, program, *, on_report, regroup=None):
            fn, args, kwargs = program
            rank = lambda comm: fn(comm, *args, **kwargs)  # noqa: E731
            results = run_threads(1, rank, timeout=30, on_report=on_report)
            if found.failures:
                raise found.failures.pop(0)
            return results

        def repair(self, failure):
            found.repaired.append(failure)

    for file in (runner_file, training_file):
        monkeypatch.setattr(file, "Relauncher", Here)
    return found


def train(epochs=3, **changes):
    given = {
        "module": net, "dataset": DATA, "loss": ROW_LOSS, "optimizer": MOMENTUM,
        "batch_size": BATCH, "seed": 5, "workers": 1, "client": "a cluster", "device": "cpu",
    }  # fmt: skip
    return torch_ddp.train(epochs=epochs, **given | changes)


@pytest.mark.parametrize(("drop_last", "rows"), [(False, 42), (True, 40)])
def test_a_training_on_one_rank_is_that_of_pytorch_alone(here, drop_last, rows):
    result = train(drop_last=drop_last, validation=HELD_OUT, metrics={"hits": accuracy})
    model, history = serial(3, rows)
    torch.testing.assert_close(result.state_dict, dict(model.state_dict()), rtol=0, atol=1e-12)
    assert list(result.history) == ["loss", "val_loss", "val_hits"]
    for name, values in history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-12)
    digest = hashlib.sha256()
    module = net()
    module.load_state_dict(result.state_dict)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(name.encode() + tensor.detach().numpy().tobytes())
    assert result.digests == (digest.hexdigest(),) and result.replicas_identical
    assert result.threads == (torch.get_num_threads(),)
    assert here.asked == [("a cluster", (1, 1), 60.0)]
    again = MOMENTUM(module.parameters())
    again.load_state_dict(result.optimizer_state)
    assert len(again.state) == len(list(module.parameters()))  # a momentum for each


def test_replicas_are_identical_if_all_ranks_have_one_digest():
    of = lambda *digests: TorchResult({}, {}, {}, digests, 0, (1,))  # noqa: E731
    assert of("a", "a", "a").replicas_identical
    assert not of("a", "a", "b").replicas_identical


def test_each_epoch_is_told_of_and_checkpoints_come_when_they_are_due(here, tmp_path):
    events = []
    result = train(5, checkpoint=tmp_path, every=10, keep=2, on_event=events.append)
    metrics = [event for event in events if event.kind == "metric"]
    assert [(e.epoch, e.step) for e in metrics] == [(i, 5 * (i + 1)) for i in range(5)]
    assert [e.metrics for e in metrics] == [{"loss": loss} for loss in result.history["loss"]]
    # Five steps an epoch: every tenth, and after the last.
    assert [e.step for e in events if e.kind == "checkpoint"] == [10, 20, 25]
    assert len(list(tmp_path.glob("*.json"))) == 2  # as many are kept
    events.clear()
    train(5, checkpoint=tmp_path / "usual", on_event=events.append)
    assert [e.step for e in events if e.kind == "checkpoint"] == [5, 10, 15, 20, 25]
    assert len(list((tmp_path / "usual").glob("*.json"))) == 3


def test_who_stops_early_saves_there_and_goes_on_from_there_with_the_same_bits(here, tmp_path):
    undisturbed = train(5)
    events = []
    first = train(
        5, checkpoint=tmp_path, every=20, on_event=events.append,
        stop=lambda history: len(history["loss"]) == 3,
    )  # fmt: skip
    assert len(first.history["loss"]) == 3
    assert [e.step for e in events if e.kind == "checkpoint"] == [15]
    events.clear()
    again = train(
        5, checkpoint=tmp_path, on_event=events.append,
        stop=lambda history: len(history["loss"]) == 3,
    )  # fmt: skip
    assert again.digests == first.digests and events == []  # it would have stopped
    second = train(5, checkpoint=tmp_path)
    assert second.digests == undisturbed.digests != first.digests
    assert second.history == undisturbed.history


def test_a_training_begins_with_the_seed_whatever_the_module_draws(here):
    def drawn():
        return nn.Linear(4, 3).double()

    first = train(1, module=drawn)
    torch.manual_seed(99)
    assert train(1, module=drawn).digests == first.digests
    assert train(1, module=drawn, seed=6).digests != first.digests


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("module", {"module": nn.Sequential(net(), nn.Identity())}),
        ("initial state", {"module": partial(net, seed=4)}),
        ("loss", {"loss": nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)}),
        ("optimizer", {"optimizer": partial(torch.optim.SGD, lr=0.2, momentum=0.9)}),
        ("batch_size", {"batch_size": 14}),
        ("drop_last", {"drop_last": True}),
        ("seed", {"seed": 6}),
        ("training data", {"dataset": TensorDataset(X, Y.flip(0))}),
        ("validation data", {"validation": None, "metrics": {}}),
        ("validation data", {"validation": DATA}),
        ("metrics", {"metrics": {}}),
        ("metrics", {"metrics": {"f1": accuracy}}),
    ],
)
def test_another_training_is_refused_and_named(here, tmp_path, what, change):
    base = {"validation": HELD_OUT, "metrics": {"hits": accuracy}, "checkpoint": tmp_path}
    train(1, **base)
    with pytest.raises(CheckpointMismatch, match=f"another training: its {what} is .*, and here"):
        train(2, **base | change)


def test_a_lost_worker_is_counted_and_told_and_without_a_folder_it_is_the_end(here, tmp_path):
    events, lost = [], [WorkerLost("one is lost"), WorkerLost("another is lost")]
    here.failures[:] = lost
    result = train(2, checkpoint=tmp_path, max_restarts=2, on_event=events.append)
    assert result.restarts == 2 and here.repaired == lost
    told = [(e.kind, e.step, e.message) for e in events if e.kind in ("worker_lost", "restart")]
    assert told == [
        ("worker_lost", None, "one is lost"), ("restart", 10, "restart 1 of 2, from step 10"),
        ("worker_lost", None, "another is lost"), ("restart", 10, "restart 2 of 2, from step 10"),
    ]  # fmt: skip
    here.failures[:] = [WorkerLost("one is lost")]
    assert train(2, checkpoint=tmp_path, max_restarts=1).restarts == 1  # nobody listens
    here.failures[:] = [WorkerLost("one is lost")]
    with pytest.raises(WorkerLost, match="one is lost"):
        train(1, max_restarts=1)
    assert train(1).restarts == 0


def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(here):
    spoilt = X.clone()
    order = [rows.tolist() for rows in batches(N, BATCH, seed=5, epoch=0)]
    spoilt[order[3][0]] = float("nan")
    with pytest.raises(RankFailed, match="epoch 0, step 3: a row of this batch holds NaN") as e:
        train(dataset=TensorDataset(spoilt, Y))
    assert e.value.step == 3
    with pytest.raises(RankFailed, match="FloatingPointError: .*the training has diverged"):
        line = nn.Linear(4, 3).double()
        train(9, module=line, optimizer=partial(torch.optim.SGD, lr=1e308))


def test_a_batch_of_one_row_is_explained_to_who_has_batch_norm(here):
    with pytest.raises(RankFailed, match="one row of a batch of 1 rows, and BatchNorm has no var"):
        train(dataset=TensorDataset(X[:41], Y[:41]))

    class Angry(nn.Linear):
        def forward(self, x):
            raise ValueError("mine")

    with pytest.raises(RankFailed, match="ValueError: mine"):
        train(module=Angry(4, 3))


def test_options_of_a_loader_reach_it(here):
    sizes = []

    def collate(rows):
        sizes.append(len(rows))
        return torch.utils.data.default_collate(rows)

    train(1, loader={"collate_fn": collate})
    assert sizes == [10, 10, 10, 10, 2]


def test_a_run_has_two_ranks_that_wait_a_minute_unless_it_is_said_otherwise(here):
    run = partial(torch_ddp.run, lambda ctx, a, *, b: (ctx.rank, ctx.size, a, b), device="cpu")
    assert run(1, b=2) == [(0, 1, 1, 2)]
    assert run(1, b=2, client="c", workers=1, timeout=5) == [(0, 1, 1, 2)]
    assert here.asked == [(None, (2, 2), 60.0), ("c", (1, 1), 5.0)]
    here.failures[:] = [WorkerLost("lost")]
    with pytest.raises(WorkerLost):
        run(1, b=2)
    for wrong in ({"workers": 0}, {"max_restarts": -1}, {"workers": 1.5}):
        with pytest.raises((TypeError, ValueError), match=f"run: {next(iter(wrong))} must be an"):
            run(1, b=2, **wrong)
    asked = len(here.asked)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        run(1, b=2, device="gpu")
    assert len(here.asked) == asked  # no cluster is asked for what can not be


def test_ctrl_c_ends_a_run_with_a_sentence(here):
    here.failures[:] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt, match="^run: interrupted; its ranks were stopped"):
        torch_ddp.run(lambda ctx: ctx.rank, device="cpu")


def test_what_one_rank_is_given(here):
    def program(ctx):
        assert (ctx.rank, ctx.size, ctx.device) == (0, 1, CPU)
        assert dist.get_backend() == "gloo"
        assert ctx.scale(torch.tensor(6.0), 3) == 2
        assert ctx.all_reduce(2) == 2.0
        given = torch.ones(2, requires_grad=True)
        got = ctx.all_reduce(given, "min")
        assert got.tolist() == [1, 1] and got is not given and not got.requires_grad
        assert ctx.any(True) and not ctx.any(False)
        with pytest.raises(ValueError, match="unknown operation 'mean'"):
            ctx.all_reduce(1, "mean")
        model = ctx.wrap(nn.Linear(2, 1), find_unused_parameters=True)
        assert model.find_unused_parameters
        ctx.report(loss=torch.tensor(0.5), name="x", count=np.int64(3))
        return [share.data[0].tolist() for share in ctx.loader(DATA, batch_size=14, seed=2)]

    events = []
    [rows] = torch_ddp.run(program, workers=1, device="cpu", on_event=events.append)
    assert rows == [X[chosen].tolist() for chosen in batches(N, 14, seed=2, epoch=0)]
    assert events[0] == (0, "metric", {"loss": 0.5, "name": "x", "count": 3}, "")


def test_a_loader_gives_a_sign_of_life_twice_a_second_at_most(monkeypatch):
    now, told = [100.0], []
    monkeypatch.setattr(context_file, "time", SimpleNamespace(monotonic=lambda: now[0]))
    checks = []
    comm = SimpleNamespace(
        rank=0, size=1, timeout=5.0, check=lambda: checks.append(True), report=told.append
    )
    for _ in Context(comm, CPU).loader(DATA, batch_size=2, epoch=3):
        now[0] += 0.2
    assert [event["values"]["batch"] for event in told] == [0, 3, 6, 9, 12, 15, 18]
    assert told[1]["values"] == {"epoch": 3, "batch": 3, "batches": 21}
    assert (told[1]["rank"], told[1]["kind"]) == (0, "progress")
    assert len(checks) == 21  # a stopped run is noticed at every batch


def test_ranks_draw_other_noise_with_the_numbers_of_ranks_and_epochs():
    def draw(rank, seed, epoch):
        comm = SimpleNamespace(rank=rank, size=3, timeout=5.0)
        Context(comm, CPU).seed(seed, epoch)
        return torch.rand(()).item(), float(np.random.random())

    with torch_ddp.noise.own_noise(CPU):
        keys = [(rank, seed, epoch) for rank in range(3) for seed in range(2) for epoch in range(2)]
        found = [draw(*key) for key in keys]
        assert len({number for pair in found for number in pair}) == 24
        assert [draw(*key) for key in keys] == found
        for wrong in ((-1, 0), (0, -1)):
            with pytest.raises(ValueError, match="of at least 0, got -1"):
                draw(0, *wrong)
