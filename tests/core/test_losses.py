"""Every loss equals PyTorch's or scikit-learn's, and every gradient its finite differences."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from sklearn.metrics import hinge_loss

from course_lib import losses
from course_lib.gradcheck import numerical_gradient
from course_lib.losses import Loss

F = torch.nn.functional
OUTPUTS = (1, 2, 3, 5)
every_loss = pytest.mark.parametrize("loss", losses.ALL.values(), ids=losses.ALL)


def example(loss: Loss, k: int, rows: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(k)
    z = rng.normal(size=(rows, k)) * 2
    if loss.kind == "values":
        return z, rng.normal(size=(rows, k)) * 2
    if loss.kind == "binary":
        return z, rng.integers(0, 2, size=(rows, k))
    return z, rng.integers(0, 2 if (k == 1 and loss.kind == "margin") else k, size=rows)


def reference(loss: Loss, z: np.ndarray, y: np.ndarray) -> float:
    """The mean over rows, from a library that did not know ours."""
    t, target = torch.tensor(z), torch.tensor(y)
    match loss.name:
        case "mse":
            return F.mse_loss(t, target).item()
        case "mae":
            return F.l1_loss(t, target).item()
        case "huber":
            return F.huber_loss(t, target).item()
        case "binary_cross_entropy":
            return F.binary_cross_entropy_with_logits(t, target.double()).item()
        case "softmax_cross_entropy":
            return F.cross_entropy(t, target).item()
        case "hinge":
            k = z.shape[1]
            # scikit-learn wants a vector for two classes: the difference of the two scores. Halving
            # it is not needed: Crammer and Singer's margin for two classes is that difference.
            decision = z[:, 0] if k == 1 else z[:, 1] - z[:, 0] if k == 2 else z
            return float(hinge_loss(y, decision, labels=np.arange(max(k, 2))))
    raise AssertionError(loss.name)


@every_loss
@pytest.mark.parametrize("k", OUTPUTS)
def test_sum_over_rows_is_n_times_the_reference_mean(loss: Loss, k: int) -> None:
    z, y = example(loss, k)
    total, _ = loss(z, y)
    assert isinstance(total, float)
    assert total / len(z) == pytest.approx(reference(loss, z, y), rel=1e-13)


@every_loss
@pytest.mark.parametrize("k", OUTPUTS)
def test_gradient_is_the_slope_of_the_sum(loss: Loss, k: int) -> None:
    z, y = example(loss, k)
    _, gradient = loss(z, y)
    numerical = numerical_gradient(lambda v: loss(v.reshape(z.shape), y)[0], z.reshape(-1))
    # 1e-9: central differences with h = 1e-5 in float64 are good to about 1e-10.
    np.testing.assert_allclose(gradient.reshape(-1), numerical, rtol=0, atol=1e-9)


@every_loss
def test_rows_do_not_interact_even_at_extreme_logits(loss: Loss) -> None:
    z, y = example(loss, 3)
    z[0] += 200
    z[1] -= 200
    total, gradient = loss(z, y)
    alone = [loss(z[i : i + 1], y[i : i + 1]) for i in range(len(z))]
    np.testing.assert_array_equal(gradient, np.concatenate([g for _, g in alone]))
    assert total == pytest.approx(sum(t for t, _ in alone), rel=1e-14)


@every_loss
def test_extreme_logits_stay_finite(loss: Loss) -> None:
    z, y = example(loss, 3)
    total, gradient = loss(1e4 * z, y)
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_stays_and_out_receives_the_same_bits(loss: Loss, dtype: type) -> None:
    z, y = example(loss, 3)
    z = z.astype(dtype)
    before = z.copy()
    _, gradient = loss(z, y)
    assert gradient.dtype == dtype
    out = np.full_like(z, np.nan)
    assert loss.f(z, y, out=out)[1] is out
    np.testing.assert_array_equal(out, gradient)
    np.testing.assert_array_equal(z, before)


def test_a_target_vector_does_not_broadcast_against_a_column_of_outputs() -> None:
    # (3, 1) - (3,) would silently become (3, 3) in NumPy.
    total, gradient = losses.mse(np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 5.0]))
    assert total == 4
    np.testing.assert_array_equal(gradient, [[0], [0], [-4]])


def test_binary_cross_entropy_takes_soft_targets() -> None:
    z, y = np.array([[0.3], [-2.0]]), np.array([[0.2], [0.9]])
    expected = F.binary_cross_entropy_with_logits(torch.tensor(z), torch.tensor(y)).item()
    assert losses.binary_cross_entropy(z, y)[0] / 2 == pytest.approx(expected, rel=1e-13)


def test_decisions() -> None:
    z = np.array([[0.2, 0.1, -1.0], [-1.0, 0.5, 2.0]])
    np.testing.assert_array_equal(losses.softmax_cross_entropy.decide(z), [0, 2])
    np.testing.assert_array_equal(losses.hinge.decide(z), [0, 2])
    np.testing.assert_array_equal(losses.hinge.decide(z[:, :1]), [1, 0])
    np.testing.assert_array_equal(losses.binary_cross_entropy.decide(z), [[1, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(losses.softmax_cross_entropy.decide(z[:, :1]), [0, 0])
    assert losses.mse.decide(z) is z


def test_probabilities_equal_torch_or_are_refused() -> None:
    z = np.array([[0.2, 0.1, -1.0], [-1.0, 0.5, 2.0]])
    t = torch.tensor(z)
    soft = losses.softmax_cross_entropy.probabilities(z)
    np.testing.assert_allclose(soft, torch.softmax(t, 1).numpy(), rtol=1e-13)
    single = losses.binary_cross_entropy.probabilities(z)
    np.testing.assert_allclose(single, torch.sigmoid(t).numpy(), rtol=1e-13)
    with pytest.raises(ValueError, match="hinge does not define probabilities; use softmax"):
        losses.hinge.probabilities(z)


@pytest.mark.parametrize(
    ("loss", "targets", "error", "message"),
    [
        (
            "softmax_cross_entropy",
            [0, 3],
            ValueError,
            r"labels must lie in 0\.\.2 .* got 3 at row 1",
        ),
        (
            "softmax_cross_entropy",
            [-1, 0],
            ValueError,
            r"labels must lie in 0\.\.2 .* got -1 at row 0",
        ),
        (
            "softmax_cross_entropy",
            [0.0, 1.0],
            TypeError,
            "class labels must be integers, got dtype f",
        ),
        (
            "softmax_cross_entropy",
            [[1, 0, 0], [0, 1, 0]],
            ValueError,
            r"shape \(2,\), got \(2, 3\); turn one-hot rows into labels by y.argmax",
        ),
        ("softmax_cross_entropy", [0, 1, 2], ValueError, r"must have shape \(2,\), got \(3,\)"),
        ("hinge", [0, 3], ValueError, r"labels must lie in 0\.\.2"),
        ("mse", [1.0, 2.0], ValueError, r"must have shape \(2, 3\), got \(2,\)"),
        ("mse", [[1, 2, np.nan]] * 2, ValueError, "targets must be finite, got .*nan.* at row 0"),
        ("mse", [["a", "b", "c"]] * 2, TypeError, "targets must be real numbers, got dtype <U1"),
        ("binary_cross_entropy", [[0, 1, 2]] * 2, ValueError, r"must be in \[0, 1\], got .* row 0"),
    ],
)
def test_bad_targets_get_a_sentence(loss: str, targets, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        losses.get(loss)(np.zeros((2, 3)), targets)


def test_unknown_loss_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown loss 'rmse'; did you mean 'mse'.*Known: mse, mae"
    ):
        losses.get("rmse")


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("loss", losses.ALL.values(), ids=lambda loss: loss.name)
def test_the_gradient_can_be_written_over_the_outputs(loss, columns):
    """The oracle is the same call with memory of its own."""
    rng = np.random.default_rng(columns)
    outputs = rng.normal(size=(7, columns))
    labels = loss.kind == "labels" or (loss.kind == "margin" and columns > 1)
    if labels:
        targets = rng.integers(0, columns, 7)
    else:
        targets = rng.integers(0, 2, (7, columns)[: 1 if loss.kind == "margin" else 2])
    total, gradient = loss.f(outputs, targets)
    own = outputs.copy()
    assert loss.f(own, targets, out=own)[0] == total
    np.testing.assert_array_equal(own, gradient)


# --- large scores, and little precision ---

SCORES = (0.0, 0.001, 1.0, 3.0, 15.0, 20.0, 30.0, 88.0, 104.0, 1000.0)


def exact(loss: Loss, z: np.ndarray, y: np.ndarray) -> tuple[Decimal, list[Decimal]]:
    """The loss of one row and its gradient, by the textbook's formula and 900 digits."""
    row, k = [Decimal(float(v)) for v in z], len(z)
    match loss.name:
        case "binary_cross_entropy":
            p = [1 / (1 + (-v).exp()) for v in row]
            t = [Decimal(float(v)) for v in y]
            parts = [a * b.ln() + (1 - a) * (1 - b).ln() for a, b in zip(t, p, strict=True)]
            return -sum(parts) / k, [(b - a) / k for a, b in zip(t, p, strict=True)]
        case "softmax_cross_entropy":
            e = [v.exp() for v in row]
            p = [v / sum(e) for v in e]
            return -p[y].ln(), [v - (i == y) for i, v in enumerate(p)]
        case "hinge":
            rival = max(range(k), key=lambda i: (i != y, row[i]))
            total = max(Decimal(0), 1 + row[rival] - row[y])
            return total, [Decimal((i == rival) - (i == y)) * (total > 0) for i in range(k)]
    e = [a - Decimal(float(b)) for a, b in zip(row, y, strict=True)]
    match loss.name:
        case "mse":
            return sum(v * v for v in e) / k, [2 * v / k for v in e]
        case "mae":
            return sum(map(abs, e)) / k, [Decimal((v > 0) - (v < 0)) / k for v in e]
        case "huber":
            inside = [v * v / 2 if abs(v) <= 1 else abs(v) - Decimal("0.5") for v in e]
            return sum(inside) / k, [max(min(v, Decimal(1)), Decimal(-1)) / k for v in e]
    raise AssertionError(loss.name)


