"""Data in, mini-batches out: real data sets, and the order in which samples are visited.

Rows are samples: ``x`` has shape ``(n, features)``, ``y`` holds n integer labels (int64). The
loaders return a :class:`Split`; which sample goes where depends on ``seed`` alone. The toy sets
:func:`two_moons` and :func:`spirals` are at home in :mod:`course_lib.toys`.

Chapter: data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from course_lib.arrays import (
    Array,
    as_array,
    check_dtype,
    check_flag,
    check_integer,
    check_number,
)
from course_lib.needs import require
from course_lib.toys import spirals as spirals
from course_lib.toys import two_moons as two_moons

Rows: TypeAlias = NDArray[np.intp]


class Split(NamedTuple):
    """Samples to learn from and samples to be judged by.

    Attributes
    ----------
    x_train, x_test : array, shape (n_train, features) and (n_test, features)
        Inputs.
    y_train, y_test : array of int64, shape (n_train,) and (n_test,)
        Labels, counted from 0.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def load_digits(
    *, seed: int = 0, test_fraction: float = 0.2, dtype: DTypeLike = np.float64
) -> Split:
    """Handwritten digits of 8 x 8 pixels: 1,797 images, 64 inputs in [0, 1], 10 classes.

    They ship with scikit-learn, so nothing is downloaded.

    Parameters
    ----------
    seed : int
        Which samples are for testing, and the order of both parts.
    test_fraction : float
        Share of the samples for testing, of each class alike.
    dtype : floating-point type
        Of the inputs.

    Raises
    ------
    ImportError, ValueError, TypeError
        If scikit-learn is not installed; if an argument is out of range or of the wrong type.

    Examples
    --------
    >>> x_train, y_train, x_test, y_test = load_digits()
    >>> x_train.shape, x_test.shape, float(x_train.max())
    ((1438, 64), (359, 64), 1.0)

    References
    ----------
    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI repository.
    """
    kind = check_dtype(dtype, where="load_digits")
    x, y = _shipped_with_sklearn("load_digits", "load_digits")
    train, test = stratified(y, seed=seed, test_fraction=test_fraction, where="load_digits")
    x = (x / 16).astype(kind)  # pixels count 0 to 16 dots; sixteenths are exact in any type
    return Split(x[train], y[train], x[test], y[test])


def load_breast_cancer(
    *, seed: int = 0, test_fraction: float = 0.2, dtype: DTypeLike = np.float64
) -> Split:
    """Breast tumours, malignant (0) or benign (1): 569 samples, 30 measurements each.

    Inputs have mean 0 and variance 1 over the TRAINING samples. The test samples are shifted and
    scaled by the same numbers: taking their own would leak what the network must not know.
    Parameters and errors as for :func:`load_digits`.

    Examples
    --------
    >>> split = load_breast_cancer()
    >>> split.x_train.shape, split.x_test.shape
    ((455, 30), (114, 30))

    References
    ----------
    Wolberg, Street & Mangasarian 1995, Breast Cancer Wisconsin (Diagnostic), UCI.
    """
    kind = check_dtype(dtype, where="load_breast_cancer")
    x, y = _shipped_with_sklearn("load_breast_cancer", "load_breast_cancer")
    where = "load_breast_cancer"
    train, test = stratified(y, seed=seed, test_fraction=test_fraction, where=where)
    x = ((x - x[train].mean(axis=0)) / x[train].std(axis=0)).astype(kind)
    return Split(x[train], y[train], x[test], y[test])


def load_mnist(
    root: str | os.PathLike[str], download: bool = False, *, dtype: DTypeLike = np.float64
) -> Split:
    """Handwritten digits of 28 x 28 pixels: 60,000 and 10,000 images, 784 inputs in [0, 1].

    Reads the four original files from `root` and checks their SHA-256 sums. Nothing is
    downloaded unless you ask for it. In float64 the inputs take 440 MB, in float32 half of it.


    Parameters
    ----------
    root : path
        The folder with the four ``.gz`` files.
    download : bool
        Fetch the files that are missing (11 MB in all) into `root` first.
    dtype : floating-point type
        Of the inputs.

    Raises
    ------
    FileNotFoundError, ValueError, OSError
        If a file is missing; if it is not the original one; if it cannot be downloaded.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner 1998.
    """
    from course_lib import mnist  # loads urllib, which costs more than the rest of the package

    kind = check_dtype(dtype, where="load_mnist")
    arrays = mnist.read(root, download=download)
    x_train, x_test = (np.true_divide(arrays[i], 255, dtype=kind) for i in (0, 2))
    y_train, y_test = (arrays[i].astype(np.int64) for i in (1, 3))
    return Split(x_train, y_train, x_test, y_test)


def _shipped_with_sklearn(loader: str, where: str) -> tuple[Array, Array]:
    require("sklearn", extra="data", who=where)
    from sklearn import datasets

    x, y = getattr(datasets, loader)(return_X_y=True)
    return x, y.astype(np.int64)


