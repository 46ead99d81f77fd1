"""Exercises on sizes through depth, on a normalisation's gradient, and on the edge of chaos.

Chapter: initialisation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib import weights
from course_lib.exercises.answers import agree, array, ask, call, number, parts, refuse, slopes
from course_lib.exercises.exercise import exercise


@exercise("initialisation.branch_scale", "How loud may a branch be?", "easy", 10)
def branch_scale(answer: Any) -> None:
    """Multiply up the growth of all blocks, for two depths, and compare with what is allowed."""
    for depth, growth in ((30, 3.0), (8, 5.0)):
        got = number(call(answer, depth, growth), "The scale")
        root = growth ** (1 / depth)
        refuse(
            got,
            ("added-instead-of-multiplied", math.sqrt((growth - 1) / depth),
             "You share the growth out evenly. Each block grows what the one before has grown."),
            ("scale-not-squared", root - 1,
             "F(x) is multiplied by s, so its mean square by the square of s."),
            ("sizes-instead-of-squares", math.sqrt(growth ** (2 / depth) - 1),
             "The growth that is given is that of the mean square, not of its root."),
            ("depth-left-out", math.sqrt(growth - 1),
             "With this scale a single block uses up all the growth."),
            ("input-forgotten", math.sqrt(root),
             "The input of a block goes around it and arrives in full: it is part of the sum."),
        )  # fmt: skip
        agree(got, math.sqrt(root - 1), what="The scale", inputs={"depth": depth})


def _batch_norm(z: NDArray[Any], gamma: NDArray[Any], eps: float, *, ddof: int = 0) -> Any:
    centred = z - z.mean(axis=0)
    # No np.var: it would take absolute values of the complex steps.
    variance = (centred * centred).sum(axis=0) / (len(z) - ddof)
    return gamma * centred / np.sqrt(variance + eps)


def _slope(z: NDArray[Any], dy: NDArray[Any], gamma: NDArray[Any], eps: float, ddof: int) -> Any:
    return slopes(lambda moved: (dy * _batch_norm(moved, gamma, eps, ddof=ddof)).sum(), z)


@exercise("initialisation.batch_norm", "Back through a batch", "medium", 25, [(0, 1e-3), (1, 0.5)])
def batch_norm(answer: Any, seed: int, eps: float) -> None:
    """Compare the three gradients with complex steps through the forward formula."""
    rng = np.random.default_rng(seed)
    z, dy = rng.normal(1.0, 2.0, size=(6, 3)), rng.normal(size=(6, 3))
    gamma = np.array([0.5, 2.0, -1.5 - seed])
    found = call(answer, z, gamma, dy, eps=eps)
    found = parts(found, 3, "not-three", "Return three arrays: dz, dgamma and dbeta.")
    dz = array(found[0], "dz", shape=z.shape)
    want = _slope(z, dy, gamma, eps, 0)
    s = np.sqrt(z.var(axis=0) + eps)
    hat, d = (z - z.mean(axis=0)) / s, dy * gamma
    row, row_s = z - z.mean(axis=1, keepdims=True), np.sqrt(z.var(axis=1, keepdims=True) + eps)
    row_hat = row / row_s
    along = (d * row_hat).mean(axis=1, keepdims=True)
    refuse(
        dz,
        ("statistics-taken-for-constants", d / s,
         "You treat mean and variance as constants. Every z of the unit moves both."),
        ("variance-taken-for-constant", (d - d.mean(axis=0)) / s,
         "The mean is in; the variance depends on z as well. One more term is missing."),
        ("mean-taken-for-constant", (d - hat * (d * hat).mean(axis=0)) / s,
         "The variance is in; the mean depends on z as well. One more term is missing."),
        ("rows-instead-of-units", (d - d.mean(axis=1, keepdims=True) - row_hat * along) / row_s,
         "That is layer normalisation: your means run over a row. Here each unit has its own."),
        ("gamma-left-out", want / gamma,
         "On the way back the gradient is first multiplied by gamma."),
        ("divided-by-n-minus-one", _slope(z, dy, gamma, eps, 1),
         "Your variance divides by n - 1. The forward formula divides by n."),
        rtol=1e-6,
    )  # fmt: skip
    agree(dz, want, what="dz", rtol=1e-6, atol=1e-9)
    dgamma, dbeta = (
        array(part, what, shape=(3,))
        for part, what in zip(found[1:], ("dgamma", "dbeta"), strict=True)
    )
    from_z = (dy * z).sum(axis=0)
    refuse(dgamma, ("dgamma-from-z", from_z, "Gamma multiplies the normalised value, not z."))
    hint = "Each row uses the same gamma and beta: what the rows say about them is added up, not "
    hint += "averaged."
    refuse(dbeta, ("averaged-over-rows", dy.mean(axis=0), hint))
    refuse(dgamma, ("averaged-over-rows", (dy * hat).mean(axis=0), hint))
    agree(dgamma, (dy * hat).sum(axis=0), what="dgamma", rtol=1e-6)
    agree(dbeta, dy.sum(axis=0), what="dbeta", rtol=1e-6)


@exercise("initialisation.keeps_size", "Does this start keep its promise?", "medium", 20)
def keeps_size(answer: Any) -> None:
    """Try the learner's test on three starts that keep the size, and on five that do not."""
    not_normal = "You reject a start whose weights are not normal, but have the right variance. It "
    not_normal += "is the size of the signal that counts."
    ask(
        answer,
        (weights.he_normal, True, "false-alarm",
         "You reject He's start, which was made for this. In one network chance plays a part: use "
         "wide layers, and leave a margin."),
        (weights.he_uniform, True, "only-normal-allowed", not_normal),
        (_signs, True, "only-normal-allowed", not_normal),
        (_with_variance(lambda m, n: 1 / m), False, "half-lost-not-noticed",
         "A start that loses half of the mean square in each layer gets away."),
        (_with_variance(lambda m, n: 2 / n), False, "square-layers-only",
         "A start that divides by the number of outputs gets away. In which layers does it "
         "matter?"),
        (_with_variance(lambda m, n: 2 / max(m, n)), False, "narrowing-layers-only",
         "A start that divides by the larger of the two fans gets away: in your layers the inputs "
         "are always the larger one."),
        (_with_variance(lambda m, n: 2 / min(m, n)), False, "widening-layers-only",
         "A start that divides by the smaller of the two fans gets away: in your layers the inputs "
         "are always the smaller one."),
        (_positive, False, "signal-too-symmetric",
         "A start whose weights are all positive gets away. Your signal has as many negative "
         "values as positive ones. What comes out of a ReLU has not."),
    )  # fmt: skip


