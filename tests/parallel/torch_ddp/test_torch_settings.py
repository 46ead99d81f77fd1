"""Each argument of ``torch_ddp.train`` belongs to a training, or may change when it goes on."""

from __future__ import annotations

import inspect
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.utils.data import TensorDataset

from course_lib.optimizers import Adam
from course_lib.parallel import torch_ddp
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.strategies import Saving
from course_lib.parallel.torch_ddp import Context
from course_lib.parallel.torch_ddp.group import process_group
from course_lib.parallel.torch_ddp.noise import own_noise
from course_lib.parallel.torch_ddp.plan import Plan, checked, row_numbers
from course_lib.parallel.torch_ddp.rank import train_rank

CPU = torch.device("cpu")
RNG = np.random.default_rng(5)
X, Y = torch.from_numpy(RNG.normal(size=(12, 3))), torch.from_numpy(RNG.integers(0, 2, 12))
LOSS = nn.CrossEntropyLoss(reduction="none")
SGD = partial(torch.optim.SGD, lr=0.1)


def net(width=4):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)).double()


def accuracy(outputs, labels):
    return outputs.argmax(1) == labels


def spread(outputs, labels):
    return outputs.std()


def step(module, inputs, targets):
    return LOSS(module(inputs), targets)


def apart(named):
    named = list(named)
    return [{"params": [p for _, p in named[:2]]}, {"params": [p for _, p in named[2:]]}]


def together(rows):
    return torch.utils.data.default_collate(rows[::-1])


BASE = {
    "module": net, "dataset": TensorDataset(X, Y), "loss": LOSS, "optimizer": SGD, "epochs": 1,
    "batch_size": 4, "validation": TensorDataset(X[:5], Y[:5]), "keep_best": "loss",
    "schedule": partial(StepLR, step_size=2),
}  # fmt: skip

# By argument: other values, and by which name the checkpoint refuses them.
DECIDES = {
    "module": [(partial(net, 5), "module")],
    "dataset": [(TensorDataset(X + 1, Y), "training data")],
    "loss": [(nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1), "loss")],
    "optimizer": [(partial(SGD, momentum=0.9), "optimizer"), (Adam(0.1), "optimizer")],
    "batch_size": [(5, "batch_size")],
    "seed": [(1, "seed")],
    "drop_last": [(True, "drop_last")],
    "draw": [(np.arange(12), "drawing of rows")],
    "weights": [(np.arange(12), "weights of rows")],
    "accumulate": [(2, "accumulate")],
    "groups": [(apart, "optimizer")],
    "schedule": [
        (partial(StepLR, step_size=3), "schedule"),
        (partial(OneCycleLR, max_lr=1.0, total_steps=9), "schedule"),
        (None, "schedule"),
    ],
    "schedule_each": [("epoch", "schedule's pace")],
    "clip": [(1.0, "clip")],
    "precision": [("bfloat16", "precision"), ("float16", "precision")],
    "training_step": [(step, "training step")],
    "validation": [(TensorDataset(X[:4], Y[:4]), "validation data")],
    "metrics": [({"accuracy": accuracy}, "metrics")],
    "set_metrics": [({"spread": spread}, "set_metrics")],
    "keep_best": [("val_loss", "best epoch")],
    "better": [("higher", "best epoch")],
    "loader": [({"collate_fn": together}, "collate_fn")],
    "ddp": [({"bucket_cap_mb": 1}, "options of DDP")],
}

# What may be another when a training goes on: how long, where, and who looks on.
FREE = {
    "epochs", "workers", "client", "among", "device", "stop", "callbacks", "checkpoint", "every",
    "keep", "resume", "max_restarts", "timeout", "on_event", "progress",
}  # fmt: skip


def alone(folder, **options):
    """Train on one rank, in this process."""
    given = {**BASE, **options}
    for name in ("weights", "draw"):
        given[name] = row_numbers(given.get(name), name)
    plan = checked(Plan(**given, saving=Saving(str(folder))))

    def rank(comm):
        with own_noise(CPU), process_group(comm, CPU):
            return train_rank(Context(comm, CPU), plan)

    return run_threads(1, rank, timeout=60)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    alone(path)
    return path


def test_each_argument_decides_or_is_free():
    arguments = set(inspect.signature(torch_ddp.train).parameters)
    assert arguments == set(DECIDES) | FREE
    assert not set(DECIDES) & FREE


