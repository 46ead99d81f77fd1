"""DistributedDataParallel on Dask workers: one process's result, and an end to every failure."""

from __future__ import annotations

import os
import signal
import socket
import time
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.utils.data import IterableDataset, TensorDataset

from course_lib import SGD, fit, mlp
from course_lib.data import batches
from course_lib.parallel import Event, torch_ddp
from course_lib.parallel.channels.devices import choose_devices
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import (
    CheckpointMismatch,
    CommTimeout,
    ParallelError,
    RankFailed,
    WorkerLost,
)
from course_lib.parallel.torch_ddp import Context, ShareSampler
from course_lib.parallel.torch_ddp.checkpoint import from_arrays, to_arrays
from course_lib.parallel.torch_ddp.given import row_values
from course_lib.parallel.torch_ddp.group import cut, open_sockets
from course_lib.torch_mlp import from_torch, to_torch
from tests.patience import patient

N, BATCH = 41, 10  # the last batch has one row: shares of 4, 3, 3 rows, and of 1, 0, 0
RNG = np.random.default_rng(7)
IMAGES = torch.from_numpy(RNG.normal(size=(N, 1, 6, 6)))
LABELS = torch.from_numpy(RNG.integers(0, 3, N))
DATA = TensorDataset(IMAGES, LABELS)
ROW_LOSS = nn.CrossEntropyLoss(reduction="none")


