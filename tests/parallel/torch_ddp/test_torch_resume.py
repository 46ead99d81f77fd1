"""A torch training that goes on: the same training, in the same folder, to the bit."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from course_lib import EarlyStopping
from course_lib.parallel import torch_ddp
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import CheckpointFailed, CheckpointMismatch, RankFailed
from course_lib.parallel.torch_ddp import Context
from course_lib.parallel.torch_ddp.describe import (
    data_words,
    module_words,
    optimizer_words,
    state_words,
)

CPU = torch.device("cpu")
RNG = np.random.default_rng(11)
X = torch.from_numpy(RNG.normal(size=(60, 4)))
Y = torch.from_numpy(RNG.integers(0, 3, 60))
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def net(width=8, seed=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3)).double()


def accuracy(outputs, labels):
    return outputs.argmax(1) == labels


def recall(outputs, labels):
    return (outputs.argmax(1) == 0)[labels == 0]


class Table(Dataset):
    """No TensorDataset, so its rows have to be read."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], self.y[row]


def half_changed(labels):
    other = labels.clone()
    other[1::2] = (other[1::2] + 1) % 3
    return other


def one_changed(x):
    other = x.clone()
    other[37, 2] += 1e-12
    return other


LOSS = nn.CrossEntropyLoss(reduction="none")
BASE = {
    "module": net, "dataset": TensorDataset(X, Y), "loss": LOSS, "optimizer": SGD, "batch_size": 12,
    "seed": 5, "validation": Table(X[:20], Y[:20]), "metrics": {"accuracy": accuracy}, "epochs": 2,
    "workers": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(client, tmp_path_factory):
    """A folder with a training of two epochs."""
    path = tmp_path_factory.mktemp("run")
    torch_ddp.train(**BASE, client=client, checkpoint=path)
    return path


def smooth(o, t):
    return functional.cross_entropy(o, t, reduction="none", label_smoothing=0.1)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("optimizer", {"optimizer": partial(torch.optim.SGD, lr=0.01, momentum=0.9)}),
        ("optimizer", {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8)}),
        ("optimizer", {"optimizer": partial(SGD, nesterov=True)}),
        ("optimizer", {"optimizer": partial(torch.optim.Adam, lr=0.1)}),
        ("loss", {"loss": smooth}),
        ("loss", {"loss": nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)}),
        ("loss", {"loss": nn.CrossEntropyLoss(torch.ones(3).double(), reduction="none")}),
        ("batch_size", {"batch_size": 13}),
        ("drop_last", {"drop_last": True}),
        ("seed", {"seed": 6}),
        ("module", {"module": partial(net, width=9)}),
        ("module", {"module": lambda: nn.Sequential(*net(), nn.Identity())}),
        ("initial state", {"module": partial(net, seed=4)}),
        ("training data", {"dataset": TensorDataset(X, half_changed(Y))}),
        ("training data", {"dataset": TensorDataset(one_changed(X), Y)}),
        ("training data", {"dataset": lambda: TensorDataset(X[:59], Y[:59])}),
        ("validation data", {"validation": Table(X[:20], half_changed(Y[:20]))}),
        ("validation data", {"validation": None, "metrics": {}}),
        ("metrics", {"metrics": {"accuracy": accuracy, "again": accuracy}}),
        ("metrics", {"metrics": {}}),
    ],
)
def test_another_training_is_refused_and_named(folder, client, what, change):
    with pytest.raises(CheckpointMismatch, match=f"another training: its {what} is .*, and here"):
        torch_ddp.train(**BASE | {"epochs": 3} | change, client=client, checkpoint=folder)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"module": net(), "dataset": lambda: TensorDataset(X, Y), "timeout": 90},
        {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), "workers": 2},
        {"loss": nn.CrossEntropyLoss(reduction="none"), "stop": lambda history: False},
    ],
)
def test_the_same_training_said_in_other_words_goes_on(folder, client, change):
    result = torch_ddp.train(**BASE | change, client=client, checkpoint=folder)
    assert len(result.history["loss"]) == 2


