"""Initialisers: mean and variance as the formulas say, no two draws alike, bad input refused."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import weights

# fan_in 300, fan_out 400: 120,000 samples, so that the standard error of a variance is
# sqrt(2 / 120000) = 0.4 % and a tolerance of 2 % is five of them.
FAN_IN, FAN_OUT = 300, 400
VARIANCE = {
    "zeros": 0.0,
    "normal": 0.01**2,
    "uniform": 1 / (3 * FAN_IN),
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "he_normal": 2 / FAN_IN,
    "he_uniform": 2 / FAN_IN,
    "orthogonal": 1 / FAN_OUT,
}
RANDOM = [name for name in weights.ALL if name != "zeros"]


def test_the_table_covers_every_initialiser():
    assert VARIANCE.keys() == weights.ALL.keys()


@pytest.mark.parametrize("name", weights.ALL)
def test_mean_is_zero_and_variance_is_the_formula(name):
    w = weights.get(name)(np.random.default_rng(3), FAN_IN, FAN_OUT)
    assert w.shape == (FAN_IN, FAN_OUT) and w.dtype == np.float64 and w.flags.c_contiguous
    assert abs(w.mean()) <= 5 * np.sqrt(VARIANCE[name] / w.size)
    assert w.var() == pytest.approx(VARIANCE[name], rel=0.02)


@pytest.mark.parametrize("name", ["uniform", "glorot_uniform", "he_uniform"])
def test_uniform_draws_fill_their_interval_and_never_leave_it(name):
    w = weights.get(name)(np.random.default_rng(4), FAN_IN, FAN_OUT)
    limit = np.sqrt(3 * VARIANCE[name])
    assert np.abs(w).max() <= limit
    assert np.abs(w).max() > 0.999 * limit  # 120,000 samples: missed with probability e^-120
    # Kolmogorov-Smirnov distance to the uniform distribution; 1.95 / sqrt(n) is its 0.1 % point.
    ranks = (np.arange(w.size) + 0.5) / w.size
    assert np.abs(np.sort(w.ravel()) / (2 * limit) + 0.5 - ranks).max() < 1.95 / np.sqrt(w.size)


@pytest.mark.parametrize("name", RANDOM)
def test_two_draws_of_one_shape_differ_and_the_same_seed_gives_the_same(name):
    draw = weights.get(name)
    rng = np.random.default_rng(5)
    first, second = draw(rng, 7, 4), draw(rng, 7, 4)
    assert not np.any(first == second)
    np.testing.assert_array_equal(first, draw(np.random.default_rng(5), 7, 4))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 3), (3, 1)])
@pytest.mark.parametrize("gain", [1.0, np.sqrt(2)])
def test_orthogonal_has_orthonormal_columns_or_rows(shape, gain):
    w = weights.orthogonal(np.random.default_rng(6), *shape, gain=gain)
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(shape)), atol=1e-14)


def test_orthogonal_draws_both_signs_of_the_determinant_and_of_each_entry_equally():
    # Without the sign correction every q[0, 0] has one sign (Householder QR): 400 draws, 5 sigma.
    rng = np.random.default_rng(7)
    draws = np.array([weights.orthogonal(rng, 3, 3) for _ in range(400)])
    assert abs((draws[:, 0, 0] > 0).mean() - 0.5) < 5 * 0.5 / 20
    assert abs((np.linalg.det(draws) > 0).mean() - 0.5) < 5 * 0.5 / 20


def test_he_keeps_the_signal_through_fifty_relu_layers_and_small_normal_loses_it():
    rng = np.random.default_rng(8)
    sizes = {}
    for name in ("he_normal", "glorot_normal", "normal"):
        a = rng.standard_normal((32, 256))
        for _ in range(50):
            a = np.maximum(a @ weights.get(name)(rng, 256, 256), 0)
        sizes[name] = np.mean(a**2)
    assert 0.01 < sizes["he_normal"] < 100
    assert sizes["glorot_normal"] < 1e-10  # (1/2)^50 is 9e-16
    assert sizes["normal"] < 1e-80


def test_parameters_of_normal_uniform_and_orthogonal_are_used():
    rng = np.random.default_rng(9)
    assert weights.normal(rng, 300, 400, std=2.0).std() == pytest.approx(2, rel=0.01)
    assert np.abs(weights.uniform(rng, 300, 400, limit=3.0)).max() == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("name", weights.ALL)
@pytest.mark.parametrize("fans", [(0, 3), (3, -1), (True, 3)])
def test_sizes_below_one_are_refused(name, fans):
    with pytest.raises(ValueError, match=f"{name}: fan_.* integer of at least 1, got"):
        weights.get(name)(np.random.default_rng(0), *fans)


@pytest.mark.parametrize("name", weights.ALL)
def test_wrong_types_are_refused_with_the_remedy(name):
    draw = weights.get(name)
    with pytest.raises(TypeError, match=f"{name}: rng .* pass np.random.default_rng\\(seed\\)"):
        draw(0, 3, 4)
    with pytest.raises(TypeError, match="fan_out must be an integer of at least 1, got 4"):
        draw(np.random.default_rng(0), 3, 4.0)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
@pytest.mark.parametrize(
    ("name", "keyword"), [("normal", "std"), ("uniform", "limit"), ("orthogonal", "gain")]
)
def test_scale_must_be_positive_and_finite(name, keyword, value):
    with pytest.raises(ValueError, match=f"{name}: {keyword} must be a finite number > 0"):
        weights.get(name)(np.random.default_rng(0), 3, 4, **{keyword: value})


def test_a_misspelt_name_gets_a_suggestion_and_a_function_passes_through():
    with pytest.raises(ValueError, match=r"'he_norml'; did you mean 'he_normal'\? Known: zeros"):
        weights.get("he_norml")
    assert weights.get(weights.orthogonal) is weights.orthogonal
