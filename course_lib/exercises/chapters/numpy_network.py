"""Exercises on a whole network: its way back, when it stops, and what its scores hide.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, in_double, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


def _pair(value: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise Mistake("not-a-pair", f"Return two things, {what}, in this order.")
    return value[0], value[1]


# In the first one the last class is never answered, in the second the first of three.
_TABLES = [
    (np.array([[8, 2, 0, 0], [1, 6, 3, 0], [0, 0, 9, 0], [4, 0, 1, 0]]),),
    (np.array([[0, 2, 1], [0, 5, 2], [0, 1, 7]]),),
]


@exercise("numpy_network.found_and_right", "Found, and rightly named", "easy", 10, _TABLES)
def found_and_right(answer: Any, table: Any) -> None:
    """Compare both shares of each class for a table with a class that is never answered."""
    right = np.diag(table)
    found, named = right / table.sum(axis=1), right / np.maximum(table.sum(axis=0), 1)
    got = _pair(call(answer, table), "the share found and the share rightly named")
    if same(got[0], named) or (same(got[1], found) and not same(got[0], found)):
        hint = "The two are exchanged. A row holds all images of one true digit: sum along it."
        raise Mistake("rows-and-columns-exchanged", hint)
    for values in got:
        if same(values, right / table.sum()):
            hint = "You divide by the number of all images. Of which images is a share asked for?"
            raise Mistake("divided-by-all", hint)
        if same(values, right.sum() / table.sum()):
            hint = "That is the accuracy, one number. Asked for is one share per digit."
            raise Mistake("accuracy-instead", hint)
    if np.any(~np.isfinite(array(got[1], "The share rightly named", shape=right.shape))):
        hint = "One digit is never answered, so 0 / 0 comes out. The task says 0 there."
        raise Mistake("never-answered", hint)
    agree(got[0], found, what="The share found", inputs={"confusion": table})
    agree(got[1], named, what="The share rightly named", inputs={"confusion": table})


@exercise("numpy_network.stopping", "Where training stops", "medium", 15)
def stopping(answer: Any) -> None:
    """Compare the best epoch and the number of epochs run, for curves with traps."""
    curves = [
        ([0.9, 0.5, 0.6, 0.4, 0.45, 0.41, 0.42, 0.2], 3),
        ([0.9, 0.5, 0.7, 0.6, 0.8, 0.4], 3),
        ([0.5, 0.3, 0.3, 0.3, 0.1], 2),
        ([0.9, 0.8, 0.7, 0.6], 2),
        ([0.4, 0.5], 1),
    ]
    got = []
    for losses, patience in curves:
        pair = _pair(call(answer, list(losses), patience), "the best epoch and the number run")
        got.append(tuple(int(number(v, "Each of the two")) for v in pair))
    want = [_stops(*curve) for curve in curves]
    for variant, hint in (
        ("looks-ahead", "Your best epoch is one that training never reaches: it has stopped."),
        ("last-instead-of-best", "You return the last epoch. Which had the lowest loss so far?"),
        ("counts-rises", "You wait for several rises in a row. A small dip that is no new best "
         "does not start the waiting anew."),
        ("equal-is-better", "A loss equal to the best is no improvement, so the waiting goes on."),
        ("one-epoch-late", "You run one epoch too many: stop when `patience` epochs are over."),
        ("number-from-zero", "The second number counts epochs. After epochs 0 to 3 it is 4."),
    ):  # fmt: skip
        if got == [_stops(*curve, variant) for curve in curves]:
            raise Mistake(variant, hint)
    for (losses, patience), expected, yours in zip(curves, want, got, strict=True):
        if yours != expected:
            hint = f"Losses {losses}, patience {patience}: expected {expected}, got {yours}."
            raise Mistake("wrong-epochs", hint)


@exercise("numpy_network.deeper", "Any number of layers", "medium", 20)
def deeper(answer: Any) -> None:
    """Compare the gradients of networks with one, three and four layers, two of them square."""
    for sizes in ([5, 3], [5, 4, 4, 3], [4, 4, 4, 4, 2]):
        params, inputs, dz = _deep_case(sizes)
        want = _way_back(params, inputs, dz)
        found = call(answer, params, inputs, dz)
        layers = len(params)
        hint = f"Return a list with a pair (dW, db) for each of the {layers} layers."
        found = parts(found, layers, "not-a-pair-per-layer", hint)
        got = [_pair(pair, "dW and db, for each layer") for pair in found]
        if _all_same(got, want):
            continue
        if _all_same(got, want[::-1]):
            hint = "The gradients are right, but the last layer comes first. Turn the list round."
            raise Mistake("last-layer-first", hint)
        for variant, hint in (
            ("relu-left-out", "Below the last layer, the derivative of ReLU is missing."),
            (
                "gate-on-the-gradient",
                "You switch off where the arriving gradient is negative. ReLU asks for the sign"
                " of what went forward.",
            ),
            (
                "weights-not-transposed",
                "With square weights your way back uses W, not its transpose. No shape complains.",
            ),
            ("divided-again", "dz holds the division by the number of rows already."),
        ):
            if _all_same(got, _way_back(params, inputs, dz, variant)):
                raise Mistake(variant, hint)
        for k, ((dW, db), (right_W, right_b)) in enumerate(zip(got, want, strict=True)):
            name = f"of layer {k} of {layers}"
            if same(db, np.full(len(right_b), right_b.sum())) or same(db, right_b.sum()):
                hint = "The bias gradient is summed over rows and units. Each unit has its own."
                raise Mistake("bias-summed-over-units", hint)
            agree(dW, right_W, what=f"dW {name}", rtol=1e-8)
            agree(db, right_b, what=f"db {name}", rtol=1e-8)


def _deep_case(sizes: list[int]) -> tuple[Any, Any, NDArray[Any]]:
    rng = np.random.default_rng(len(sizes))
    shapes = pairwise(sizes)
    params = [(rng.normal(size=(m, n)), rng.normal(size=n)) for m, n in shapes]
    inputs = [rng.normal(size=(6, sizes[0]))]
    for W, b in params[:-1]:
        inputs.append(np.maximum(inputs[-1] @ W + b, 0.0))
    return params, inputs, rng.normal(size=(6, sizes[-1]))


def _way_back(params: Any, inputs: Any, dz: NDArray[Any], variant: str = "") -> list[Any]:
    """Return the pair of gradients of each layer, or what a typical mistake makes of them."""
    grads: list[Any] = []
    scale = 1 / len(dz) if variant == "divided-again" else 1.0
    for k in reversed(range(len(params))):
        grads.insert(0, (scale * inputs[k].T @ dz, scale * dz.sum(axis=0)))
        W = params[k][0]
        if k == 0:
            break
        square = W.shape[0] == W.shape[1]
        da = dz @ (W if variant == "weights-not-transposed" and square else W.T)
        gate = da > 0 if variant == "gate-on-the-gradient" else inputs[k] > 0
        dz = da if variant == "relu-left-out" else da * gate
    return grads


def _all_same(got: list[Any], want: list[Any]) -> bool:
    pairs = zip(got, want, strict=True)
    return all(
        same(g, w, rtol=1e-8) for pair, other in pairs for g, w in zip(pair, other, strict=True)
    )


@exercise("numpy_network.first_loss", "Predict the first loss", "hard", 30)
def first_loss(answer: Any) -> None:
    """Compare with the formula for two tables and numbers of classes; name a lost factor."""
    rng = np.random.default_rng(3)
    for x, k in ((0.5 * rng.random((20, 8)), 3), (0.5 * rng.normal(size=(7, 4)), 10)):
        got = number(call(answer, x, k), "The predicted loss")
        square, share = float(np.mean(x**2)), 1 - 1 / k
        even, excess = np.log(k), share * square
        refuse(
            got,
            ("log-k-only", even, "That is the loss of equal logits. Random ones cost a bit more."),
            ("classes-left-out", even + square,
             "You took the variance of a logit for the variance within a row: the mean of the k "
             "logits is subtracted there."),
            ("twice-too-far", even + 2 * excess,
             "Twice too far above log k. A factor 1/2 comes in at two places: ReLU, and the "
             "second fact."),
            ("he-factor-left-out", even + excess / 4,
             "Your weights have the variance 1 / m. He's start has twice that."),
            ("one-layer-only", even + excess / 2,
             "Half of what it should be. Each of the two layers has weights by He's rule."),
            ("sum-of-squares", even + excess * x.shape[1],
             "You add up the squares of a row. Divided by the m inputs it is their mean."),
            ("spread-about-the-mean", even + share * float(np.var(x)),
             "You take the variance of the inputs. Their mean is not subtracted before W."),
        )  # fmt: skip
        if 1e-9 < abs(got - even - excess) < 0.3 * excess:
            in_double(call(answer, x, k), "The loss")
            hint = "Close, but a formula with no random number in it gives all the digits."
            raise Mistake("close-only", f"{hint} Keep to the two facts of the task.")
        agree(got, even + excess, what="The first loss", inputs={"k": k})


def _stops(losses: list[float], patience: int, variant: str = "") -> tuple[int, int]:
    """Return the best epoch and the number of epochs run, or those of a typical mistake."""
    best, rises, ran = 0, 0, 0
    late = variant == "one-epoch-late"
    for epoch, loss in enumerate(losses):
        ran = epoch + 1
        equal = variant == "equal-is-better" and loss == losses[best]
        rises = rises + 1 if epoch and loss >= losses[epoch - 1] else 0
        if loss < losses[best] or equal:
            best = epoch
        waited = rises if variant == "counts-rises" else epoch - best
        if waited >= patience + late:
            break
    if variant == "looks-ahead":
        best = int(np.argmin(losses))
    if variant == "last-instead-of-best":
        best = ran - 1
    return best, ran - (variant == "number-from-zero")
