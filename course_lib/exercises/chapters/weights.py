"""Exercises on counting weights, on starting them, and on the size of a signal.

Chapter: weights.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, in_double, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("weights.count", "Count the parameters", "easy", 10, [([7, 4, 6, 3],), ([5, 8],)])
def count(answer: Any, sizes: Any) -> None:
    """Compare with the sizes of arrays that are really there, with and without biases."""
    pairs = list(itertools.pairwise(sizes))
    matrices = sum(np.empty(pair).size for pair in pairs)
    got = number(call(answer, sizes, True), "The number of parameters")
    refuse(
        got,
        ("biases-forgotten", matrices, "Each unit behind the inputs has a bias as well."),
        ("inputs-have-biases", matrices + sum(sizes), "The inputs are given: they have no biases."),
        ("one-bias-per-layer", matrices + len(pairs), "A layer has a bias for each of its units."),
        ("bias-per-input", matrices + sum(sizes[:-1]), "A bias belongs to the unit that adds it."),
    )
    agree(got, matrices + sum(sizes[1:]), what=f"The number for the widths {sizes}")
    bare = number(call(answer, sizes, False), "The number of parameters")
    if bare == got:
        raise Mistake("biases-always-counted", "With biases=False only the weights are counted.")
    agree(bare, matrices, what=f"The number for the widths {sizes} without biases")


@exercise(
    "weights.leaky", "A start for the leaky ReLU", "medium", 20, [(400, 100, 0.5), (150, 300, 0.2)]
)
def leaky(answer: Any, fan_in: int, fan_out: int, slope: float) -> None:
    """Compare the spread of the numbers with the derived one, for a layer that is not square."""
    drawn = [
        call(answer, np.random.default_rng(seed), fan_in, fan_out, slope) for seed in (0, 0, 1)
    ]
    W, again, other = (array(w, "W", shape=(fan_in, fan_out)) for w in drawn)
    if not np.array_equal(W, again) or np.array_equal(W, other):
        hint = "The numbers should come from the rng that you are given, and from no other."
        raise Mistake("another-generator", hint)
    kept = 1 + slope**2
    limit = np.sqrt(6 / (kept * fan_in))
    if abs(W.mean()) > 0.1 * limit:
        hint = f"Your weights have the mean {W.mean():.3f}. It should be 0."
        raise Mistake("not-centred", hint)
    # 40,000 draws or more: their standard deviation is within 1 % of the true one, almost surely.
    std = W.std() * np.sqrt(3) / limit
    for ratio, name, hint in (
        (np.sqrt(kept), "slope-ignored",
         "This is the start for ReLU. Some of the left comes through."),
        (np.sqrt(kept / (1 + slope)), "slope-not-squared",
         "The size is the mean of SQUARES: (a z)^2."),
        (np.sqrt(fan_in / fan_out), "fan-out-used", "z is a sum over the inputs of the layer."),
        (1 / np.sqrt(3), "limit-is-not-the-spread", "Numbers up to l have a spread below l."),
        (limit / np.sqrt(3), "variance-for-spread", "Is this the variance, or its root?"),
        (limit, "limit-without-root", "Is this the limit, or its square?"),
        (np.sqrt(1 / 2), "half-forgotten", "Only half of the z are positive, as for ReLU."),
    ):  # fmt: skip
        if abs(std / ratio - 1) < 0.02:
            raise Mistake(name, f"Your spread is {W.std():.4f}. {hint}")
    if abs(std - 1) > 0.02:
        hint = f"Your spread is {W.std():.4f}, and should be {limit / np.sqrt(3):.4f}."
        raise Mistake("wrong-spread", hint)
    if np.abs(W).max() > limit * 1.000001:
        hint = "The spread is right, but some weights lie outside the limits of a uniform start."
        raise Mistake("not-uniform", hint)


@exercise("weights.twins", "Count the units that count", "medium", 20)
def twins(answer: Any) -> None:
    """Build layers whose units agree in some of their weights, or in all of them."""
    rng = np.random.default_rng(0)
    W1, b1, W2 = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=(6, 3))
    agree(_units(answer, W1, b1, W2), 6, what="The number, if no two units agree,")
    into = [0, 1, 1, 3, 4, 4]  # units 1, 2 and units 4, 5 have the same incoming weights
    partly = W1[:, into], b1[into], W2
    if _units(answer, *partly) == 4:
        hint = "Units with the same weights into them get different gradients if those out differ."
        raise Mistake("outgoing-forgotten", hint)
    out = W1, b1, W2[into]
    if _units(answer, *out) == 4:
        hint = "Two units with the same weights out of them still see the inputs differently."
        raise Mistake("incoming-forgotten", hint)
    if _units(answer, W1[:, into], b1, W2[into]) == 4:
        raise Mistake("bias-forgotten", "A unit also has a bias, and it may tell two units apart.")
    agree(_units(answer, *partly), 6, what="The number, if only weights into units agree,")
    agree(_units(answer, *out), 6, what="The number, if only weights out of units agree,")
    three = [0, 1, 1, 1, 4, 4]
    found = _units(answer, W1[:, three], b1[three], W2[three])
    if found == 1:
        raise Mistake("groups-left-out", "A group of equal units goes on as one unit, not as none.")
    if found == 2:
        hint = "Three equal units make three pairs, but only two of the units are superfluous."
        raise Mistake("pairs-counted", hint)
    agree(found, 3, what="The number, if three units are equal and two others are too,")


@exercise("weights.rescale", "A start made to measure", "hard", 30, [(0,), (1,)])
def rescale(answer: Any, seed: int) -> None:
    """Measure the size of the signal in every layer, for a start that is far from right."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (50, 8))
    spreads = [0.05, 3.0, 0.4, 1.0]
    shapes = [(8, 20), (20, 10), (10, 15), (15, 4)]
    start = [rng.normal(0.1, s, shape) for s, shape in zip(spreads, shapes, strict=True)]
    hint = "Return a list with as many matrices as you were given."
    found = parts(call(answer, start, x), len(start), "not-a-list", hint)
    got = [array(W, "A matrix", shape=old.shape) for W, old in zip(found, start, strict=True)]
    factors = [(W / before).ravel() for W, before in zip(got, start, strict=True)]
    if not all(same(f, np.full(f.shape, f[0])) for f in factors):
        for W in found:
            in_double(W, "A matrix")
        hint = "Each matrix should be multiplied by one number. Yours are changed in another way."
        raise Mistake("not-one-factor", hint)
    sizes = _sizes(got, x)
    if same(sizes, np.ones(4), rtol=1e-6):
        return
    if same([f[0] for f in factors], 1 / _sizes(start, x)):
        hint = "Each factor fits the old network. But once the first layer is rescaled,"
        raise Mistake("all-at-once", f"{hint} the second receives other inputs.")
    if same(_spreads(got, x), np.ones(4), rtol=1e-6):
        hint = "You made the standard deviation 1. That of z ignores its mean; the RMS does not."
        raise Mistake("spread-instead-of-rms", hint)
    if same(_sizes(got, x, bend=False), np.ones(4), rtol=1e-6):
        hint = "Right, if there were no activation. The next layer receives max(0, z)."
        raise Mistake("relu-forgotten", hint)
    shown = ", ".join(f"{size:.3g}" for size in sizes)
    raise Mistake("wrong-sizes", f"With your weights, the RMS of z is, layer by layer: {shown}.")


def _units(answer: Any, *arrays: NDArray[Any]) -> float:
    return number(call(answer, *arrays), "The number of units")


def _signals(matrices: list[NDArray[Any]], x: NDArray[Any], bend: bool) -> list[NDArray[Any]]:
    found = []
    for W in matrices:
        found.append(x @ W)
        x = np.maximum(found[-1], 0) if bend else found[-1]
    return found


def _sizes(matrices: list[NDArray[Any]], x: NDArray[Any], *, bend: bool = True) -> NDArray[Any]:
    return np.array([np.sqrt(np.mean(z**2)) for z in _signals(matrices, x, bend)])


def _spreads(matrices: list[NDArray[Any]], x: NDArray[Any]) -> NDArray[Any]:
    return np.array([z.std() for z in _signals(matrices, x, True)])
