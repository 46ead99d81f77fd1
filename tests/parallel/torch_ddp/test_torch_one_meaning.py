"""The words of ``parallel.train`` mean the same in ``torch_ddp.train``."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from course_lib.parallel import Event
from course_lib.parallel.training.result import RankTiming
from tests.parallel.torch_ddp.quick import copies  # noqa: F401

N, BATCH = 22, 5  # five steps per epoch, the last of two rows
RNG = np.random.default_rng(3)
X, Y = torch.from_numpy(RNG.normal(size=(N, 4))), torch.from_numpy(RNG.integers(0, 3, N))
LOSS = nn.CrossEntropyLoss(reduction="none")
SGD = partial(torch.optim.SGD, lr=0.2, momentum=0.9)


class Drawn(Dataset):
    """Rows with noise from PyTorch's generator."""

    def __len__(self):
        return N

    def __getitem__(self, row):
        return X[row] + 0.1 * torch.randn(4, dtype=torch.float64), Y[row]


def net():
    torch.manual_seed(1)
    layers = nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 3)
    return nn.Sequential(*layers).double()


BASE = {
    "module": net, "dataset": TensorDataset(X, Y), "loss": LOSS, "optimizer": SGD, "epochs": 3,
    "batch_size": BATCH, "seed": 4,
}  # fmt: skip


@pytest.fixture
def train(copies):  # noqa: F811
    return lambda **options: copies(**BASE | options)


def kill_in(step, mark, module, inputs, targets):
    """Train, but kill rank 1 at the given call, once."""
    kill_in.calls = getattr(kill_in, "calls", 0) + 1
    if kill_in.calls == step + 1 and dist.get_rank() == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return LOSS(module(inputs), targets)


@pytest.mark.parametrize(("ranks", "step"), [(2, 7), (3, 9)])
def test_every_counts_steps_and_what_goes_on_within_an_epoch_has_the_same_bits(
    train, tmp_path, ranks, step
):
    events, options = [], {"dataset": Drawn(), "ranks": ranks}
    quiet = train(**options, training_step=lambda m, i, t: LOSS(m(i), t))
    disturbed = train(
        **options, training_step=partial(kill_in, step, tmp_path / "mark"),
        checkpoint=tmp_path / "run", every=3, keep=9, on_event=events.append,
    )  # fmt: skip
    assert disturbed.restarts == 1
    assert disturbed.digests == quiet.digests
    assert disturbed.history == quiet.history
    assert all(isinstance(event, Event) for event in events)
    last = step // 3 * 3
    story = [(e.kind, e.step) for e in events if e.kind not in ("progress", "metric")]
    saved = [("checkpoint", s) for s in range(3, 16, 3)]
    cut = saved.index(("checkpoint", last)) + 1
    assert story == [*saved[:cut], ("worker_lost", None), ("restart", last), *saved[cut:]]
    rows = [e for e in events if e.kind == "metric"]
    assert [(e.epoch, e.step) for e in rows] == [(0, 5), (1, 10), (2, 15)]
    assert [e.metrics for e in rows] == [{"loss": loss} for loss in quiet.history["loss"]]
    assert {e.epoch for e in events} <= {0, 1, 2, 3}


def test_training_stops_when_all_ranks_say_so(train):
    def stop(history):
        return len(history["loss"]) >= 1 + dist.get_rank()

    assert len(train(stop=stop, epochs=5).history["loss"]) == 2


def worst(outputs, targets):
    return LOSS(outputs, targets)


def test_the_best_epoch_is_returned_and_remembered(train, tmp_path):
    data = TensorDataset(X[:9], (Y[:9] + 1) % 3)  # what is learned makes it worse
    options = {"validation": data, "metrics": {"worst": worst}, "epochs": 4}
    last = train(**options)
    first = train(**options | {"epochs": 1})
    assert first.history["val_worst"] == last.history["val_worst"][:1]
    assert min(last.history["val_worst"]) == last.history["val_worst"][0]
    assert max(last.history["val_worst"]) == last.history["val_worst"][3]
    for better, expected in (("lower", first), ("higher", last)):
        best = options | {"keep_best": "val_worst", "better": better}
        found = train(**best)
        assert found.history == last.history
        assert found.digests == last.digests
        for name, tensor in expected.state_dict.items():
            assert torch.equal(found.state_dict[name], tensor)
        for step in (2, 4):
            again = train(**best | {"epochs": step}, checkpoint=tmp_path / better)
        for name, tensor in expected.state_dict.items():
            assert torch.equal(again.state_dict[name], tensor)
        momentum = [r.optimizer_state["state"][0]["momentum_buffer"] for r in (again, expected)]
        assert torch.equal(*momentum)


def test_resume_says_where_to_begin(train, tmp_path):
    whole = train()
    train(epochs=1, checkpoint=tmp_path / "first")
    with pytest.raises(ValueError, match="train: resume='never', but .*first holds checkpoints"):
        train(checkpoint=tmp_path / "first", resume="never")
    manifest = next((tmp_path / "first").glob("step-*.json"))
    for place in (tmp_path / "first", manifest):
        result = train(resume=place)
        assert result.digests == whole.digests
        assert result.history == whole.history


def test_a_restart_before_the_first_own_checkpoint_begins_where_it_began(train, tmp_path):
    own = {"training_step": partial(kill_in, 2, tmp_path / "mark")}
    (tmp_path / "mark").touch()
    whole = train(**own)
    train(**own, epochs=1, checkpoint=tmp_path / "first")
    (tmp_path / "mark").unlink()
    events = []
    result = train(
        **own, checkpoint=tmp_path / "second", resume=tmp_path / "first", on_event=events.append
    )
    assert result.restarts == 1
    assert [e.step for e in events if e.kind == "restart"] == [5]
    assert result.digests == whole.digests
    assert result.history == whole.history


def test_a_report_tells_where_each_ranks_time_went(train):
    result = train(ranks=3)
    assert len(result.timing) == 3
    assert all(isinstance(t, RankTiming) and t.compute > 0 and t.input > 0 for t in result.timing)
    assert all(t.total <= result.seconds for t in result.timing)
    lines = result.report().splitlines()
    assert [line.split()[0] for line in lines] == ["rank", "0", "1", "2", "replicas"]
    assert "replicas identical: yes" in lines[-1]


def test_a_bar_shows_the_epochs(train, capsys):
    train(progress=True)
    assert "3/3" in capsys.readouterr().err