class SmallCNN(nn.Module):
    """A module that this package knows nothing of."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.decision = nn.Linear(4 * 16, 3)

    def forward(self, x):
        return self.decision(torch.tanh(self.convolution(x)).flatten(1))


def cnn():
    torch.manual_seed(3)
    return SmallCNN().double()


def serial(epochs, optimizer):
    """Train as anybody would with PyTorch and one process; the history of the loss, too."""
    model, losses = cnn(), []
    steps = optimizer(model.parameters())
    for epoch in range(epochs):
        total = 0.0
        for rows in batches(N, BATCH, seed=5, epoch=epoch):
            steps.zero_grad()
            loss = functional.cross_entropy(model(IMAGES[rows]), LABELS[rows])
            loss.backward()
            steps.step()
            total += loss.item() * len(rows)
        losses.append(total / N)
    return model.state_dict(), losses


ADAM = partial(torch.optim.Adam, lr=0.01)


def train_cnn(client, workers=2, epochs=3, **options):
    options = {"timeout": 40, "device": "cpu", **options}
    return torch_ddp.train(
        cnn, DATA, ROW_LOSS, ADAM, epochs=epochs, batch_size=BATCH, seed=5, workers=workers,
        client=client, **options,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_training_a_module_on_p_workers_is_training_it_in_one_process(client, workers):
    weights, losses = serial(3, ADAM)
    result = train_cnn(client, workers)
    assert result.replicas_identical
    assert len(result.digests) == workers
    assert result.restarts == 0
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-10)
    assert result.state_dict.keys() == weights.keys()
    for name, expected in weights.items():
        # Adam divides by the root of tiny numbers; rounding grows with it.
        torch.testing.assert_close(result.state_dict[name], expected, rtol=1e-10, atol=1e-10)


def test_it_is_our_own_training_as_well(client):
    net = mlp([7, 6, 3], hidden="tanh")
    x, y = RNG.normal(size=(N, 7)), RNG.integers(0, 3, N)
    theta = net.init(np.random.default_rng(0))
    held_out = (x[:13], y[:13])
    reference = fit(
        net, theta, SGD(0.1, momentum=0.9), x, y, epochs=3, batch_size=BATCH, seed=5,
        validation=held_out,
    )  # fmt: skip
    tensors = [
        TensorDataset(torch.from_numpy(a), torch.from_numpy(b)) for a, b in [(x, y), held_out]
    ]
    result = torch_ddp.train(
        to_torch(net, theta), tensors[0], ROW_LOSS,
        partial(torch.optim.SGD, lr=0.1, momentum=0.9), epochs=3, batch_size=BATCH, seed=5,
        workers=3, client=client, device="cpu", validation=tensors[1],
        metrics={"accuracy": lambda outputs, labels: outputs.argmax(1) == labels},
    )  # fmt: skip
    twin = to_torch(net, theta)
    twin.load_state_dict(result.state_dict)
    np.testing.assert_allclose(from_torch(twin), reference.theta, rtol=0, atol=1e-10)
    for name, values in result.history.items():
        np.testing.assert_allclose(values, reference.history[name], rtol=1e-10)
    assert set(result.history) == {"loss", "val_loss", "val_accuracy"}


def gradient(ctx, naive):
    model = ctx.wrap(cnn())
    for share in ctx.loader(DATA, batch_size=N, shuffle=False):
        x, y = share.data
        if naive:
            functional.cross_entropy(model(x), y).backward()
        else:
            share.mean(functional.cross_entropy(model(x), y, reduction="sum")).backward()
    return model.module.decision.weight.grad


def test_means_of_unequal_shares_are_the_classic_mistake_and_the_scaled_sums_are_right(client):
    model = cnn()
    functional.cross_entropy(model(IMAGES), LABELS).backward()
    expected = model.decision.weight.grad
    right, wrong = (
        torch_ddp.run(gradient, naive, workers=2, client=client, device="cpu")
        for naive in (False, True)
    )
    for got in right:
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)
    assert (wrong[0] - expected).abs().max() > 1e-4  # shares of 21 and 20 rows


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_every_row_is_in_one_share_of_its_global_batch(size):
    for epoch in range(2):
        samplers = [ShareSampler(N, BATCH, rank, size, seed=5) for rank in range(size)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        assert {len(sampler) for sampler in samplers} == {5}
        for i, rows in enumerate(batches(N, BATCH, seed=5, epoch=epoch)):
            parts = [list(sampler)[i][: sampler.rows[i]] for sampler in samplers]
            assert [row for part in parts for row in part] == rows.tolist()
            assert samplers[0].totals[i] == len(rows)


def test_each_epoch_is_told_once_as_by_the_other_training(client):
    events = []
    result = train_cnn(client, 3, epochs=2, on_event=events.append)
    metrics = [e for e in events if e.kind == "metric"]
    assert [(type(e), e.epoch, e.step) for e in metrics] == [(Event, 0, 5), (Event, 1, 10)]
    assert [e.metrics for e in metrics] == [{"loss": loss} for loss in result.history["loss"]]


def look(ctx):
    for _ in ctx.loader(DATA, batch_size=BATCH):
        pass


def test_signs_of_life_of_every_rank_arrive(client):
    events = []
    torch_ddp.run(look, workers=3, client=client, device="cpu", on_event=events.append)
    assert {e.rank for e in events if e.kind == "progress"} == {0, 1, 2}


def test_a_training_that_goes_on_from_a_checkpoint_has_the_bits_of_an_undisturbed_one(
    client, tmp_path
):
    events = []
    undisturbed = train_cnn(client, 2, epochs=4)
    first = train_cnn(client, 2, epochs=2, checkpoint=tmp_path, on_event=events.append)
    assert [e.step for e in events if e.kind == "checkpoint"] == [5, 10]
    assert not list(tmp_path.glob("*.p*"))  # safetensors and JSON only
    second = train_cnn(client, 2, epochs=4, checkpoint=tmp_path)
    assert first.digests != second.digests == undisturbed.digests
    assert second.history == undisturbed.history
    assert second.optimizer_state["param_groups"][0]["lr"] == 0.01
    with pytest.raises(CheckpointMismatch, match=r"its batch_size is 10, and here it is 7\."):
        torch_ddp.train(
            cnn, DATA, ROW_LOSS, ADAM, epochs=4, batch_size=7, seed=5, client=client,
            device="cpu", checkpoint=tmp_path,
        )  # fmt: skip


def kill_once(mark, history):
    """Kill rank 0's worker after the second epoch, the first time that it comes there."""
    if len(history["loss"]) == 2 and dist.get_rank() == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return False


def test_a_worker_killed_in_training_costs_time_and_no_bit(client, tmp_path):
    events = []
    result = train_cnn(
        client, 3, epochs=4, checkpoint=tmp_path / "run", on_event=events.append,
        stop=partial(kill_once, tmp_path / "mark"),
    )  # fmt: skip
    assert result.restarts == 1
    assert [e.step for e in events if e.kind == "restart"] == [5]  # the end of the first epoch
    assert result.digests == train_cnn(client, 3, epochs=4).digests


