"""What a training of a PyTorch module is given: it is used as it is meant, or refused by name."""

from __future__ import annotations

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from course_lib.data import batches
from course_lib.parallel import torch_ddp
from course_lib.parallel.errors import RankFailed
from course_lib.parallel.torch_ddp import Context, ShareSampler
from course_lib.parallel.torch_ddp.given import made_module, opened, pair, placed, row_values
from course_lib.parallel.torch_ddp.rank import Losses
from course_lib.parallel.torch_ddp.sampler import Share

CPU = torch.device("cpu")
MSE = nn.MSELoss(reduction="none")
SGD = partial(torch.optim.SGD, lr=0.1)
X = torch.linspace(-1, 1, 40)[:, None]


@pytest.mark.parametrize(
    ("outputs", "targets", "loss", "expected"),
    [
        ((5, 1), (5, 1), MSE, "mean"),
        ((5,), (5,), MSE, "mean"),
        ((5, 3), (5, 3), lambda o, t: MSE(o, t).mean(1), "mean"),
        ((5, 1), (5,), MSE, "(5, 5).*the shape of the outputs"),
        ((5,), (5, 1), MSE, "(5, 5).*the shape of the outputs"),
        ((5, 3), (5, 1), MSE, "(5, 3).*the shape of the outputs"),
        ((5, 3), (5, 3), MSE, "(5, 3).*take the mean over what belongs to one row"),
        ((5, 1), (5, 1), nn.MSELoss(), "().*reduction='none'"),
        ((5, 1), (5, 1), lambda o, t: MSE(o, t)[:4], "(4, 1).*reduction='none'"),
        ((5, 1), (5, 1), lambda o, t: MSE(o, t).T, "(1, 5).*reduction='none'"),
        ((5, 1), (5, 1), lambda o, t: 0.5, "float.*reduction='none'"),
        ((5, 1), (5, 1), lambda o, t: MSE(o, t).tolist(), "list.*reduction='none'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_is_one_number_per_row(outputs, targets, loss, expected):
    torch.manual_seed(0)
    o, t = torch.randn(outputs), torch.randn(targets)
    if expected == "mean":
        by_hand = [((o[i] - t[i]) ** 2).mean().item() for i in range(5)]
        assert row_values(loss, o, t, 5, "loss").tolist() == pytest.approx(by_hand)
    else:
        got, advice = expected.split(".*")
        with pytest.raises(ValueError) as e:
            row_values(loss, o, t, 5, "val_f1")
        assert "val_f1 must return one number per row, a tensor of shape (5,)" in str(e.value)
        assert f"got {got}" in str(e.value)
        assert advice in str(e.value)


def test_what_is_right_or_wrong_is_one_or_zero():
    right = row_values(lambda o, t: o == t, torch.arange(3), torch.tensor([0, 2, 2]), 3, "accuracy")
    assert right.tolist() == [1.0, 0.0, 1.0]
    assert right.is_floating_point()


class Rows(Dataset):
    """Forty rows, by a class that needs nothing."""

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return X[row], 3 * X[row]


class Folder(Rows):
    """One that needs to be told where."""

    def __init__(self, where):
        self.where = where


class Line(nn.Linear):
    """A module that needs nothing."""

    def __init__(self):
        super().__init__(1, 1)


@pytest.mark.parametrize("dataset", [Rows, Rows(), lambda: Rows(), partial(Folder, "here")])
def test_a_dataset_is_given_or_made(dataset):
    assert len(opened("dataset", dataset)) == 40


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (Folder, r"validation is the class Folder, .*without arguments .*partial\(Folder, ...\)"),
        ((X, X), r"validation must be a Dataset .*got a tuple; .*TensorDataset\(x, y\)"),
    ],
)
def test_what_is_no_dataset_is_refused_by_name(dataset, sentence):
    with pytest.raises(TypeError, match=sentence):
        opened("validation", dataset)


@pytest.mark.parametrize("data", [DataLoader(Rows()), 3, None, iter([1])])
def test_what_has_no_rows_to_choose_from_is_refused_by_name(client, data):
    with pytest.raises(RankFailed, match="has no length or no rows to choose"):
        torch_ddp.train(
            Line, data, MSE, SGD, epochs=1, batch_size=4, workers=1, client=client, device="cpu"
        )


def test_a_module_is_given_or_made():
    line = Line()
    assert made_module(line) is not line
    assert isinstance(made_module(Line), Line)
    with pytest.raises(TypeError, match=r"module is the class Linear, .*partial\(Linear, ...\)"):
        made_module(nn.Linear)
    with pytest.raises(TypeError, match=r"module must be an nn.Module, .*got dict"):
        made_module(dict)

    def breaks():
        raise TypeError("mine")

    with pytest.raises(TypeError, match="^mine$"):  # no class: the advice would be wrong
        made_module(breaks)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"module": None}, "module must be callable, got NoneType"),
        ({"loss": "mse"}, "loss must be callable, got str"),
        ({"optimizer": SGD([X])}, r"optimizer must be callable, got SGD; .*partial\(torch"),
        ({"stop": True}, "stop must be callable, got bool"),
        ({"metrics": {"f1": 3}}, r"metrics\['f1'\] must be callable, got int"),
        ({"loader": {"batch_size": 3}}, r"loader=\{'batch_size': ...\} would choose the rows"),
        ({"loader": {"shuffle": True}}, r"loader=\{'shuffle': ...\} would choose the rows"),
        ({"loader": {"drop_last": True}}, r"loader=\{'drop_last': ...\} would choose the rows"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"every": 0.5}, "every must be an integer"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_worker_is_asked(change, sentence):
    given = {"module": Line, "dataset": Rows, "loss": MSE, "optimizer": SGD}
    options = {"epochs": 1, "batch_size": 4, "client": "tcp://nowhere:1"}
    with pytest.raises((TypeError, ValueError), match=f"train: {sentence}"):
        torch_ddp.train(**given | options | change)


