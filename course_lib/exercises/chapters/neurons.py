"""Exercises on single neurons: their lines, their inputs, and what they can learn.

Chapter: neurons.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, in_double, parts, refuse, same, truth
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake

_CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


@exercise("neurons.gate", "Rain, but no umbrella", "easy", 5)
def gate(answer: Any) -> None:
    """Evaluate the neuron on the four corners, and name the gate that it is."""
    w1, w2, b = array(answer, "(w1, w2, b)", shape=(3,)).astype(float)
    fires = tuple((_CORNERS @ [w1, w2] + b >= 0).astype(int).tolist())
    if fires == (0, 0, 1, 0):
        return
    if fires[0]:
        hint = "It already fires at (0, 0), where z is the bias alone. Which sign must b have?"
        raise Mistake("fires-at-the-origin", hint)
    for table, name, hint in (
        ((0, 1, 0, 0), "inputs-exchanged", "Yours says: an umbrella, but no rain."),
        ((0, 0, 0, 1), "and", "Yours is AND. The second input should speak against firing."),
        (
            (0, 0, 1, 1),
            "second-input-ignored",
            "The umbrella makes no difference: w2 is too small.",
        ),
        ((0, 1, 1, 1), "or", "Yours is OR. The second input should speak against firing."),
        ((0, 0, 0, 0), "never-fires", "Yours never fires, not even at (1, 0): there z = w1 + b."),
    ):
        if fires == table:
            raise Mistake(name, hint)
    raise Mistake("first-input-ignored", "Yours fires with an umbrella, whether it rains or not.")


@exercise("neurons.line", "A neuron through two points", "medium", 15)
def line(answer: Any) -> None:
    """Compare with distances from the line, for slanted and upright lines on both sides."""
    for p, q, r in (([1, 2], [3, 1], [0, 0]), ([1, 2], [3, 1], [4, 4]), ([2, 0], [2, 5], [-1, 7])):
        points = [np.array(point, float) for point in (p, q, r)]
        hint = "Return a pair: the array of the two weights, and the bias."
        found = parts(call(answer, *points), 2, "not-a-pair", hint)
        w, b = array(found[0], "w", shape=(2,)), array(found[1], "b", shape=())
        along = points[1] - points[0]
        z = np.array([w @ point + b for point in points])
        if not w.any():
            raise Mistake("no-weights", "With both weights 0 there is no line.")
        if not np.isfinite(z).all():
            hint = "For an upright line your numbers are not finite. Do without slopes and"
            raise Mistake("upright-line", f"{hint} divisions by a difference of coordinates.")
        if same(abs(w @ along), np.linalg.norm(w) * np.linalg.norm(along)):
            hint = "Your weights point along the line. They should stand at right angles to it."
            raise Mistake("along-the-line", hint)
        if not same(z[:2], [0, 0]):
            in_double(w, "w")
            in_double(b, "b")
            if same(w @ along, 0.0):
                hint = f"The direction is right, but at p your z is {z[0]:.3g}. It should be 0."
                raise Mistake("line-is-shifted", hint)
            raise Mistake("another-line", f"At p and q, z should be 0; yours is {z[:2].round(3)}.")
        if not same(np.linalg.norm(w), 1.0):
            in_double(w, "w")
            hint = f"The line is right. Your weights have the length {np.linalg.norm(w):.3g}."
            raise Mistake("not-of-length-one", hint)
        if z[2] < 0:
            hint = "At r your z is negative. Turn the neuron round: both the weights and the bias."
            raise Mistake("other-side", hint)


@exercise("neurons.scaling", "Undo the scaling", "medium", 15, [(0.0,), (1.5,)])
def scaling(answer: Any, moved: float) -> None:
    """Compare the answers of the new neuron on raw inputs with those of the old on scaled ones."""
    w, b = np.array([2.0, -1.0, 0.5 + moved]), 0.25 - moved
    mean, spread = np.array([10.0, -3.0, 0.5]) + moved, np.array([4.0, 0.5, 2.0]) + moved
    hint = "Return a pair: the array of the new weights, and the new bias."
    found = parts(call(answer, w, b, mean, spread), 2, "not-a-pair", hint)
    got_w, got_b = array(found[0], "The weights", shape=(3,)), array(found[1], "The bias", shape=())
    if same(got_w, w * spread):
        hint = "An input that is counted in smaller units gives larger numbers. Its weight then ..."
        raise Mistake("multiplied-by-the-spread", hint)
    agree(got_w, w / spread, what="The weight")
    shift = w @ (mean / spread)
    refuse(
        got_b,
        ("bias-not-moved", b,
         "At x = mean the old neuron answers b. What does yours answer there?"),
        ("shift-added", b + shift,
         "The mean is subtracted from x; multiply out, and mind the sign."),
        ("shift-not-divided", b - w @ mean, "The mean is divided by the spread as well."),
    )  # fmt: skip
    agree(got_b, b - shift, what="The bias")


@exercise("neurons.circle", "Learn it, or prove that nobody can", "hard", 30)
def circle(answer: Any) -> None:
    """Try all truth tables of two and three inputs, and a task that takes many passes."""
    for inputs in (2, 3):
        corners = np.array(list(itertools.product((0, 1), repeat=inputs)))
        possible = _tables(corners)
        for table in itertools.product((0, 1), repeat=len(corners)):
            says = _decision(answer, corners, np.array(table))
            if says == (table in possible):
                continue
            case = f"the {len(table)} corners with the answers {table}"
            if says:
                hint = f"You say that a neuron can learn {case}. None can."
                raise Mistake("impossible-is-called-possible", hint)
            if len(table) == 4 and _without_bias(answer, corners):
                hint = f"You give up on {case}. Does your neuron learn its bias, too?"
                raise Mistake("bias-not-learned", hint)
            hint = f"You say that no neuron can learn {case}. One can. Weights that stayed where"
            hint += " they are have not come back: only a correction moves them."
            raise Mistake("possible-is-called-impossible", hint)
    narrow = np.array([[40, 1], [41, 1], [40, 3], [41, 3]])
    narrower = np.array([[150], [151]])  # 22,803 passes
    for points in (narrow, narrower):
        if not _decision(answer, points, np.arange(len(points)) % 2):
            hint = (
                f"{len(points)} points with a narrow gap can be learned, but it takes many passes."
            )
            raise Mistake("gave-up-too-early", f"{hint} A limit on their number proves nothing.")


def _decision(answer: Any, x: NDArray[Any], y: NDArray[Any]) -> bool:
    return truth(call(answer, x, y))


def _without_bias(answer: Any, corners: NDArray[Any]) -> bool:
    """Tell whether the answer learns NOT, whose border may pass through the origin, but not AND."""
    learns = [_decision(answer, corners, np.array(t)) for t in ((1, 1, 0, 0), (0, 0, 0, 1))]
    return learns == [True, False]


def _tables(corners: NDArray[Any]) -> set[tuple[int, ...]]:
    """Return all truth tables of single neurons, found by trying small whole weights."""
    weights = np.array(list(itertools.product(range(-3, 4), repeat=corners.shape[1])))
    sums = corners @ weights.T
    return {tuple(t) for b in range(-9, 10) for t in (sums + b + 0.5 > 0).astype(int).T.tolist()}