@pytest.mark.parametrize(
    ("argument", "value", "name"),
    [(argument, *other) for argument, others in DECIDES.items() for other in others],
)
def test_a_checkpoint_refuses_another_value_by_name(folder, argument, value, name):
    with pytest.raises(CheckpointMismatch, match=f"another training: its {name} is .*, and here"):
        alone(folder, epochs=2, **{argument: value})


def test_the_same_arguments_go_on(folder):
    assert len(alone(folder, epochs=2)["history"]["loss"]) == 2


def test_a_rate_of_ours_that_follows_another_schedule_is_another_training(tmp_path):
    alone(tmp_path, optimizer=Adam(lambda t: 0.1 / (1 + t)), schedule=None)
    with pytest.raises(CheckpointMismatch, match="its learning rate is"):
        alone(tmp_path, optimizer=Adam(lambda t: 0.1 / (1 + 2 * t)), schedule=None, epochs=2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer": Adam(0.1), "groups": apart}, "groups needs an optimizer that takes groups"),
        ({"optimizer": Adam(lambda t: 0.1)}, "both schedule= and the lr of Adam"),
        ({"schedule": None, "schedule_each": "epoch"}, "schedule= must say what"),
        ({"schedule_each": "batch"}, "schedule_each must be 'step' or 'epoch', got 'batch'"),
        ({"accumulate": 0}, "accumulate must be an integer of at least 1"),
        ({"accumulate": 5}, "accumulate=5 cuts a batch of 4 rows in more pieces"),
        ({"clip": 0.0}, "clip must be a finite number > 0"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"weights": [1.0, -1.0]}, "weights must be finite and at least 0"),
        (
            {"weights": np.zeros(12)},
            "weights must be finite and at least 0, and not all of them zero",
        ),
        ({"draw": "rows"}, "draw must be one number per row"),
        ({"validation": None, "metrics": {"a": accuracy}}, "metrics judges held-out rows"),
        ({"validation": None, "set_metrics": {"a": spread}}, "set_metrics judges held-out rows"),
        ({"metrics": {"a": accuracy}, "set_metrics": {"a": spread}}, "would be called 'val_a'"),
        ({"metrics": {"loss": accuracy}}, "two numbers would be called 'val_loss'"),
        ({"keep_best": "val_auc"}, "keep_best must be one of loss, val_loss, got 'val_auc'"),
        ({"keep_best": None, "better": "lower"}, "better= says which values are better"),
        (
            {"metrics": {"f": accuracy}, "keep_best": "val_f"},
            "better must be 'lower' or 'higher', got None",
        ),
        ({"callbacks": [3]}, "each of callbacks must be callable, got int"),
        ({"training_step": lambda module: 0}, r"training_step must be a function of \(module, i"),
        ({"ddp": {"device_ids": [0]}}, r"ddp=\{'device_ids': ...\} is no option that is yours"),
        ({"ddp": {"static_graph": True}, "accumulate": 2}, "accumulate= do not go together"),
        ({"drop_last": 1}, "drop_last must be True or False"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(change, sentence):
    given = BASE | {"client": "tcp://nowhere:1"} | change
    with pytest.raises((TypeError, ValueError), match=sentence):
        torch_ddp.train(**given)


def refused(folder, sentence, **options):
    with pytest.raises(Exception) as e:
        alone(folder, **options)
    assert sentence in str(e.value)


def test_what_only_a_rank_can_see_is_refused_there(tmp_path):
    some = SimpleNamespace(state_dict=dict)
    left_out = "groups leaves out the parameter 0.bias, which would never be trained"
    refused(
        tmp_path, "weights must be one number per row of the dataset, 12, got 3", weights=[1] * 3
    )
    refused(
        tmp_path, "optimizer must make a torch.optim.Optimizer, got Simpl", optimizer=lambda p: some
    )
    refused(
        tmp_path, "schedule must make a learning-rate scheduler", schedule=lambda optimizer: some
    )
    refused(tmp_path, "groups must return a list of dicts", groups=lambda named: dict(named))
    refused(tmp_path, left_out, groups=lambda named: [{"params": [next(iter(named))[1]]}])
    refused(
        tmp_path, "set_metrics['accuracy'] must return one number for all rows, got Tensor",
        set_metrics={"accuracy": accuracy},
    )  # fmt: skip