def test_all_ranks_stop_at_the_same_epoch(client):
    result = train_cnn(client, 2, epochs=9, stop=lambda history: len(history["loss"]) == 3)
    assert len(result.history["loss"]) == 3


def endless(ctx, victim, how):
    """Train until rank `victim` fails, while the others are inside backward()."""
    model = ctx.wrap(cnn())
    for ctx.comm.step in range(10_000):
        if ctx.comm.step == 5 and ctx.rank == victim:
            ctx.report(how=how)
            if how == "raise":
                raise KeyError("no such row")
            os.kill(os.getpid(), signal.SIGKILL)
        model(IMAGES).sum().backward()


def usable(client):
    ranks = torch_ddp.run(lambda ctx: ctx.all_reduce(1), workers=3, client=client, device="cpu")
    return ranks == [3, 3, 3]


@pytest.mark.parametrize("victim", [0, 2])
def test_a_rank_that_raises_is_the_cause_and_the_others_are_stopped(client, victim):
    told = []
    with pytest.raises(RankFailed, match=f"rank {victim} on .* failed in step 5: KeyError") as e:
        torch_ddp.run(
            endless, victim, "raise", workers=3, client=client, device="cpu",
            on_event=lambda event: told.append(time.monotonic()),
        )  # fmt: skip
    assert time.monotonic() - told[0] < patient(8)  # of a timeout of 60
    assert not e.value.stuck
    assert usable(client)


@pytest.mark.parametrize("victim", [0, 2])
def test_a_worker_that_is_killed_is_named_and_the_cluster_goes_on(client, victim):
    client.wait_for_workers(3, timeout=60)
    address = sorted(client.nthreads())[victim]
    with pytest.raises(WorkerLost, match=address) as e:
        torch_ddp.run(endless, victim, "kill", workers=3, client=client, device="cpu")
    assert e.value.rank == victim
    assert not e.value.stuck
    assert usable(client)


def leave_early(ctx):
    if ctx.rank == 0:
        ctx.all_reduce(1)


def test_ranks_that_do_not_do_the_same_time_out_with_a_sentence(client):
    assert usable(client)  # and PyTorch is imported, which may take longer than the timeout
    with pytest.raises(CommTimeout, match=r"rank 0 waited 8 s for the others inside PyTorch"):
        torch_ddp.run(leave_early, workers=2, client=client, device="cpu", timeout=8)
    assert usable(client)


def surroundings(ctx):
    inside = dist.is_initialized(), dist.get_world_size(), dist.get_backend()
    return inside, dict(os.environ), str(ctx.device)


def test_a_run_leaves_no_group_and_no_variable_behind(client):
    before = client.run(lambda: dict(os.environ))
    inside = torch_ddp.run(surroundings, workers=3, client=client, device="cpu")
    assert [r[0] for r in inside] == [(True, 3, "gloo")] * 3
    assert not any("MASTER_ADDR" in r[1] or "GLOO_SOCKET_IFNAME" in r[1] for r in inside)
    assert client.run(lambda: dict(os.environ)) == before
    assert not any(client.run(dist.is_initialized).values())


def use_everything(ctx, folder):
    assert ctx.all_reduce(ctx.rank, "max") == 1
    assert ctx.all_reduce(torch.ones(2)).tolist() == [2, 2]
    assert ctx.any(ctx.rank == 1)
    assert not ctx.any(False)
    assert ctx.scale(torch.tensor(6.0), 3) == 4
    model = ctx.wrap(nn.Linear(2, 1))  # other weights on each rank before
    same = ctx.all_reduce(model.module.weight, "max") == ctx.all_reduce(model.module.weight, "min")
    assert same.all()
    assert ctx.load(folder, model=model) is None
    ctx.save(folder, step=3, meta={"a": 1}, model=model)
    other = nn.Linear(2, 1)
    assert ctx.load(folder, model=other) == (3, {"a": 1}, None)
    assert torch.equal(other.weight, model.module.weight)
    ctx.report(loss=torch.tensor(0.5), name="x", count=np.int64(3))


