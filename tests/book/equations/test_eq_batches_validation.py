"""The equations of the chapter on batches and validation, as printed there, against course_lib."""

from __future__ import annotations

import math

import numpy as np
import pytest

from course_lib import SGD, EarlyStopping, fit, mlp
from course_lib.data import batches


@pytest.mark.equation("eq-batches-steps")
@pytest.mark.parametrize(("n", "size"), [(10, 4), (1438, 32), (64, 32), (5, 8), (1, 1)])
def test_an_epoch_has_n_over_b_steps_rounded_up(n, size):
    printed = math.ceil(n / size)
    assert len(list(batches(n, size, seed=3, epoch=2))) == printed
    torch = pytest.importorskip("torch")
    assert len(torch.utils.data.DataLoader(range(n), batch_size=size)) == printed


@pytest.mark.equation("eq-batches-epoch-loss")
def test_the_epoch_loss_weights_each_batch_by_its_size():
    means, sizes = np.array([1.0, 6.0]), np.array([4, 1])
    assert np.sum(sizes / 5 * means) == np.mean([1, 1, 1, 1, 6]) == 2.0
    # Steps of 1e-300 change no parameter, so the history must show the loss of all rows at once.
    rng = np.random.default_rng(0)
    net = mlp([7, 4, 3])
    theta = net.init(rng) + 0.1
    x, y = rng.normal(size=(10, 7)), rng.integers(0, 3, 10)
    result = fit(net, theta, SGD(1e-300), x, y, epochs=3, batch_size=4, seed=0)
    assert np.array_equal(result.theta, theta)
    rows = list(batches(10, 4, seed=0, epoch=0))
    printed = sum(len(r) / 10 * net.loss_value(theta, x[r], y[r]) for r in rows)
    assert printed == pytest.approx(net.loss_value(theta, x, y), rel=1e-13)
    assert result.history["loss"] == pytest.approx([printed] * 3, rel=1e-13)
    unweighted = np.mean([net.loss_value(theta, x[r], y[r]) for r in rows])
    assert abs(unweighted / printed - 1) > 1e-3


@pytest.mark.equation("eq-batches-meet")
def test_the_share_of_pairs_that_have_met_follows_the_formula():
    n, size, seeds = 24, 6, 200
    pairs = n * (n - 1) // 2
    shares = np.zeros((seeds, 5))
    for seed in range(seeds):
        met = set()
        for epoch in range(5):
            for rows in batches(n, size, seed=seed, epoch=epoch):
                met |= {(i, j) for i in rows for j in rows if i < j}
            shares[seed, epoch] = len(met) / pairs
    printed = 1 - (1 - (size - 1) / (n - 1)) ** np.arange(1, 6)
    error = shares.std(axis=0) / math.sqrt(seeds)  # zero in the first epoch: the share is exact
    assert np.all(np.abs(shares.mean(axis=0) - printed) <= 4 * error + 1e-12)


def test_fixed_batches_never_mix():
    met = set()
    for _ in range(50):
        for rows in np.split(np.arange(12), 3):
            met |= {(i, j) for i in rows for j in rows if i < j}
    assert len(met) == 18


@pytest.mark.equation("eq-batches-cv")
def test_cross_validation_is_the_mean_over_all_samples_each_judged_by_the_others():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold, cross_val_predict

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(23, 3)), rng.normal(size=23)
    folds = np.array_split(np.arange(23), 5)
    for (_, theirs), ours in zip(KFold(5).split(x), folds, strict=True):
        assert np.array_equal(theirs, ours)
    net, total = mlp([3, 1], loss="mse"), 0.0
    for fold in folds:
        rest = np.setdiff1d(np.arange(23), fold)
        design = np.column_stack([x[rest], np.ones(len(rest))])
        theta = np.linalg.lstsq(design, y[rest])[0]  # where gradient descent would end
        _, slope = net.loss_and_grad(theta, x[rest], y[rest])
        assert np.abs(slope).max() < 1e-13
        total += net.loss_value(theta, x[fold], y[fold], denominator=1)  # the sum over the fold
    predicted = cross_val_predict(LinearRegression(), x, y, cv=KFold(5))
    assert total / 23 == pytest.approx(np.mean((predicted - y) ** 2), rel=1e-12)


