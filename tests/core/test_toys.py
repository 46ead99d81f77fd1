"""Toy data: the noiseless points lie on the curves of the formula; no line separates them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from course_lib import data


def test_moons_without_noise_lie_on_two_half_circles():
    x, y = data.two_moons(501, noise=0.0, rng=np.random.default_rng(0))
    centre = np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
    np.testing.assert_allclose(np.linalg.norm(x - centre, axis=1), 1, rtol=1e-12)
    assert np.all(x[y == 0, 1] >= 0) and np.all(x[y == 1, 1] <= 0.5)


def test_moons_are_those_of_scikit_learn():
    x, y = data.two_moons(2000, noise=0.1, rng=np.random.default_rng(1))
    judge = KNeighborsClassifier(5).fit(*make_moons(2000, noise=0.1, random_state=0))
    assert judge.score(x, y) > 0.99


def test_spirals_without_noise_turn_by_four_radians():
    x, y = data.spirals(600, classes=3, noise=0.0, rng=np.random.default_rng(2))
    radius = np.linalg.norm(x, axis=1)
    assert 0.2 <= radius.min() and radius.max() <= 2
    turned = np.arctan2(x[:, 1], x[:, 0]) - 2 * radius - 2 * np.pi * y / 3
    np.testing.assert_allclose(np.exp(1j * turned), 1, atol=1e-12)


@pytest.mark.parametrize("make", [data.two_moons, data.spirals])
def test_a_line_fails_where_neighbours_succeed(make):
    rng = np.random.default_rng(3)
    x, y = make(1000, rng=rng)
    x_test, y_test = make(1000, rng=rng)
    neighbours = KNeighborsClassifier(5).fit(x, y).score(x_test, y_test)
    assert neighbours > 0.95
    assert LogisticRegression().fit(x, y).score(x_test, y_test) < neighbours - 0.08


@pytest.mark.parametrize("make", [data.two_moons, data.spirals])
def test_classes_are_equal_shuffled_and_the_generator_decides(make):
    x, y = make(301, rng=np.random.default_rng(4))
    x2, y2 = make(301, rng=np.random.default_rng(4))
    np.testing.assert_array_equal(x, x2)
    np.testing.assert_array_equal(y, y2)
    assert np.ptp(np.bincount(y)) <= 1
    assert x.dtype == np.float64 and y.dtype == np.int64 and x.shape == (301, 2)
    assert 0.4 < np.mean(y[1:] != y[:-1]) < 0.8


def test_noise_is_the_standard_deviation_of_both_coordinates():
    # The noise is drawn last, so the same seed gives the same points without it.
    clean, _ = data.two_moons(20_000, noise=0.0, rng=np.random.default_rng(5))
    noisy, _ = data.two_moons(20_000, noise=0.3, rng=np.random.default_rng(5))
    np.testing.assert_allclose((noisy - clean).std(axis=0), 0.3, rtol=0.03)


@pytest.mark.parametrize("make", [data.two_moons, data.spirals])
def test_toys_refuse_bad_arguments(make):
    name = make.__name__
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"{name}: n must be an integer of at least"):
        make(1, rng=rng)
    with pytest.raises(ValueError, match=f"{name}: noise must be a finite number >= 0"):
        make(10, noise=-0.1, rng=rng)
    with pytest.raises(TypeError, match=f"{name}: rng must be a numpy.random.Generator"):
        make(10, rng=0)


def test_spirals_need_two_classes_and_a_sample_for_each():
    with pytest.raises(ValueError, match="spirals: classes must be an integer of at least 2"):
        data.spirals(10, classes=1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="spirals: n must be an integer of at least 5"):
        data.spirals(4, classes=5, rng=np.random.default_rng(0))
