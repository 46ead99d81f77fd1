"""Exercises that go the whole way once: a network by hand, its gradient, and several ranks.

Chapter: conclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.data import batches
from course_lib.exercises.answers import agree, array, call, number, parts, refuse, same, slopes
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake

NAMES = ("W1", "b1", "W2", "b2")


@exercise("conclusion.forward", "A network of your own", "easy", 10, [(5, 3), (2, 4)])
def forward(answer: Any, rows: int, seed: int) -> None:
    """Compare the logits with sums over the single units."""
    params, x, _ = _problem(rows, seed)
    W1, b1, W2, b2 = params
    hidden = np.array(
        [[r[j] + np.tanh(r @ W1[:, j] + b1[j]) for j in range(W1.shape[1])] for r in x]
    )
    want = np.array([[h @ W2[:, c] + b2[c] for c in range(W2.shape[1])] for h in hidden])
    got = array(call(answer, params, x), "z", shape=want.shape)
    bent = np.tanh(x @ W1 + b1)
    powers = np.exp(want)
    refuse(
        got,
        ("road-forgotten", bent @ W2 + b2, "Your hidden layer is the tanh alone; add x."),
        ("road-inside-tanh", np.tanh(x + x @ W1 + b1) @ W2 + b2, "x goes around the tanh, not in."),
        ("tanh-at-the-end", np.tanh(want), "The logits are raw: no activation in the last layer."),
        ("softmax-at-the-end", powers / powers.sum(axis=1, keepdims=True),
         "These are probabilities. The loss expects logits."),
        ("bias-forgotten", (x + np.tanh(x @ W1)) @ W2, "Without biases it would be this."),
    )  # fmt: skip
    agree(got, want, what="z")


@exercise("conclusion.gradient", "Its gradient, by hand", "medium", 25, [(5, 3), (4, 7)])
def gradient(answer: Any, rows: int, seed: int) -> None:
    """Compare with complex steps, for a denominator that is not the number of rows."""
    params, x, y = _problem(rows, seed)
    denominator = 2 * len(x) + 1
    given = call(answer, params, x, y, denominator)
    hint = "Return two things: the loss, then the list of gradients."
    said, grads = parts(given, 2, "not-a-pair", hint)
    if np.ndim(said) != 0:
        raise Mistake("not-a-pair", hint)
    hint = "Return one gradient for each of W1, b1, W2, b2."
    grads = parts(grads, len(NAMES), "not-four-gradients", hint)
    loss = number(said, "The loss")
    want = _loss(params, x, y) / denominator
    if same(loss, want * denominator / len(x)):
        hint = "You divide by the rows that you see. These may be a part of the batch."
        raise Mistake("own-rows", hint)
    if same(loss, want * denominator):
        raise Mistake("not-divided", "Your loss is the sum of the rows. Divide by denominator.")
    agree(loss, want, what="The loss")
    hidden = x + np.tanh(x @ params[0] + params[1])
    blame = _blame(hidden, params, y) / denominator
    without_slope = blame @ params[2].T
    for i, name in enumerate(NAMES):

        def loss_at(moved: NDArray[Any], i: int = i) -> Any:
            return _loss([*params[:i], moved, *params[i + 1 :]], x, y)

        exact = slopes(loss_at, params[i]) / denominator
        got = array(grads[i], f"d{name}", shape=exact.shape)
        if same(got, denominator * exact) or same(got, denominator / len(x) * exact):
            hint = f"The loss is divided by denominator, d{name} is not."
            raise Mistake("gradient-not-divided", hint)
        if same(got, -exact):
            raise Mistake("sign-reversed", f"Each entry of d{name} is right but for its sign.")
        if name == "W1" and same(got, x.T @ without_slope):
            raise Mistake("no-slope", "On its way to W1 the blame passes tanh. Where is its slope?")
        if name == "W1" and same(got, x.T @ (without_slope * (1 - hidden**2))):
            hint = "The slope is 1 - tanh^2. Your square is that of h, which also holds x."
            raise Mistake("slope-of-the-sum", hint)
        if exact.ndim == 1 and same(got, np.full_like(exact, exact.sum())):
            raise Mistake("one-bias-for-all", f"d{name} sums over the rows only, not over units.")
        agree(got, exact, what=f"d{name}", rtol=1e-8, atol=1e-11)


# The rows, and the training: batches of 8, 8 and 2 rows, then of 5, 5 and 1.
_TRAININGS: list[tuple[int, dict[str, Any]]] = [
    (18, {"epochs": 2, "batch_size": 8, "lr": 0.3, "seed": 5}),
    (11, {"epochs": 3, "batch_size": 5, "lr": 0.1, "seed": 1}),
]


@exercise("conclusion.together", "Train it on several ranks", "hard", 30, _TRAININGS)
def together(answer: Any, rows: int, settings: Any) -> None:
    """Compare three ranks with the serial training; the last batch of an epoch is short."""
    params, x, y = _problem(rows, settings["seed"])
    want = _serial(params, x, y, **settings)
    alone = _run(1, answer, params, x, y, settings, [])[0]
    if same(alone, _serial(params, x, y, **settings, drop_last=True)):
        raise Mistake("short-batch-dropped", "The last batch of an epoch is shorter. It counts.")
    if same(alone, _serial(params, x, y, **settings, first_epoch_only=True)):
        hint = "Each epoch has an order of its own: batches(..., epoch=epoch)."
        raise Mistake("same-order-each-epoch", hint)
    agree(alone, want, what="With one rank, the vector of all parameters", rtol=1e-8)
    seen: list[int] = []
    ranks = _run(3, answer, params, x, y, settings, seen)
    if not all(np.array_equal(r, ranks[0]) for r in ranks):
        hint = "With three ranks, each ends with other parameters. What makes them equal?"
        raise Mistake("ranks-differ", hint)
    got = ranks[0]
    refuse(
        got,
        ("mean-of-means", _serial(params, x, y, **settings, means=3),
         "With three ranks, a row on a rank with few rows counts for more. Divide by the rows of "
         "the whole batch."),
        ("not-divided-among-ranks", _serial(params, x, y, **settings, times=3),
         "With three ranks the steps are three times as long: does every rank compute the whole "
         "batch?"),
        ("divided-twice", _serial(params, x, y, **settings, times=1 / 3),
         "With three ranks the steps are a third of what they should be. A sum of parts of a "
         "mean is the mean."),
        rtol=1e-7,
    )  # fmt: skip
    agree(got, want, what="With three ranks, the vector of all parameters", rtol=1e-8)
    if sum(seen) > settings["epochs"] * rows:
        hint = f"Right, but the three ranks computed {sum(seen)} gradients of rows where"
        hint += f" {settings['epochs'] * rows} are enough: each of them trains on its own."
        raise Mistake("every-rank-does-all", hint)


def _problem(rows: int = 5, seed: int = 3) -> tuple[list[NDArray[Any]], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = [(4, 4), (4,), (4, 3), (3,)]
    params = [0.5 * rng.normal(size=shape) for shape in shapes]
    return params, rng.normal(size=(rows, 4)), rng.integers(0, 3, rows)


def _loss(params: Sequence[NDArray[Any]], x: NDArray[Any], y: NDArray[Any]) -> Any:
    W1, b1, W2, b2 = params
    z = (x + np.tanh(x @ W1 + b1)) @ W2 + b2
    return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]).sum()


def _blame(hidden: NDArray[Any], params: Sequence[NDArray[Any]], y: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(hidden @ params[2] + params[3])
    return np.asarray(powers / powers.sum(axis=1, keepdims=True) - np.eye(powers.shape[1])[y])


def _gradients(
    params: Sequence[NDArray[Any]], x: NDArray[Any], y: NDArray[Any], denominator: float
) -> tuple[float, list[NDArray[Any]]]:
    bent = np.tanh(x @ params[0] + params[1])
    dz = _blame(x + bent, params, y) / denominator
    inner = (dz @ params[2].T) * (1 - bent**2)
    grads = [x.T @ inner, inner.sum(axis=0), (x + bent).T @ dz, dz.sum(axis=0)]
    return float(_loss(params, x, y) / denominator), grads


def _serial(
    params: list[NDArray[Any]], x: NDArray[Any], y: NDArray[Any], *, epochs: int, batch_size: int,
    lr: float, seed: int, drop_last: bool = False, first_epoch_only: bool = False,
    means: int = 1, times: float = 1.0,
) -> NDArray[Any]:  # fmt: skip
    for epoch in range(epochs):
        order = batches(len(x), batch_size, seed=seed, epoch=0 if first_epoch_only else epoch)
        for rows in order:
            if drop_last and len(rows) < batch_size:
                continue
            pieces = [piece for piece in np.array_split(rows, means) if len(piece)]
            sizes = [len(piece) * means if means > 1 else len(piece) for piece in pieces]
            parts = [
                _gradients(params, x[piece], y[piece], size)[1]
                for piece, size in zip(pieces, sizes, strict=True)
            ]
            summed = [np.sum(arrays, axis=0) for arrays in zip(*parts, strict=True)]
            params = [p - lr * times * g for p, g in zip(params, summed, strict=True)]
    return np.concatenate([p.ravel() for p in params])


def _run(
    size: int, answer: Any, params: list[NDArray[Any]], x: NDArray[Any], y: NDArray[Any],
    settings: dict[str, Any], seen: list[int],
) -> list[NDArray[Any]]:  # fmt: skip
    from course_lib.parallel.comm import run_threads
    from course_lib.parallel.errors import ParallelError

    shapes = [p.shape for p in params]

    def program(comm: Any) -> Any:
        def counted(params: Any, x: Any, y: Any, denominator: Any) -> Any:
            seen.append(len(x))
            return _gradients(params, x, y, denominator)

        try:
            found = call(answer, comm, counted, params, x, y, **settings)
            hint = "Return the list of the four parameter arrays."
            found = parts(found, len(shapes), "not-four-arrays", hint)
            return np.concatenate(
                [array(f, n, shape=s).ravel() for f, n, s in zip(found, NAMES, shapes, strict=True)]
            )
        except Mistake as mistake:
            return mistake

    results = run_threads(size, program, timeout=3.0)
    mistakes = [result for result in results if isinstance(result, Mistake)]
    own = [m for m in mistakes if not isinstance(m.__cause__, ParallelError)]
    if own:
        raise own[0]
    if mistakes:
        hint = f"With {size} ranks one waits for a message that never comes. Does every rank call"
        raise Mistake("ranks-wait", f"{hint} all_reduce equally often, also without rows?")
    return results
