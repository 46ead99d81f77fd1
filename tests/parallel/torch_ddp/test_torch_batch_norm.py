"""Modules with buffers on several ranks: what is judged is what is returned, and it is one."""

from __future__ import annotations

from functools import partial

import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

from course_lib.data import batches
from course_lib.parallel import torch_ddp
from course_lib.parallel.errors import RankFailed

ROW_LOSS = nn.CrossEntropyLoss(reduction="none")
SGD = partial(torch.optim.SGD, lr=0.05)
DRAWN = torch.Generator().manual_seed(0)
X = torch.randn(61, 4, generator=DRAWN)
Y = (X[:, 0] * X[:, 1] > 0).long()


class Tally(nn.Module):
    """A layer with buffers of its own: it divides by the largest number that it has seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("largest", torch.ones(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x):
        if self.training:
            self.largest.copy_(torch.maximum(self.largest, x.detach().abs().max()))
            self.seen += len(x)
        return x / self.largest


def build(layer):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), layer(), nn.ReLU(), nn.Linear(16, 2))


LAYERS = [partial(nn.BatchNorm1d, 16, momentum=0.5), Tally, partial(nn.LayerNorm, 16)]


def accuracy(outputs, labels):
    return outputs.argmax(1) == labels


@pytest.mark.parametrize("layer", LAYERS)
def test_the_held_out_rows_judge_the_module_that_is_returned(client, layer):
    result = torch_ddp.train(
        partial(build, layer), TensorDataset(X, Y), ROW_LOSS, SGD, epochs=3, batch_size=12,
        workers=3, client=client, device="cpu", validation=TensorDataset(X[:40], Y[:40]),
        metrics={"accuracy": accuracy}, drop_last=True,
    )  # fmt: skip
    model = build(layer)
    model.load_state_dict(result.state_dict)
    model.eval()
    with torch.no_grad():
        outputs = model(X[:40])
    expected = ROW_LOSS(outputs, Y[:40]).mean().item()
    assert result.history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert result.history["val_accuracy"][-1] == accuracy(outputs, Y[:40]).double().mean().item()
    assert result.replicas_identical


class Drifts(nn.Module):
    """Each rank keeps another number in a buffer, when held-out rows have passed."""

    def __init__(self, own):
        super().__init__()
        self.own = own
        self.register_buffer("rank", torch.zeros(()))

    def forward(self, x):
        if not self.training and self.own:
            self.rank.fill_(dist.get_rank())
        return x


@pytest.mark.parametrize("own", [False, True])
def test_replicas_with_other_buffers_are_not_identical(client, own):
    result = torch_ddp.train(
        partial(build, partial(Drifts, own)), TensorDataset(X, Y), ROW_LOSS, SGD, epochs=1,
        batch_size=12, client=client, device="cpu", validation=TensorDataset(X, Y),
    )  # fmt: skip
    assert result.replicas_identical != own


def unequal(ctx):
    module = nn.Sequential(nn.BatchNorm1d(3), Tally())
    module[0].running_mean.fill_(ctx.rank + 1)
    module[1].seen.fill_(ctx.rank + 5)
    ctx.share_buffers(module)
    return [buffer.tolist() for buffer in module.buffers()]


def test_buffers_are_those_of_rank_0_on_every_rank(client):
    a, b, c = torch_ddp.run(unequal, workers=3, client=client, device="cpu")
    assert a == b == c
    assert a[0] == [1, 1, 1]
    assert a[-1] == 5


@pytest.mark.parametrize(("workers", "batch"), [(2, 12), (1, 20), (3, 3)])
def test_one_row_for_batch_norm_is_refused_with_what_to_do(client, workers, batch):
    options = {"epochs": 1, "batch_size": batch, "workers": workers, "device": "cpu"}
    data = TensorDataset(X, Y)  # 61 rows, so one is left in the last batch
    given = partial(build, LAYERS[0]), data, ROW_LOSS, SGD
    sentence = r"has one row of a batch of \d+ rows, and BatchNorm .*drop_last=True"
    with pytest.raises(RankFailed, match=sentence):
        torch_ddp.train(*given, **options, client=client)
    if batch > workers:
        result = torch_ddp.train(*given, **options, client=client, drop_last=True)
        assert result.replicas_identical


def test_a_training_that_drops_the_last_batch_is_that_of_one_process(client):
    layer = partial(nn.LayerNorm, 16)
    result = torch_ddp.train(
        partial(build, layer), TensorDataset(X, Y), ROW_LOSS, SGD, epochs=2, batch_size=12, seed=4,
        workers=3, client=client, device="cpu", drop_last=True,
    )  # fmt: skip
    model, losses = build(layer), []
    optimizer = SGD(model.parameters())
    for epoch in range(2):
        total = 0.0
        for rows in list(batches(61, 12, seed=4, epoch=epoch))[:-1]:
            optimizer.zero_grad()
            loss = ROW_LOSS(model(X[rows]), Y[rows]).mean()
            loss.backward()
            optimizer.step()
            total += loss.item() / 5
        losses.append(total)
    torch.testing.assert_close(result.state_dict, dict(model.state_dict()), rtol=1e-5, atol=1e-6)
    assert result.history["loss"] == pytest.approx(losses, rel=1e-5)