@pytest.mark.parametrize("n", [50, 10_000])
def test_rows_that_have_to_be_read_tell_two_datasets_apart(n):
    x, y = torch.arange(2.0 * n).reshape(n, 2), torch.arange(n) % 3
    base = data_words(Table(x, y))
    assert base == data_words(Table(x.clone(), y.clone()))
    other = x.clone()
    other[1::2] = 7.0
    for changed in (Table(other, y), Table(x, half_changed(y)), Table(x[1:], y[1:])):
        assert data_words(changed) != base
    if n == 50:  # few enough to read them all
        for row in range(n):
            other = x.clone()
            other[row, 1] += 0.5
            assert data_words(Table(other, y)) != base


class Read(Table):
    """Remembers which rows were asked for."""

    def __init__(self, n):
        super().__init__(torch.arange(float(n)), torch.zeros(n))
        self.asked = []

    def __getitem__(self, row):
        self.asked.append(row)
        return super().__getitem__(row)


@pytest.mark.parametrize("n", [50, 10_000])
def test_of_many_rows_4096_different_ones_are_read_in_order_and_the_first_again(n):
    """In order, as files are read fastest; again, to see whether it is drawn anew each time."""
    table = Read(n)
    assert data_words(table).startswith(f"{n} rows, sha256 ")
    *rows, again = table.asked
    assert len(rows) == min(n, 4096) and rows == sorted(set(rows)) and again == rows[0]
    assert n <= 4096 or rows[-1] > 0.9 * n  # not just the first ones


def test_a_tensor_dataset_is_told_by_all_its_tensors_and_one_that_derives_by_its_rows():
    class Shifted(TensorDataset):
        def __getitem__(self, row):
            return tuple(tensor + 1 for tensor in super().__getitem__(row))

    data = [TensorDataset(X, Y), TensorDataset(X + 1, Y), TensorDataset(X, Y + 1), Shifted(X, Y)]
    assert len({data_words(each) for each in data}) == 4
    assert data_words(TensorDataset(X.clone(), Y.clone())) == data_words(data[0])


def test_words_of_modules_and_optimizers_say_what_they_are():
    first, other = net(), net(seed=4)
    assert state_words(first) == state_words(net()) != state_words(other)
    assert module_words(first) == module_words(other) != module_words(net(width=9))
    assert module_words(nn.Linear(2, 1)).startswith("Linear of 3 parameters, sha256 ")
    groups = [{"params": [X]}, {"params": [X + 0], "lr": 0.2, "nesterov": True}]
    numbers = "momentum=0.9, dampening=0, weight_decay=0"
    assert optimizer_words(SGD(groups)) == (
        f"SGD(lr=0.1, {numbers}; lr=0.2, nesterov=True, {numbers})"
    )


class Drawn(Table):
    """Rows with noise from the global generators."""

    def __getitem__(self, row):
        return self.x[row] + np.random.normal() + random.random() + torch.randn(()), self.y[row]


class Counted(Table):
    """Rows that are others each time, whatever the seed."""

    count = 0

    def __getitem__(self, row):
        self.count += 1
        return self.x[row] + self.count, self.y[row]


def test_rows_that_are_drawn_at_random_do_not_make_another_training():
    random.seed(1)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert data_words(Drawn(X, Y)) == data_words(Drawn(X, Y)) != data_words(Drawn(X + 1, Y))
    assert data_words(Counted(X, Y)) == data_words(Counted(X + 1, Y)) == (
        "60 rows of Counted, drawn anew each time"
    )  # fmt: skip
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == state


def test_a_new_stop_decides_anew(client, tmp_path):
    options = BASE | {"client": client, "epochs": 5}
    undisturbed = torch_ddp.train(**options)
    stop = EarlyStopping(patience=1, metric="val_accuracy", better="lower", min_delta=2)
    for _ in range(2):  # the second run would have stopped, too
        first = torch_ddp.train(**options, checkpoint=tmp_path, stop=stop)
        assert len(first.history["loss"]) == 2
    second = torch_ddp.train(**options, checkpoint=tmp_path)
    assert second.history == undisturbed.history
    assert second.digests == undisturbed.digests