@pytest.mark.equation("eq-batches-stop")
def test_early_stopping_ends_at_the_first_epoch_that_is_p_past_the_best():
    assert EarlyStopping(patience=2)({"val_loss": [1.0, 0.5, 0.6, 0.7]})
    rng = np.random.default_rng(2)
    for _ in range(200):
        v = np.round(rng.random(30), 1)  # with ties: the first of equal values counts
        patience = int(rng.integers(1, 8))
        printed = [t - int(np.argmin(v[: t + 1])) >= patience for t in range(30)]
        stop = EarlyStopping(patience=patience)
        assert [stop({"val_loss": v[: t + 1].tolist()}) for t in range(30)] == printed


@pytest.mark.equation("eq-batches-standard-error")
@pytest.mark.parametrize(("p", "n"), [(0.97, 359), (0.5, 40), (0.8, 1000)])
def test_the_standard_error_is_the_spread_of_the_mean_of_n_coins(p, n):
    printed = math.sqrt(p * (1 - p) / n)
    right = np.arange(n + 1)
    log_ways = np.array([math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
                         for k in right])  # fmt: skip
    chance = np.exp(log_ways + right * math.log(p) + (n - right) * math.log(1 - p))
    share = right / n
    variance = np.sum(chance * share**2) - np.sum(chance * share) ** 2
    assert printed == pytest.approx(math.sqrt(variance), rel=1e-8)


@pytest.mark.equation("eq-batches-perfect")
@pytest.mark.parametrize("n", [30, 100, 359])
def test_all_right_still_leaves_room_for_three_in_n_wrong(n):
    printed = 0.05 ** (1 / n)
    assert printed**n == pytest.approx(0.05, rel=1e-12)
    # With u = -ln 0.05 / n, 1 - exp(-u) lies between u - u^2 / 2 and u; and -ln 0.05 is 2.996.
    assert abs(printed - (1 - 3 / n)) < (3 / n) ** 2 / 2 + 0.005 / n
    stats = pytest.importorskip("scipy.stats")
    exact = stats.binomtest(n, n, alternative="greater").proportion_ci(0.95, method="exact").low
    assert printed == pytest.approx(exact, rel=1e-9)


@pytest.mark.equation("eq-batches-precision")
def test_precision_recall_and_f1_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    net = mlp([4, 5, 2])
    theta, x = net.init(rng), rng.normal(size=(80, 4))
    said, truth = net.predict(theta, x) == 1, rng.random(80) < 0.3
    tp, fp = np.sum(said & truth), np.sum(said & ~truth)
    fn, tn = np.sum(~said & truth), np.sum(~said & ~truth)
    assert min(tp, fp, fn, tn) > 0
    assert np.array_equal(metrics.confusion_matrix(truth, said), [[tn, fp], [fn, tp]])
    assert tp / (tp + fp) == pytest.approx(metrics.precision_score(truth, said), rel=1e-14)
    assert tp / (tp + fn) == pytest.approx(metrics.recall_score(truth, said), rel=1e-14)
    assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(metrics.f1_score(truth, said), rel=1e-14)


@pytest.mark.equation("eq-batches-weighted")
def test_a_weighted_row_counts_as_if_it_were_there_that_often():
    rng = np.random.default_rng(0)
    net = mlp([3, 4, 2])
    theta, x, y = net.init(rng), rng.normal(size=(6, 3)), rng.integers(0, 2, 6)
    w = np.array([5, 1, 0, 2, 1, 1])
    each = np.array([net.loss_value(theta, x[i : i + 1], y[i : i + 1]) for i in range(6)])
    printed = np.sum(w * each) / np.sum(w)
    assert net.loss_and_grad(theta, x, y, weights=w)[0] == pytest.approx(printed, rel=1e-14)
    rows = np.repeat(np.arange(6), w)
    assert net.loss_value(theta, x[rows], y[rows]) == pytest.approx(printed, rel=1e-14)
    metrics = pytest.importorskip("sklearn.metrics")
    p = net.predict_proba(theta, x)
    assert metrics.log_loss(y, p, sample_weight=w) == pytest.approx(printed, rel=1e-12)