@pytest.mark.parametrize("data", [{"x": X, "y": X}, [X], (X, X, X), X])
def test_a_row_is_a_pair(data):
    with pytest.raises(TypeError, match=r"must be a pair \(inputs, target\), got a "):
        pair(data)
    assert pair([{"x": X}, data]) == ({"x": X}, data)


def test_the_tensors_of_a_loss_are_moved_to_the_device():
    meta, weights = torch.device("meta"), torch.ones(3)
    module = nn.CrossEntropyLoss(weight=weights, reduction="none")
    moved = placed(module, meta)
    assert moved.weight.device == meta
    assert module.weight.device == CPU  # the caller's own
    inner = placed(partial(module, weights), meta)
    assert inner.func.weight.device == inner.args[0].device == meta
    named = placed(partial(functional.cross_entropy, weight=weights, reduction="none"), meta)
    assert named.keywords["weight"].device == meta
    assert named.keywords["reduction"] == "none"
    assert placed(functional.cross_entropy, meta) is functional.cross_entropy


class Alone:
    """As much of a context as one rank needs."""

    def all_reduce(self, value, op="sum"):
        return value


@pytest.mark.parametrize("ask", [True, False])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_reported_at_its_step(ask, bad):
    def epoch():
        losses = Losses(CPU, 7, ask=ask)
        for step in range(9):
            value = torch.tensor(bad if step >= 4 else 1.0)
            losses.add(
                torch.tensor(bad), Share((X, X), 0, 4, 2), step
            )  # a stand-in, which counts not
            losses.add(value, Share((X, X), 2, 4, 2), step)
            if ask:
                assert step < 4
        return losses.mean(Alone())

    with pytest.raises(FloatingPointError, match="at epoch 7, step 4: the training has diverged"):
        epoch()


