"""Noise on ranks: the same seed gives the same run, whatever else happens in the process."""

from __future__ import annotations

import logging
import pickle
import random
import threading
import traceback
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
from distributed import Client
from torch import nn
from torch.utils.data import Dataset

from course_lib.parallel import torch_ddp
from course_lib.parallel.comm import run_threads
from course_lib.parallel.torch_ddp import Context
from course_lib.parallel.torch_ddp.noise import own_noise, seed_noise

CPU = torch.device("cpu")
MSE = nn.MSELoss(reduction="none")
SOURCES = {
    "torch": lambda: torch.randn(()).item(),
    "numpy": lambda: float(np.random.normal()),
    "python": lambda: random.gauss(0, 1),
    "python, imported before": random.random,
}


class Noisy(Dataset):
    """Rows with noise from one of the global generators."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return 21

    def __getitem__(self, row):
        x = torch.tensor([row / 21.0]) + SOURCES[self.source]()
        return x, x


def line():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def losses(client, source, seed=1, **options):
    return torch_ddp.train(
        line, partial(Noisy, source), MSE, partial(torch.optim.SGD, lr=0.1), seed=seed,
        client=client, device="cpu", **{"epochs": 3, "batch_size": 5, "workers": 2} | options,
    ).history["loss"]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_seed_draws_the_same_augmentation(client, source):
    first = losses(client, source)
    assert len(set(first)) == 3  # another in each epoch
    assert losses(client, source) == first
    assert losses(client, source, seed=2) != first


def draw_each_epoch(ctx):
    found = []
    for epoch in range(3):
        ctx.seed(4, epoch)
        found += [random.random(), float(np.random.random()), torch.rand(()).item()]
    return found


def test_each_rank_and_epoch_has_other_noise(client):
    ranks = torch_ddp.run(draw_each_epoch, workers=3, client=client, device="cpu")
    assert len({number for rank in ranks for number in rank}) == 27
    assert torch_ddp.run(draw_each_epoch, workers=3, client=client, device="cpu") == ranks


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_the_generators_are_given_back_as_they_were():
    functions = {name: getattr(random, name) for name in random.__all__}
    random.seed(3)
    before = states()
    with own_noise(CPU):
        assert random.getstate() == before[0]
        seed_noise(1, 2)
        drawn = random.random(), np.random.random(), torch.rand(()).item()
        with own_noise(CPU):
            seed_noise(5)
            random.random()
        after = random.random()
    assert states() == before
    assert {name: getattr(random, name) for name in random.__all__} == functions
    # Nor has a test before left any other: these are methods of Python's own generator.
    assert {random.random.__self__, random.gauss.__self__, random.seed.__self__} == {random._inst}
    with own_noise(CPU):
        seed_noise(1, 2)
        assert drawn == (random.random(), np.random.random(), torch.rand(()).item())
        assert random.random() == after


def test_a_seed_for_each_row_and_step_writes_no_traceback(monkeypatch):
    """``torch.manual_seed`` does, for each kind of device that is not there: it takes longest."""
    written, format_stack = [], traceback.format_stack

    def counted(*arguments):
        written.append(1)
        return format_stack(*arguments)

    monkeypatch.setattr(traceback, "format_stack", counted)
    torch.manual_seed(1)
    assert written, "PyTorch does it no more: neither has this test a reason"
    written.clear()
    seed_noise(1)
    assert not written


def test_another_thread_does_not_draw_from_a_ranks_noise():
    def elsewhere(fn):
        found = []
        thread = threading.Thread(target=lambda: found.append(fn()))
        thread.start()
        thread.join()
        return found[0]

    imported_before, draws = random.random, random.Random(9)
    with own_noise(CPU):
        random.seed(9)
        for draw in (random.random, imported_before):
            elsewhere(lambda: (random.random(), random.sample(range(9), 3), random.seed(1)))
            assert draw() == draws.random()
        assert pickle.loads(pickle.dumps(random.random)) is random.random


@pytest.mark.parametrize("source", SOURCES)
def test_the_processes_of_a_loader_draw_the_same_noise(source):
    def epoch(seed):
        def read(comm):
            ctx = Context(comm, CPU)
            with own_noise(CPU):
                ctx.seed(seed, 0)
                shares = ctx.loader(Noisy(source), batch_size=5, num_workers=2)
                return torch.cat([share.data[0] for share in shares])[:, 0].tolist()

        return run_threads(1, read, timeout=60)[0]

    first = epoch(1)
    assert len(set(first)) == 21
    assert epoch(1) == first
    assert epoch(2) != first


def test_pytorch_computes_with_the_threads_of_the_worker(client):
    before = torch.get_num_threads()
    with Client(
        processes=False, n_workers=1, threads_per_worker=before + 2, dashboard_address=None,
        silence_logs=logging.CRITICAL, set_as_default=False,
    ) as own:  # fmt: skip
        options = {"workers": 1, "client": own, "device": "cpu"}
        assert torch_ddp.run(lambda ctx: torch.get_num_threads(), **options) == [before + 2]
        result = torch_ddp.train(
            line, Noisy("torch"), MSE, partial(torch.optim.SGD, lr=0.1), epochs=1, batch_size=7,
            **options,
        )  # fmt: skip
        assert result.threads == (before + 2,)
    assert torch.get_num_threads() == before
    result = torch_ddp.train(
        line, Noisy("torch"), MSE, partial(torch.optim.SGD, lr=0.1), epochs=1, batch_size=7,
        workers=2, client=client, device="cpu",
    )  # fmt: skip
    assert result.threads == (1, 1)
