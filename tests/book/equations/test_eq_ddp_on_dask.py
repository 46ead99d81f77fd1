"""The equations of the chapter on PyTorch DDP on Dask, as printed."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("distributed")

from torch import nn  # noqa: E402
from torch.utils.data import DistributedSampler, TensorDataset  # noqa: E402

from course_lib.parallel import torch_ddp  # noqa: E402
from course_lib.parallel.cost import AlphaBeta, traffic  # noqa: E402
from course_lib.parallel.torch_ddp import ShareSampler  # noqa: E402
from course_lib.parallel.torch_ddp.sampler import Share  # noqa: E402

_LOSS = nn.MSELoss(reduction="none")
# Double precision; the sums are taken in another order, nothing else.
_ROUNDING = {"rtol": 1e-12, "atol": 1e-14}


def _flat(module):
    return torch.cat([p.grad.reshape(-1) for p in module.parameters()]).numpy()


def _gradients(ctx, module, x, y, cut):
    """Return DDP's gradients: of the mean of a rank's rows, and of p/N times their sum."""
    mine = slice(0, cut) if ctx.rank == 0 else slice(cut, None)
    found = []
    for scaled in (False, True):
        model = ctx.wrap(copy.deepcopy(module))
        losses = _LOSS(model(x[mine]), y[mine]).mean(1)
        (ctx.scale(losses.sum(), len(x)) if scaled else losses.mean()).backward()
        found.append(_flat(model))
    return found


@pytest.mark.equation("eq-ddp-average", "eq-ddp-scale")
def test_ddp_averages_over_ranks_and_the_factor_makes_it_the_global_mean():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(7, 4).double(), torch.randn(7, 3).double()

    def gradient(rows, weight):
        """Return the serial gradient of a weight times the sum of the losses of some rows."""
        one = copy.deepcopy(module)
        (weight * _LOSS(one(x[rows]), y[rows]).mean(1).sum()).backward()
        return _flat(one)

    by_rank = torch_ddp.run(_gradients, module, x, y, 5, workers=2, device="cpu")
    average = (gradient(slice(0, 5), 1 / 5) + gradient(slice(5, 7), 1 / 2)) / 2
    whole = gradient(slice(0, 7), 1 / 7)
    for means, scaled in by_rank:
        np.testing.assert_allclose(means, average, **_ROUNDING)
        np.testing.assert_allclose(scaled, whole, **_ROUNDING)
    assert not np.allclose(average, whole, rtol=1e-3)


@pytest.mark.equation("eq-ddp-scale")
def test_a_share_uses_the_printed_factor():
    for rows, total, ranks in ((3, 8, 2), (1, 5, 4)):
        share = Share(None, rows=rows, total=total, ranks=ranks)
        assert share.mean(torch.tensor(6.0)).item() == pytest.approx(6.0 * ranks / total)


@pytest.mark.equation("eq-ddp-overlap")
def test_buckets_that_go_one_after_another():
    """Played through in small steps of time, against the recurrence with the package's cost."""
    channel = AlphaBeta(alpha=2.0, beta=0.5)
    ready, sizes = [3, 4, 30, 31], [16, 8, 24, 8]
    done, end = [], 0.0
    for r, n in zip(ready, sizes, strict=True):
        end = max(end, r) + channel.all_reduce(4, n, "ring")
        done.append(end)
    # Oracle: one server that takes the next bucket in order as soon as it is ready and idle.
    clock, busy, waiting, finished = 0.0, 0.0, list(range(4)), []
    while len(finished) < 4:
        if waiting and busy <= 1e-9 and ready[waiting[0]] <= clock + 1e-9:
            n = sizes[waiting.pop(0)]
            busy = 2 * 3 * 2.0 + 2 * 3 / 4 * n * 0.5  # 2 (p - 1) messages, 2 (p - 1) / p of n
        clock += 0.5
        if busy > 1e-9:
            busy -= 0.5
            if busy <= 1e-9:
                finished.append(clock)
    assert done == pytest.approx(finished)


@pytest.mark.equation("eq-ddp-padding")
@pytest.mark.parametrize(("n", "p"), [(10, 4), (1001, 8), (12, 4), (3, 2)])
def test_how_many_rows_a_distributed_sampler_repeats(n, p):
    data = TensorDataset(torch.zeros(n))
    taken = [row for rank in range(p) for row in DistributedSampler(data, p, rank)]
    assert len(taken) - n == p * -(-n // p) - n == -n % p
    assert set(taken) == set(range(n))
    ours = [
        row
        for rank in range(p)
        for batch, rows in zip(
            ShareSampler(n, 4, rank, p), ShareSampler(n, 4, rank, p).rows, strict=True
        )
        for row in batch[:rows]
    ]
    assert sorted(ours) == list(range(n))


@pytest.mark.equation("eq-ddp-batchnorm")
def test_the_variance_of_a_batch_from_its_shards():
    x = torch.from_numpy(np.random.default_rng(0).normal(2.0, 3.0, size=(11, 1)))
    layer = nn.BatchNorm1d(1, momentum=1.0).double()
    layer(x)  # with momentum 1 the running statistics are those of this batch, unbiased
    shards = (x[:7].numpy(), x[7:].numpy())
    mu = sum(len(s) / 11 * s.mean() for s in shards)
    variance = sum(len(s) / 11 * (s.var() + (s.mean() - mu) ** 2) for s in shards)
    assert mu == pytest.approx(layer.running_mean.item(), rel=1e-12)
    assert variance * 11 / 10 == pytest.approx(layer.running_var.item(), rel=1e-12)


@pytest.mark.equation("eq-ddp-floor")
@pytest.mark.parametrize("p", [1, 2, 8])
def test_the_floor_of_an_all_reduce(p):
    n, speed = 4e8, 1.25e9
    floor = 2 * (p - 1) / p * n / speed
    assert AlphaBeta(0.0, 1 / speed).all_reduce(p, n, "ring") == pytest.approx(floor)
    # Each rank sends that many bytes, and latency only adds to it.
    assert [rank.bytes / speed for rank in traffic(p, n, "ring")] == pytest.approx([floor] * p)
    assert AlphaBeta(1e-4, 1 / speed).all_reduce(p, n, "ring") >= floor