def rows_of(loss: Loss) -> list[tuple[list[float], object]]:
    scores = [s * sign for s in SCORES for sign in (1, -1)]
    if loss.kind == "labels":
        return [([s, 0.0, s / 2], label) for s in scores for label in range(3)]
    if loss.kind == "margin":
        return [([s, 0.25, s / 2], label) for s in scores for label in range(3)]
    targets = (0.0, 1.0, 0.25) if loss.kind == "binary" else (0.0, 3.0, -1000.0)
    return [([s], [t]) for s in scores for t in targets]


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_keep_their_digits_in_every_precision(loss: Loss, dtype: type) -> None:
    eps = float(np.finfo(dtype).eps)
    # What is far below 1 is lost where the sum of the exponentials, at least 1, is rounded.
    absolute = 1e-14 if loss.name == "softmax_cross_entropy" else 0.0
    with localcontext() as context:
        context.prec = 900  # 1 - p of a score of 1000 needs 435
        for z, y in rows_of(loss):
            scores = np.array([z], dtype)
            targets = np.array([y], int if loss.kind in ("labels", "margin") else dtype)
            total, gradient = loss(scores, targets)
            wanted, slope = exact(loss, scores[0], y if loss.kind in ("labels", "margin") else
                                  targets[0])  # fmt: skip
            # float32 has no numbers below 1e-45, nor float64 below 5e-324.
            tiny = float(np.finfo(dtype).tiny)
            assert total == pytest.approx(float(wanted), rel=4 * eps, abs=absolute + tiny), (z, y)
            # p - y is as exact as p, where y is neither 0 nor 1.
            near = eps if absolute or (loss.kind == "binary" and y == [0.25]) else 0.0
            np.testing.assert_allclose(
                gradient[0], np.array([float(s) for s in slope]), rtol=4 * eps, atol=near + tiny
            )


def test_the_number_of_the_issue() -> None:
    z, y = np.array([[15.0]], np.float32), np.array([[1.0]], np.float32)
    assert losses.binary_cross_entropy(z, y)[0] == pytest.approx(3.059022e-07, rel=1e-6)


@every_loss
def test_outputs_have_at_least_one_column(loss: Loss) -> None:
    for outputs in (np.zeros((2, 0)), np.zeros(2), np.zeros((2, 1, 1))):
        with pytest.raises(ValueError, match="outputs must .*got"):
            loss(outputs, np.zeros(2, int))