def batches(n: int, size: int, *, seed: int, epoch: int, shuffle: bool = True) -> Iterator[Rows]:
    """Cut a fresh permutation of the n samples into mini-batches; yield their indices.

    The order is a pure function of the arguments, so that every process of a parallel run, and
    a run resumed from a checkpoint, finds the same batches without asking. Each epoch has its
    own permutation of the samples: shuffling only the order of fixed batches would never let
    the samples of two batches meet.

    Parameters
    ----------
    n : int
        Number of samples, at least 1.
    size : int
        Samples per batch, at least 1; the last batch may be shorter.
    seed, epoch : int
        Which permutation, both from 0.
    shuffle : bool
        False for the rows as they come, in each epoch the same.

    Returns
    -------
    iterator of arrays, shape (size,)
        Row numbers: use as ``x[indices]``.

    Examples
    --------
    >>> parts = list(batches(5, 2, seed=0, epoch=0))
    >>> [len(indices) for indices in parts], np.sort(np.concatenate(parts))
    ([2, 2, 1], array([0, 1, 2, 3, 4]))
    """
    where = "batches"
    n = check_integer(n, where=where, name="n", at_least=1)
    size = check_integer(size, where=where, name="size", at_least=1)
    seed = check_integer(seed, where=where, name="seed", at_least=0)
    epoch = check_integer(epoch, where=where, name="epoch", at_least=0)
    shuffle = check_flag(shuffle, where=where, name="shuffle")
    order = np.random.default_rng([seed, epoch]).permutation(n) if shuffle else np.arange(n)
    return (order[start : start + size] for start in range(0, n, size))


def batch_weight(rows: Rows, weights: Array | None) -> float:
    """Return how much a batch counts: its rows, or the sum of their weights.

    Examples
    --------
    >>> rows = np.array([0, 2])
    >>> batch_weight(rows, None), batch_weight(rows, np.array([0.5, 3.0, 2.0]))
    (2, 2.5)
    """
    return len(rows) if weights is None else float(weights[rows].sum())


def stratified(
    y: Array, *, seed: int, test_fraction: float, where: str, name: str = "test_fraction"
) -> tuple[Rows, Rows]:
    """Choose rows for training and for testing, each class in both in proportion (to one sample).

    Parameters
    ----------
    y : array, shape (n,)
        The class of each row; all equal for a split without regard to classes.
    seed : int
        Which split, from 0.
    test_fraction : float
        Share of the rows for testing.
    where : str
        The function that the user called, for the error sentence.
    name : str
        What it calls the fraction.

    Returns
    -------
    train, test : arrays
        Row numbers, shuffled.

    Raises
    ------
    ValueError, TypeError
        If no row is left on one of the sides, or a class has a single one, or none to train on; if
        `y` is no list of classes.

    Examples
    --------
    >>> y = np.array([0] * 6 + [1] * 4)
    >>> train, test = stratified(y, seed=0, test_fraction=0.5, where="here")
    >>> np.bincount(y[train]), np.bincount(y[test])
    (array([3, 2]), array([3, 2]))
    """
    seed = check_integer(seed, where=where, name="seed", at_least=0)
    y = as_array(y, where=where, name="y")
    if y.ndim != 1 or y.dtype.kind not in "biufSU":
        raise TypeError(
            f"{where}: y must be 1-D, with one class per row, got {y.dtype} of shape {y.shape}."
        )
    test_fraction = check_number(test_fraction, where=where, name=name, at_least=0, at_most=1)
    n, tests = len(y), round(test_fraction * len(y))
    if not 0 < tests < n:
        raise ValueError(
            f"{where}: {name} must leave samples on both sides of the split, "
            f"got {test_fraction} of {n} samples."
        )
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"{where}: class {classes[counts.argmin()]!s} has a single sample, which cannot be on "
            "both sides of the split; add samples of it, or leave it out."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    order = order[np.argsort(y[order], kind="stable")]  # by class, shuffled within each
    step = np.arange(n + 1) * tests // n
    chosen = step[1:] > step[:-1]  # evenly spaced, exactly `tests` of them
    if len(lost := np.setdiff1d(classes, y[order[~chosen]])):  # more than half are held out
        raise ValueError(
            f"{where}: class {lost[0]!s} would have no sample to train on; make {name} smaller, "
            f"got {test_fraction}."
        )
    return rng.permutation(order[~chosen]), rng.permutation(order[chosen])


def folds(n: int, k: int, *, seed: int) -> list[tuple[Rows, Rows]]:
    """Split n rows in k ways, so that each row is held out exactly once (cross-validation).

    The held-out parts are as equal as n allows: n // k rows, and one more in the first n % k.

    Parameters
    ----------
    n : int
        Number of rows, at least k.
    k : int
        Number of folds, at least 2.
    seed : int
        Which shuffle of the rows, from 0.

    Returns
    -------
    list of k pairs (train, test) of arrays
        Row numbers: learn from ``x[train]``, judge by ``x[test]``.

    Raises
    ------
    ValueError, TypeError
        If a number is not an integer or out of range.

    References
    ----------
    Kohavi 1995, A study of cross-validation and bootstrap for accuracy estimation and model
    selection.

    Examples
    --------
    >>> [len(test) for train, test in folds(7, 3, seed=0)]
    [3, 2, 2]
    >>> train, test = folds(7, 3, seed=0)[0]
    >>> np.sort(np.concatenate([train, test]))
    array([0, 1, 2, 3, 4, 5, 6])
    """
    k = check_integer(k, where="folds", name="k", at_least=2)
    n = check_integer(n, where="folds", name="n (rows, at least one per fold)", at_least=k)
    seed = check_integer(seed, where="folds", name="seed", at_least=0)
    parts: list[Any] = np.array_split(np.random.default_rng(seed).permutation(n), k)
    return [(np.concatenate([*parts[:i], *parts[i + 1 :]]), parts[i]) for i in range(k)]
