"""The equations of the chapter on sharded optimizers and memory, as printed."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from course_lib import SGD, Adam, AdamW, mlp
from course_lib.parallel import shard
from course_lib.parallel.collectives import all_gather, all_reduce, reduce_scatter
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import zero_memory

OPTIMIZERS = [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01), AdamW(0.01, weight_decay=0.1)]


@pytest.mark.equation("eq-sharded-memory")
@pytest.mark.parametrize(
    ("optimizer", "vectors"), [(OPTIMIZERS[0], 0), (OPTIMIZERS[1], 1), (Adam(0.01), 2)]
)
@pytest.mark.parametrize("rows", [64, 1000])
def test_memory_is_what_numpy_allocates(optimizer, vectors, rows):
    net, x = mlp([50, 120, 80, 30]), np.zeros((rows, 50))
    per_row = 2 * (120 + 80) + 30
    tracemalloc.start()
    theta = net.init(np.random.default_rng(0))
    kept = optimizer.init(theta), np.empty_like(theta)
    passed = net.forward(theta, x)
    allocated = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept and passed
    # Python's own objects are small change beside the arrays: 2 %.
    printed = 8 * ((1 + 1 + vectors) * net.n_params + per_row * rows)
    assert allocated == pytest.approx(printed, rel=0.02)


@pytest.mark.equation("eq-sharded-stages")
@pytest.mark.parametrize("p", [1, 4, 64])
def test_the_stages_keep_what_is_printed(p):
    n = 64 * 1000  # all these p divide it
    for dtype, w, g, k in ((None, 2, 2, 12), (np.float32, 4, 4, 8), (np.float64, 8, 8, 16)):
        printed = [
            (w + g + k) * n,
            (w + g) * n + k * n / p,
            w * n + (g + k) * n / p,
            (w + g + k) * n / p,
        ]
        assert [zero_memory(n, p, s, dtype=dtype).total for s in range(4)] == printed


@pytest.mark.equation("eq-sharded-slice")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_slice_of_the_step_is_the_step_of_the_slice(optimizer):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=23)
    part = slice(5, 16)
    whole, state = theta, optimizer.init(theta)
    own, mine = theta[part], optimizer.init(theta[part])
    for _ in range(7):
        gradient = rng.normal(size=23)
        whole, state = optimizer.step(whole, gradient, state)
        own, mine = optimizer.step(own, gradient[part], mine)
        np.testing.assert_array_equal(whole[part], own)


@pytest.mark.equation("eq-sharded-bytes")
@pytest.mark.parametrize("p", [1, 2, 3, 4, 6])
def test_a_sharded_step_sends_what_a_ring_all_reduce_sends(p):
    n = 8 * 120

    def step(comm):
        part = reduce_scatter(comm, np.ones(120))
        half = comm.counters.bytes
        all_gather(comm, part)
        return half, comm.counters.bytes

    def ring(comm):
        all_reduce(comm, np.ones(120), "ring")
        return comm.counters.bytes

    half, whole = (p - 1) * n // p, 2 * (p - 1) * n // p
    assert run_threads(p, step) == [(half, whole)] * p
    assert run_threads(p, ring) == [whole] * p


@pytest.mark.equation("eq-sharded-norm")
@pytest.mark.parametrize("p", [1, 3, 4])
def test_squared_norms_of_slices_add_up(p):
    """The oracle is PyTorch's clipping, of the whole vector."""
    torch = pytest.importorskip("torch")
    gradient = np.random.default_rng(1).normal(size=50)

    def clip(comm, limit=2.0):
        own = gradient[shard(50, comm.rank, comm.size)]
        norm = math.sqrt(all_reduce(comm, np.array([own @ own]))[0])
        return own * min(1.0, limit / norm)

    parameter = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    parameter.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_norm_([parameter], 2.0)
    # PyTorch adds 1e-6 to the norm.
    np.testing.assert_allclose(
        np.concatenate(run_threads(p, clip)), parameter.grad.numpy(), rtol=1e-6
    )


@pytest.mark.equation("eq-sharded-stage3")
@pytest.mark.parametrize("p", [2, 4])
def test_gathering_twice_and_scattering_once_is_half_as_much_again(p):
    sizes = [48, 96, 16]  # parameters by layer; p divides each
    n = 8 * sum(sizes)

    def stage_3(comm):
        for _ in ("forward", "backward"):
            for size in sizes:
                all_gather(comm, np.ones(size // comm.size))
        for size in sizes:
            reduce_scatter(comm, np.ones(size))
        return comm.counters.bytes

    printed = 3 * (p - 1) * n // p
    assert run_threads(p, stage_3) == [printed] * p
    assert printed == 1.5 * 2 * (p - 1) / p * n


@pytest.mark.equation("eq-sharded-recompute")
@pytest.mark.parametrize("layers", [1, 7, 16, 100, 101])
@pytest.mark.parametrize("k", [1, 2, 4, 10, 33])
def test_borders_and_one_open_segment_are_all_that_is_kept(layers, k):
    """The oracle plays the two passes through and counts what exists."""
    k = min(k, layers)
    borders = list(range(0, layers, k))
    most = 0
    for first in reversed(borders):
        inside = range(first, min(first + k, layers))
        most = max(most, len(borders) + len(inside))
    assert math.ceil(layers / k) + k == most
    best = min(math.ceil(layers / j) + j for j in range(1, layers + 1))
    assert 2 * math.sqrt(layers) <= best + 1e-9 <= 2 * math.sqrt(layers) + 1.01


@pytest.mark.equation("eq-sharded-bf16")
@pytest.mark.parametrize("e", [-3, 0, 2, 10])
def test_steps_below_half_the_distance_vanish_in_bfloat16(e):
    """The oracle is PyTorch's bfloat16; the sum is exact in float64 before it is rounded."""
    torch = pytest.importorskip("torch")
    for w in 2.0**e * np.array([1, 1 + 5 / 128, 1.5, 2 - 1 / 128]):
        assert float(torch.tensor(w).to(torch.bfloat16)) == w

        def added(step, w=w):
            total = torch.tensor(w, dtype=torch.float64) + step
            return float(total.to(torch.bfloat16))

        assert added(0.999 * 2.0 ** (e - 8)) == w
        assert added(1.001 * 2.0 ** (e - 8)) == w + 2.0 ** (e - 7)
