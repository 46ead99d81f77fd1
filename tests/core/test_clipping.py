"""Clipping by the global norm: PyTorch's factor, and a norm that no cut changes by a bit."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from course_lib import SGD, Adam, fit, mlp
from course_lib.clipping import DIGITS, clip_gradient, norm_of, squares

VECTORS = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e152, 1e152))
NET = mlp([4, 6, 3], hidden="tanh")
RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(30, 4)), RNG.integers(0, 3, 30)
THETA = NET.init(np.random.default_rng(0))
HOW = {"epochs": 3, "batch_size": 7, "seed": 1}


def value(digits):
    """The long number that the digits make, in units of the smallest float."""
    return Fraction(sum(d << (32 * i) for i, d in enumerate(digits[:-1].tolist())), 2**1074)


@given(VECTORS)
def test_the_sum_is_exact(g):
    digits = squares(g)
    assert digits.shape == (DIGITS,) and digits.dtype == np.int64 and digits[-1] == 0
    exact = sum((Fraction(float(v)) for v in g * g), Fraction(0))
    assert value(digits) == exact
    # The root of the nearest 128 bits: half a unit in the last place, twice rounded.
    assert norm_of(digits) == pytest.approx(math.sqrt(exact), rel=3e-16)


@given(VECTORS, st.randoms(use_true_random=False), st.integers(0, 40))
def test_neither_order_nor_cut_changes_it(g, random, cut):
    order = list(range(len(g)))
    random.shuffle(order)
    mixed = g[order]
    parts = squares(mixed[:cut]) + squares(mixed[cut:])
    assert norm_of(parts) == norm_of(squares(g))
    assert value(parts) == value(squares(g))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 3, (1 << 20) + 5])
def test_every_type_and_more_numbers_than_are_added_at_once(dtype, n):
    g = np.full(n, 0.5, dtype)
    assert norm_of(squares(g)) == math.sqrt(0.25 * n)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_what_has_no_square_is_no_norm_and_nothing_is_stepped_along(bad):
    g = np.array([1.0, bad, 2.0])
    digits = squares(g)
    assert digits[-1] == 1 and math.isnan(norm_of(digits))
    clip_gradient(g, 1.0)
    assert np.isnan(g).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", [1e-30, 0.5, 2.0, 2.000_001, 7.0, 1e15])
def test_the_factor_is_that_of_pytorch(dtype, norm):
    torch = pytest.importorskip("torch")
    g = np.random.default_rng(0).normal(size=50).astype(dtype)
    g *= dtype(norm / np.linalg.norm(g))
    parameters = [torch.zeros(k, dtype=torch.from_numpy(g).dtype) for k in (20, 30)]
    for p, at in zip(parameters, (slice(0, 20), slice(20, 50)), strict=True):
        p.grad = torch.from_numpy(g[at].copy())
    torch.nn.utils.clip_grad_norm_(parameters, 2.0)
    theirs = np.concatenate([p.grad.numpy() for p in parameters])
    clip_gradient(g, 2.0)
    # A few roundings: PyTorch's norm is one of the gradient's own type.
    np.testing.assert_allclose(g, theirs, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("clip", [0.05, 0.3, 1e9])
@pytest.mark.parametrize("optimizer", [SGD(0.5, momentum=0.9), Adam(0.05)], ids=repr)
def test_a_whole_training_is_that_of_pytorch(optimizer, clip):
    pytest.importorskip("torch")
    from course_lib.torch_mlp import fit_torch, to_torch

    ours = fit(NET, THETA, optimizer, X, Y, clip=clip, **HOW)
    theirs = fit_torch(to_torch(NET, THETA), optimizer, X, Y, clip=clip, device="cpu", **HOW)
    np.testing.assert_allclose(ours.theta, theirs.theta, rtol=0, atol=1e-10)
    free = fit(NET, THETA, optimizer, X, Y, **HOW)
    assert (ours.theta.tobytes() == free.theta.tobytes()) == (clip == 1e9)


def test_a_short_gradient_keeps_its_bits():
    g = RNG.normal(size=9)
    for clip in (np.linalg.norm(g) + 2e-6, 1e300, None):
        same = g.copy()
        clip_gradient(same, clip)
        assert same.tobytes() == g.tobytes()


@pytest.mark.parametrize("clip", [0, -1.0, np.nan, np.inf, "1", True])
def test_a_limit_that_is_none_is_refused(clip):
    with pytest.raises((ValueError, TypeError), match="fit: clip must be a finite number > 0, got"):
        fit(NET, THETA, SGD(0.1), X, Y, clip=clip, **HOW)
