"""Data: scikit-learn's own arrays are the oracle; splits and batches are permutations."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn import datasets, model_selection, preprocessing

from course_lib import data


def _sorted_rows(x, y):
    table = np.column_stack([x, y])
    return table[np.lexsort(table.T)]


def test_digits_are_scikit_learns_digits_over_16_in_another_order():
    x, y = datasets.load_digits(return_X_y=True)
    split = data.load_digits(seed=3)
    np.testing.assert_array_equal(
        _sorted_rows(
            np.concatenate([split.x_train, split.x_test]),
            np.concatenate([split.y_train, split.y_test]),
        ),
        _sorted_rows(x / 16, y),
    )
    assert split.x_train.min() == 0 and split.x_train.max() == 1


def test_breast_cancer_is_standardised_by_the_training_samples_alone():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    split = data.load_breast_cancer(seed=1)
    np.testing.assert_allclose(split.x_train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(split.x_train.std(axis=0), 1, rtol=1e-12)
    assert np.abs(split.x_test.mean(axis=0)).max() > 0.01  # its own mean would be exactly 0
    # Find the training rows by their labels and order-free content, then scale all with sklearn.
    ours = np.concatenate([split.x_train, split.x_test])
    labels = np.concatenate([split.y_train, split.y_test])
    scaled = preprocessing.StandardScaler().fit_transform(x)
    ours = (ours - ours.mean(axis=0)) / ours.std(axis=0)
    np.testing.assert_allclose(_sorted_rows(ours, labels), _sorted_rows(scaled, y), atol=1e-10)


LOADERS = [(data.load_digits, 1797), (data.load_breast_cancer, 569)]


@pytest.mark.parametrize(("load", "n"), LOADERS)
@pytest.mark.parametrize("fraction", [0.2, 0.25, 0.5])
def test_split_sizes_are_exact_and_every_class_is_divided_in_proportion(load, n, fraction):
    split = load(seed=2, test_fraction=fraction)
    assert len(split.x_test) == len(split.y_test) == round(fraction * n)
    assert len(split.x_train) == len(split.y_train) == n - round(fraction * n)
    train, test = np.bincount(split.y_train), np.bincount(split.y_test)
    np.testing.assert_allclose(test, fraction * (train + test), atol=1)


@pytest.mark.parametrize(("load", "n"), LOADERS)
def test_the_seed_alone_decides_the_split_and_the_order_is_shuffled(load, n):
    first, again, other = load(seed=4), load(seed=4), load(seed=5)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.y_test, other.y_test)
    for y in (first.y_train, first.y_test):  # neither sorted by class nor in long runs of one
        changes = np.mean(y[1:] != y[:-1])
        assert changes > 0.7 * (1 - np.sum((np.bincount(y) / len(y)) ** 2))


@pytest.mark.parametrize(("load", "n"), LOADERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_have_the_type_asked_for_and_labels_are_int64(load, n, dtype):
    split = load(dtype=dtype)
    assert split.x_train.dtype == split.x_test.dtype == dtype
    assert split.y_train.dtype == split.y_test.dtype == np.int64


@pytest.mark.parametrize(("load", "n"), LOADERS)
def test_loaders_refuse_bad_arguments(load, n):
    with pytest.raises(ValueError, match=f"{load.__name__}: test_fraction must leave samples"):
        load(test_fraction=1.0)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        load(seed=-1)
    with pytest.raises(TypeError, match="dtype must be a floating-point type .*int64"):
        load(dtype=np.int64)


@pytest.mark.parametrize(("load", "n"), LOADERS)
def test_without_scikit_learn_the_error_says_how_to_install_it(load, n, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'needs scikit-learn; pip install "course-lib\['):
        load()


@pytest.mark.parametrize(("n", "size"), [(1, 1), (7, 3), (12, 4), (5, 100)])
def test_batches_of_an_epoch_are_a_permutation_cut_in_pieces(n, size):
    parts = list(data.batches(n, size, seed=0, epoch=0))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert [len(part) for part in parts] == [min(size, n - i) for i in range(0, n, size)]


def test_batches_depend_on_seed_and_epoch_and_on_nothing_else():
    def flat(**kw):
        return np.concatenate(list(data.batches(100, 8, **kw)))

    np.testing.assert_array_equal(flat(seed=1, epoch=2), flat(seed=1, epoch=2))
    orders = [flat(seed=s, epoch=e) for s in range(3) for e in range(3)]
    assert len({order.tobytes() for order in orders}) == 9
    whole = next(data.batches(100, 100, seed=1, epoch=2))
    np.testing.assert_array_equal(whole, flat(seed=1, epoch=2))  # the size only cuts


def test_all_pairs_of_samples_meet_in_some_batch():
    # Fixed batches visited in a shuffled order would let only 18 of these 66 pairs ever meet.
    met = set()
    for epoch in range(100):
        for part in data.batches(12, 4, seed=0, epoch=epoch):
            met |= {(i, j) for i in part.tolist() for j in part.tolist() if i < j}
    assert len(met) == 66


@pytest.mark.parametrize(
    ("n", "size", "seed", "epoch", "message"),
    [
        (0, 1, 0, 0, "batches: n must be an integer of at least 1, got 0"),
        (5, 0, 0, 0, "batches: size must be an integer of at least 1, got 0"),
        (5, 2, -1, 0, "batches: seed must be an integer of at least 0, got -1"),
        (5, 2, 0, -1, "batches: epoch must be an integer of at least 0, got -1"),
    ],
)
def test_batches_refuse_bad_arguments_at_the_call(n, size, seed, epoch, message):
    with pytest.raises(ValueError, match=message):
        data.batches(n, size, seed=seed, epoch=epoch)  # no next() needed


@pytest.mark.parametrize(("n", "k"), [(10, 2), (11, 3), (17, 5), (7, 7)])
def test_folds_hold_out_every_row_once_in_parts_of_the_sizes_of_scikit_learns_kfold(n, k):
    theirs = model_selection.KFold(k, shuffle=True, random_state=0).split(np.zeros(n))
    ours = data.folds(n, k, seed=4)
    assert [(len(a), len(b)) for a, b in ours] == [(len(a), len(b)) for a, b in theirs]
    np.testing.assert_array_equal(np.sort(np.concatenate([b for _, b in ours])), np.arange(n))
    for train, test in ours:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(n))


def test_the_seed_decides_the_folds():
    def held_out(seed):
        return [test.tolist() for _, test in data.folds(30, 3, seed=seed)]

    assert held_out(1) == held_out(1) != held_out(2)
    with pytest.raises(ValueError, match=r"folds: n \(rows, at least one per fold\).* 4.* 3"):
        data.folds(3, 4, seed=0)
    with pytest.raises(ValueError, match="folds: k .* 2.* 1"):
        data.folds(3, 1, seed=0)
    with pytest.raises(ValueError, match="folds: seed"):
        data.folds(3, 2, seed=-1)


def test_a_class_with_a_single_sample_is_refused():
    """As scikit-learn does: it would be missing on one side of every split."""
    with pytest.raises(
        ValueError, match="here: class 7 has a single sample, which cannot be on both"
    ):
        data.stratified(np.array([0, 0, 0, 7]), seed=0, test_fraction=0.5, where="here")