class OutOfOrder(nn.Module):
    """Layers that are made in another order than they are used, with noise and statistics."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.last, self.norm = nn.Linear(30, 3), nn.BatchNorm1d(30)
        self.first, self.middle = nn.Linear(4, 50), nn.Linear(50, 30)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = self.middle(torch.tanh(self.first(x.float())))
        return self.last(self.drop(torch.tanh(self.norm(x))))


class Deep(nn.Sequential):
    """More than one bucket of PyTorch's: 1 MB and the rest."""

    def __init__(self):
        torch.manual_seed(2)
        super().__init__(nn.Linear(4, 700), nn.ReLU(), nn.Linear(700, 500), nn.ReLU())
        self.append(nn.Linear(500, 3))

    def forward(self, x):
        return super().forward(x.float())


@pytest.mark.parametrize("module", [OutOfOrder, Deep])
def test_three_ranks_that_go_on_have_the_bits_of_an_undisturbed_run(client, tmp_path, module):
    options = BASE | {"client": client, "module": module, "dataset": Drawn(X, Y), "workers": 3}
    undisturbed = torch_ddp.train(**options | {"epochs": 4})
    assert undisturbed.digests == torch_ddp.train(**options | {"epochs": 4}).digests
    for epochs in (1, 3, 4):
        result = torch_ddp.train(**options | {"epochs": epochs}, checkpoint=tmp_path)
    assert result.digests == undisturbed.digests
    assert result.history == undisturbed.history
    for name, tensor in undisturbed.state_dict.items():
        assert torch.equal(result.state_dict[name], tensor)


def save_and_load(ctx, folder):
    line = nn.Linear(1, 1)
    assert ctx.load(folder, line=line) is None
    ctx.save(folder, step=1, line=line)
    ctx.all_reduce(0)  # rank 0 has written
    return ctx.load(folder, line=line).step