class Spoilt(Rows):
    """One target is NaN."""

    def __getitem__(self, row):
        return X[row], X[row] * (float("nan") if row == 3 else 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_row_that_is_nan_is_found_at_the_step_that_reads_it(client, workers):
    order = list(batches(40, 5, seed=2, epoch=0))
    step = next(i for i, rows in enumerate(order) if 3 in rows)
    assert 0 < step < len(order) - 1
    with pytest.raises(RankFailed, match=f"step {step}: a row of this batch holds NaN") as e:
        torch_ddp.train(
            Line, Spoilt, MSE, SGD, epochs=1, batch_size=5, seed=2, workers=workers,
            client=client, device="cpu",
        )  # fmt: skip
    assert e.value.step == step


class Nested(Dataset):
    """Rows whose inputs and targets are dicts, with dicts and pairs in them."""

    def __len__(self):
        return 21

    def __getitem__(self, row):
        x = torch.linspace(-1, 1, 21, dtype=torch.float64)[row : row + 1]
        inputs = {"a": x, "more": {"b": (x**2, x**3)}, "name": f"row {row}"}
        return inputs, {"value": 2 * x - 1, "weight": 1 + x[0] ** 2}


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.line = nn.Linear(3, 1).double()

    def forward(self, inputs):
        b, c = inputs["more"]["b"]
        return {"out": self.line(torch.cat([inputs["a"], b, c], 1))}


def weighted(outputs, targets):
    return targets["weight"] * (outputs["out"] - targets["value"])[:, 0] ** 2


def bias(outputs, targets):
    return (outputs["out"] - targets["value"])[:, 0]


def test_inputs_and_targets_may_be_nested(client):
    data = Nested()
    result = torch_ddp.train(
        Reads, data, weighted, SGD, epochs=2, batch_size=4, seed=3, workers=3, client=client,
        device="cpu", validation=Nested, metrics={"bias": bias},
    )  # fmt: skip
    model = Reads()
    optimizer = SGD(model.parameters())
    for epoch in range(2):
        for rows in batches(21, 4, seed=3, epoch=epoch):
            inputs, targets = torch.utils.data.default_collate([data[row] for row in rows])
            optimizer.zero_grad()
            weighted(model(inputs), targets).mean().backward()
            optimizer.step()
    torch.testing.assert_close(result.state_dict, dict(model.state_dict()), rtol=0, atol=1e-12)
    inputs, targets = torch.utils.data.default_collate([data[row] for row in range(21)])
    with torch.no_grad():
        outputs = model(inputs)
        expected = weighted(outputs, targets).mean().item()
        mean = (outputs["out"] - targets["value"]).mean().item()
    assert result.history["val_loss"][-1] == pytest.approx(expected, rel=1e-10)
    assert result.history["val_bias"][-1] == pytest.approx(mean, rel=1e-10)


def test_weights_of_classes_make_the_loss_that_they_make_in_one_process(client):
    torch.manual_seed(0)
    x, y = torch.randn(21, 2).double(), torch.arange(21) % 3
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double(), reduction="none")
    start = nn.Linear(2, 3).double()
    model = copy.deepcopy(start)
    optimizer = SGD(model.parameters())
    for rows in batches(21, 5, seed=0, epoch=0):
        optimizer.zero_grad()
        loss(model(x[rows]), y[rows]).mean().backward()
        optimizer.step()
    result = torch_ddp.train(
        start, TensorDataset(x, y), loss, SGD, epochs=1, batch_size=5, client=client, device="cpu"
    )
    torch.testing.assert_close(result.state_dict, dict(model.state_dict()), rtol=0, atol=1e-12)


def test_options_of_the_loader_that_choose_rows_are_refused():
    class One:
        rank, size = 0, 1

    loader = Context(One(), CPU).loader(Rows(), batch_size=4, sampler=[1, 2])
    with pytest.raises(ValueError, match="loader: sampler= would choose other rows"):
        next(loader)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize(("n", "batch"), [(41, 10), (40, 10), (10, 10), (13, 12)])
def test_a_smaller_last_batch_can_be_left_out(size, n, batch):
    full = n // batch
    expected = [rows.tolist() for rows in batches(n, batch, seed=5, epoch=1)][:full]
    samplers = [
        ShareSampler(n, batch, rank, size, seed=5, epoch=1, drop_last=True) for rank in range(size)
    ]
    assert {len(list(sampler)) for sampler in samplers} == {full} == {len(s) for s in samplers}
    for i, rows in enumerate(expected):
        parts = [list(sampler)[i][: sampler.rows[i]] for sampler in samplers]
        assert [row for part in parts for row in part] == rows
    in_order = ShareSampler(n, batch, 0, 1, shuffle=False, drop_last=True)
    assert np.concatenate(list(in_order)).tolist() == list(range(full * batch))


def test_a_sampler_and_a_loader_begin_with_the_first_epoch_of_the_first_seed():
    one = SimpleNamespace(rank=0, size=1, timeout=5.0, check=lambda: None, report=lambda _: None)
    context = Context(one, CPU)
    expected = [rows.tolist() for rows in batches(40, 9, seed=0, epoch=0)]
    assert list(ShareSampler(40, 9, 0, 1)) == expected
    assert list(context.sampler(Rows(), batch_size=9)) == expected
    shares = list(context.loader(Rows(), batch_size=9))
    assert [share.data[0].tolist() for share in shares] == [X[rows].tolist() for rows in expected]
    assert [(share.rows, share.total, share.ranks) for share in shares] == [
        (len(rows), len(rows), 1) for rows in expected
    ]


def test_one_row_is_enough_for_any_number_of_ranks_and_none_is_not():
    samplers = [ShareSampler(1, 4, rank, 3) for rank in range(3)]
    assert [(list(s), s.rows, s.totals) for s in samplers] == [
        ([[0]], [rows], [1]) for rows in (1, 0, 0)
    ]
    with pytest.raises(ValueError, match=r"sampler: len\(dataset\) must be .* at least 1, got 0"):
        ShareSampler(0, 4, 0, 3)


def test_leaving_out_the_only_batch_is_refused():
    with pytest.raises(ValueError, match="has 9 rows, so drop_last=True leaves none of a batch of"):
        ShareSampler(9, 10, 0, 2, drop_last=True)
