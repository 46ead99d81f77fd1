"""Exercises on the forward pass: its memory, its rows, and the flat pieces of its output.

Chapter: forward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, parts, refuse
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake
from course_lib.network import mlp

_Layers = list[tuple[NDArray[Any], NDArray[Any]]]


@exercise("forward.place", "Find a weight in theta", "easy", 10, [([4, 6, 3, 5],), ([4, 8, 3, 7],)])
def place(answer: Any, sizes: list[int]) -> None:
    """Compare with a theta that holds its own places, seen as matrices."""
    net = mlp(sizes)
    tree = [params for params in net.unpack(np.arange(float(net.n_params))) if params]
    for layer, k, j in ((1, 2, 3), (2, 5, 1), (3, 1, 4), (1, None, 2), (3, None, 0)):
        got = number(call(answer, sizes, layer, k, j), "The place")
        W, b = tree[layer - 1]["W"], tree[layer - 1]["b"]
        want = float(b[j] if k is None else W[k, j])
        what = f"the place of {'b' if k is None else 'W'}_{layer}"
        what += f"[{j}]" if k is None else f"[{k}, {j}]"
        biases_before = sum(sizes[1:layer])
        if k is not None and got == W[0, 0] + j * W.shape[0] + k != want:
            hint = f"For {what} you walked down the columns. A matrix is stored row by row."
            raise Mistake("column-by-column", hint)
        if got == want - biases_before != want:
            hint = f"For {what} you passed over the weights of the layers before, not their biases."
            raise Mistake("biases-before-forgotten", hint)
        if got == want + W.size + b.size:
            hint = f"For {what} you passed over one layer too many: the first is layer 1."
            raise Mistake("one-layer-too-far", hint)
        if got == (W[0, 0] + j if k is None else want + b.size):
            hint = f"For {what}: in a layer the weights come first, then the biases."
            raise Mistake("biases-first", hint)
        agree(got, want, what=what.capitalize())


# Random numbers in which all four programs differ, and how far mean and spread are moved.
_SCALED = [(31, 0.0), (18, 0.5)]


@exercise("forward.two_bugs", "Rows that know of each other", "medium", 15, _SCALED)
def two_bugs(answer: Any, seed: int, shift: float) -> None:
    """Compare with programs that have one, both or none of the two bugs."""
    rng = np.random.default_rng(seed)
    x = rng.normal([3, -1, 0, 2], [2, 1, 4, 1], (7, 4))
    layers = [(rng.normal(size=(4, 6)), rng.normal(size=6)), (rng.normal(size=(6, 3)), np.zeros(3))]
    mean, spread = np.array([1.0, 0.0, -2.0, 2.5]), np.array([2.0, 1.5, 3.0, 0.5])
    mean, spread = mean + shift, spread + shift
    got = array(call(answer, x, layers, mean, spread), "The answer")
    own = _outputs(layers, (x - mean) / spread)
    batch = _outputs(layers, (x - x.mean(axis=0)) / x.std(axis=0))
    refuse(
        got,
        ("both-bugs-left", batch.argmax(axis=0), "It gives what it gave before."),
        ("batch-statistics", batch.argmax(axis=1),
         "One row alone gets another answer than in here."),
        ("best-row-of-a-class", own.argmax(axis=0), "There should be as many answers as rows."),
    )  # fmt: skip
    agree(got, own.argmax(axis=1), what="The class of the row")


@exercise("forward.largest_batch", "How many rows fit?", "medium", 20)
def largest_batch(answer: Any) -> None:
    """Compare with the sizes of the arrays that a forward pass really keeps."""
    for sizes, itemsize, memory in (([64, 128, 96, 10], 4, 1_000_000), ([5, 7, 2], 8, 2_000)):
        kept = sizes[0] + 2 * sum(sizes[1:-1]) + sizes[-1]
        theta = mlp(sizes).n_params
        numbers = memory / itemsize
        got = number(call(answer, sizes, memory, itemsize), "The number of rows")
        case = f"widths {sizes}, {memory} bytes and {itemsize} bytes per number"
        exact = (numbers - theta) / kept
        for found, name, hint in (
            (numbers / kept, "theta-forgotten", "The parameters take memory too."),
            ((numbers - theta) / sum(sizes), "hidden-kept-once", "z AND a are kept."),
            ((numbers - theta) / (kept - sizes[0]), "inputs-forgotten", "The inputs are kept."),
            ((numbers - theta) / (kept - sizes[-1]), "outputs-forgotten", "The outputs are kept."),
            ((memory - theta) / kept, "bytes-are-not-numbers", "A number takes several bytes."),
        ):
            if got == int(found) != int(exact):
                raise Mistake(name, f"For {case} you answer {got:g}. {hint}")
        if got == int(exact) + 1 or got == exact:
            hint = f"For {case} you answer {got:.6g}, but {exact:.2f} rows fit: whole rows,"
            raise Mistake("rounded-up", f"{hint} rounded down.")
        agree(got, int(exact), what=f"The number of rows for {case}")
    if number(call(answer, [64, 128, 10], 1_000, 4), "The number of rows") != 0:
        hint = "If not even the parameters fit, no row does: the answer is 0,"
        raise Mistake("less-than-nothing", f"{hint} not a negative number.")


@exercise("forward.flat_piece", "The flat piece under a sample", "hard", 30, [(4, 3), (5, 3)])
def flat_piece(answer: Any, seed: int, depth: int) -> None:
    """Compare with differences of the network, which are exact as long as no unit switches."""
    rng = np.random.default_rng(seed)
    shapes = [(4, 6), (6, 5), (5, 3)]
    layers = [(rng.normal(size=shape), rng.normal(size=shape[1])) for shape in shapes]
    x, h = rng.normal(size=4), 1e-4
    found = call(answer, layers, x)
    found = parts(found, 2, "not-a-pair", "Return a pair: the matrix A and the shift c.")
    if np.shape(found[0]) == (3, 4):
        raise Mistake("transposed", "A should have the shape (inputs, outputs): here (4, 3).")
    A, c = array(found[0], "A", shape=(4, 3)), array(found[1], "c", shape=(3,))
    up, down = (_outputs(layers, x + step * np.eye(4)) for step in (h, -h))
    slopes, value = (up - down) / (2 * h), _outputs(layers, x[None])[0]
    (W1, b1), (W2, b2), (W3, b3) = layers
    on = (x @ W1 + b1 > 0).astype(float)
    refuse(
        A,
        ("all-units-on", W1 @ W2 @ W3, "You multiplied the matrices as if no unit were off."),
        ("later-layers-all-on", W1 * on @ W2 @ W3,
         "The second hidden layer has units that are off."),
    )  # fmt: skip
    agree(A, slopes, what="A", rtol=1e-7, atol=1e-9)
    refuse(
        c,
        ("earlier-biases-lost", b3,
         "The biases of the hidden layers arrive at the output as well."),
        ("value-instead-of-shift", value, "That is the output at x. c is what is left at x = 0."),
        ("biases-of-units-that-are-off", (b1 @ W2 + b2) @ W3 + b3, "Such a unit adds no bias."),
    )  # fmt: skip
    agree(c, value - x @ slopes, what="c", rtol=1e-7, atol=1e-9)


def _outputs(layers: _Layers, x: NDArray[Any]) -> NDArray[Any]:
    for i, (W, b) in enumerate(layers):
        x = x @ W + b
        x = x if i == len(layers) - 1 else np.maximum(x, 0)
    return x