def test_a_relative_folder_is_the_drivers(client, tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    client.run(__import__("os").chdir, elsewhere)
    monkeypatch.chdir(here)
    assert torch_ddp.run(save_and_load, "own", client=client, device="cpu") == [1, 1]
    events = []
    torch_ddp.train(**BASE, client=client, checkpoint="run/a", on_event=events.append)
    torch_ddp.train(**BASE, client=client, checkpoint=here.joinpath("run", "b").relative_to(here))
    assert sorted(p.name for p in here.iterdir()) == ["own", "run"]
    assert sorted(p.name for p in (here / "run").iterdir()) == ["a", "b"]
    assert not list(elsewhere.iterdir())
    told = [event.message for event in events if event.kind == "checkpoint"]
    assert told
    assert all(path.startswith(str(here / "run" / "a")) for path in told)


def draws():
    return random.random(), np.random.random(), torch.rand(()).item()


def remember(ctx, folder, go_on):
    """Draw a number, save each rank's noise, and draw another; or go on with the saved noise."""
    if not go_on:
        ctx.seed(7, 0)
        first = draws()
        noise = {
            "torch": torch.get_rng_state(), "numpy": np.random.get_state(),
            "python": random.getstate(), "rank": ctx.rank, "rng": np.random.default_rng(ctx.rank),
        }  # fmt: skip
        noise["rng"] = noise["rng"].bit_generator.state
        ctx.save(folder, step=1, meta={"a": 1}, own=noise)
        return first, draws()
    step, meta, own = ctx.load(folder)
    assert (step, meta, own["rank"]) == (1, {"a": 1}, ctx.rank)
    version, numbers, gauss = own["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(own["numpy"])
    torch.set_rng_state(own["torch"])
    rng = np.random.default_rng()
    rng.bit_generator.state = own["rng"]
    assert rng.random() == np.random.default_rng(ctx.rank).random()
    return draws()


def test_what_each_rank_has_of_its_own_is_saved_and_given_back(client, tmp_path):
    options = {"client": client, "device": "cpu"}
    before = torch_ddp.run(remember, tmp_path, False, workers=3, **options)
    assert len({number for pair in before for draw in pair for number in draw}) == 18
    after = torch_ddp.run(remember, tmp_path, True, workers=3, **options)
    assert after == [second for _, second in before]
    with pytest.raises(CheckpointMismatch, match=r"written by 3 ranks .*as many, not with 2"):
        torch_ddp.run(remember, tmp_path, True, workers=2, **options)


def test_what_threads_have_of_their_own_is_given_back_to_each_and_only_to_as_many(tmp_path):
    def save(comm):
        own = {"rank": comm.rank, "noise": [X[comm.rank], (comm.rank, None)]}
        own["table"] = np.full(2, comm.rank)
        Context(comm, CPU, str(tmp_path)).save("run", step=4, own=own, line=LINE)

    def load(comm):
        return Context(comm, CPU, str(tmp_path)).load("run", line=nn.Linear(1, 1))

    run_threads(3, save, on_report=(events := []).append)
    [told] = events  # of rank 0
    assert (told["rank"], told["kind"], told["values"]) == (0, "checkpoint", {"step": 4})
    assert Path(told["message"]).parent == tmp_path / "run"
    for rank, (step, meta, own) in enumerate(run_threads(3, load)):
        assert (step, meta, own["rank"], own["noise"][1]) == (4, {}, rank, (rank, None))
        assert torch.equal(own["noise"][0], X[rank])
        assert own["table"].tolist() == [rank, rank]
    with pytest.raises(CheckpointMismatch, match=r"written by 3 ranks .*as many, not with 2") as e:
        run_threads(2, load)
    assert e.value.step == 4
    one = lambda comm: Context(comm, CPU).save(tmp_path / "all", step=5, line=LINE)  # noqa: E731
    run_threads(2, one)
    found = run_threads(3, lambda comm: Context(comm, CPU).load(tmp_path / "all", line=LINE))
    assert found == [(5, {}, None)] * 3


LINE = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("then", "now", "sentence"),
    [
        (torch.optim.SGD, torch.optim.Adam, "SGD as 'part', and here it is Adam"),
        (torch.optim.Adam, torch.optim.SGD, "Adam as 'part', and here it is SGD"),
        (lambda p: nn.Linear(2, 1), lambda p: nn.Linear(3, 1), "a state of another 'part'"),
        (lambda p: nn.Linear(2, 1), lambda p: nn.Sequential(), "a state of another 'part'"),
    ],
)
def test_a_part_of_another_kind_is_refused(tmp_path, then, now, sentence):
    def one(fn):
        return run_threads(2, lambda comm: fn(Context(comm, CPU, str(tmp_path))))

    one(lambda ctx: ctx.save("run", step=4, part=then([X])))
    with pytest.raises(CheckpointMismatch, match=f"step 4 in .*/run has {sentence}"):
        one(lambda ctx: ctx.load("run", part=now([X])))
    assert [found.step for found in one(lambda ctx: ctx.load("run", part=then([X])))] == [4, 4]


def test_what_can_not_be_saved_without_pickle_is_refused(tmp_path):
    def save(comm):
        Context(comm, CPU).save(tmp_path, step=1, own={"a": object()})

    with pytest.raises(RankFailed, match=r"own\.[01]\.a is a object; only tensors, arrays"):
        run_threads(2, save)


@pytest.mark.parametrize("place", ["in a file", "a file"])
def test_a_folder_that_cannot_be_used_is_told_before_the_first_epoch(client, tmp_path, place):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "run" if place == "in a file" else tmp_path / "file"
    heard = []
    with pytest.raises(CheckpointFailed, match=rf"{path} cannot be read as a folder of"):
        torch_ddp.train(**BASE, client=client, checkpoint=path, on_event=heard.append)
    assert heard == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nothing is made")
def test_a_folder_that_cannot_be_made_is_told_before_the_first_epoch(client):
    heard = []
    with pytest.raises(CheckpointFailed, match="no checkpoint could be written to /proc/nothing"):
        torch_ddp.train(**BASE, client=client, checkpoint="/proc/nothing", on_event=heard.append)
    assert heard == []


@pytest.mark.parametrize("folder", ["", None, b"run", 3, "a\0b"])
def test_what_is_no_folder_is_refused(folder):
    sentence = "directory must be the path of a file or folder"
    with pytest.raises(RankFailed, match=f"save: {sentence}"):
        run_threads(1, lambda comm: Context(comm, CPU).save(folder, step=1))
    with pytest.raises(RankFailed, match=f"load: {sentence}"):
        run_threads(1, lambda comm: Context(comm, CPU).load(folder))
    if folder is not None:
        with pytest.raises((TypeError, ValueError), match="train: checkpoint must be the path"):
            torch_ddp.train(**BASE, client="tcp://nowhere:1", checkpoint=folder)