_T = np.linspace(-9.0, 9.0, 3001)
_BELL = np.exp(-(_T**2) / 2) / np.exp(-(_T**2) / 2).sum()


def _critical(bias: float, slope_power: int = 2) -> float:
    """Return the gain at which the fixed point of tanh has chi = 1, by bisection over q."""

    def gain_squared(q: float) -> float:
        return float(1 / (_BELL @ (1 / np.cosh(math.sqrt(q) * _T) ** 2) ** slope_power))

    low, high = 0.0, 50.0
    for _ in range(70):
        q = (low + high) / 2
        needed = q - gain_squared(q) * float(_BELL @ np.tanh(math.sqrt(q) * _T) ** 2)
        low, high = (q, high) if needed < bias**2 else (low, q)
    return math.sqrt(gain_squared(low))


@exercise("initialisation.critical_gain", "On the edge of chaos", "hard", 35)
def critical_gain(answer: Any) -> None:
    """Compare with the gain at which chi is 1 at the fixed point, from sums over a fine grid."""
    square = float(_BELL @ np.tanh(_T) ** 2)
    slope = float(_BELL @ (1 / np.cosh(_T) ** 4))
    for bias in (0.3, 0.6):
        got = number(call(answer, bias), "The gain")
        want = _critical(bias)
        refuse(
            got,
            ("bias-forgotten", 1.0,
             "That is the edge without biases. They push the fixed point away from zero."),
            ("chi-at-one", 1 / math.sqrt(slope),
             "Your chi is 1 for a signal of size 1. The signal does not stay there: it runs into "
             "the fixed point, so chi has to be 1 there."),
            ("size-kept-at-one", math.sqrt((1 - bias**2) / square),
             "With your gain q = 1 is a fixed point. What is chi there?"),
            ("variance-for-gain", want**2,
             "That is the square of the gain: the variance times the number of inputs."),
            ("bias-not-squared", _critical(math.sqrt(bias)),
             "The map adds the variance of the biases. You were given their standard deviation."),
            ("slope-not-squared", _critical(bias, slope_power=1),
             "In chi stands the mean of the squared slope."),
            rtol=1e-5,
        )  # fmt: skip
        agree(got, want, what="The gain", inputs={"bias": bias}, rtol=1e-4)


def _signs(rng: np.random.Generator, fan_in: int, fan_out: int) -> NDArray[Any]:
    """Return weights of He's variance that have two values only."""
    return math.sqrt(2 / fan_in) * rng.choice([-1.0, 1.0], size=(fan_in, fan_out))


def _with_variance(variance: Any) -> Any:
    """Return a start of normal weights whose variance is a function of the two fans."""

    def start(rng: np.random.Generator, fan_in: int, fan_out: int) -> NDArray[Any]:
        return math.sqrt(variance(fan_in, fan_out)) * rng.normal(size=(fan_in, fan_out))

    return start


def _positive(rng: np.random.Generator, fan_in: int, fan_out: int) -> NDArray[Any]:
    """Return He's weights without their signs."""
    return np.abs(weights.he_normal(rng, fan_in, fan_out))