def test_what_a_rank_is_given(client, tmp_path):
    events = []
    torch_ddp.run(use_everything, tmp_path, client=client, device="cpu", on_event=events.append)
    values = {"loss": 0.5, "name": "x", "count": 3}
    metrics = sorted(e for e in events if e.kind == "metric")
    assert metrics == [(0, "metric", values, ""), (1, "metric", values, "")]
    with pytest.raises(CheckpointMismatch, match=r"step 3 in .* has no part 'scheduler', only mod"):
        torch_ddp.run(
            lambda ctx: ctx.load(tmp_path, scheduler=None), workers=1, client=client, device="cpu"
        )


def test_processes_of_a_loader_are_refused_where_dask_would_not_let_them_start(client):
    with pytest.raises(ParallelError, match=r"num_workers=2 .*'distributed.worker.daemon': False"):
        train_cnn(client, 2, loader={"num_workers": 2})


def test_a_mean_is_not_a_loss_per_row():
    with pytest.raises(ValueError, match=r"shape \(41,\), got \(\) for .*choose reduction='none'"):
        row_values(nn.CrossEntropyLoss(), cnn()(IMAGES), LABELS, N, "loss")


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(3)


def test_a_stream_can_not_be_shared_by_rows():
    def fn(comm):
        Context(comm, torch.device("cpu")).sampler(Stream(), batch_size=2)

    with pytest.raises(RankFailed, match="Stream has no length or no rows to choose from"):
        run_threads(1, fn)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ([[], []], None),
        ([["a", "b"], ["a", "b"]], [0, 1]),
        ([["a"], ["b"]], [0, 0]),
        ([["a", "b"], ["b", "a"]], [0, 0]),
        ([["a", "b"], ["c", "d"], ["a", "b"]], [0, 0, 1]),
    ],
)
def test_each_rank_has_a_gpu_of_its_own(visible, expected):
    assert choose_devices(visible) == expected


@pytest.mark.parametrize("visible", [[["a"], []], [["a"], ["a"]]])
def test_a_gang_of_gpus_and_processors_is_refused(visible):
    with pytest.raises(ParallelError, match=r"1 of 2 ranks have a GPU of .*rank\(s\) 1 have none"):
        choose_devices(visible)


def test_gpus_that_are_not_there_are_refused():
    with pytest.raises(ParallelError, match=r"0 of 2 ranks have a GPU"):
        choose_devices([[], []], "cuda")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        torch_ddp.run(print, device="gpu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_a_state_comes_back_from_arrays_with_its_types(dtype):
    state = {0: [torch.ones(2, 3, dtype=dtype), torch.ones((), dtype=dtype)], "a": (1, None, "b")}
    back = from_arrays(*to_arrays("x", state))
    assert back["a"] == state["a"]
    assert [t.dtype for t in back[0]] == [dtype, dtype]
    assert all(map(torch.equal, back[0], state[0]))
    with pytest.raises(TypeError, match=r"x.model is a Linear; only tensors, arrays, num"):
        to_arrays("x", {"model": nn.Linear(1, 1)})


def test_only_connections_that_python_does_not_know_are_cut():
    here, there = socket.socketpair()
    known = here.fileno()
    assert known not in open_sockets()
    unknown = here.detach()
    found = open_sockets()
    assert unknown in found
    os.close(unknown)
    again, peer = socket.socketpair()
    cut(found)  # the number may be another connection's by now, which must survive
    again.send(b"x")
    assert peer.recv(1) == b"x"
    for thing in (there, again, peer):
        thing.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_one_rank_on_a_gpu_is_one_process():
    weights, losses = serial(3, ADAM)
    result = train_cnn(None, 1, device="cuda")
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-9)
    for name, expected in weights.items():
        torch.testing.assert_close(result.state_dict[name], expected, rtol=1e-8, atol=1e-8)
    assert torch_ddp.run(surroundings, workers=1)[0][0] == (True, 1, "nccl")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_ranks_on_two_gpus_are_one_process():
    _, losses = serial(3, ADAM)
    result = train_cnn(None, 2, device="cuda")
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-9)
    assert result.replicas_identical
