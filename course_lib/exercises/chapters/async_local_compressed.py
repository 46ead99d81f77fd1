"""Exercises on training that waits less, talks less or says less.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, parts, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake

Arrays = NDArray[Any]


@exercise("async_local_compressed.feedback", "Late, not lost", "easy", 10, [(0.5, 2), (-3.0, 3)])
def feedback(answer: Any, first: float, k: int) -> None:
    """Compare two steps of the largest entries with feedback, worked out with a sort."""
    residual = np.array([first, -2.0, 0.25, 3.0, -0.125])
    gradient = np.array([2 * first, -1.0, 4.0, -2.5, 0.5])
    sent, owed = _pair(call(answer, gradient, residual, k), gradient)
    v = gradient + residual
    want = _largest(v, k)
    if same(sent, _largest(gradient, k)):
        hint = "What is owed has to be added to the gradient before the largest are chosen."
        raise Mistake("residual-ignored", hint)
    if same(sent, np.where(v >= np.sort(v)[-k], v, 0.0)):
        hint = "You take the largest numbers. -3 is larger in magnitude than 1."
        raise Mistake("sign-counts", hint)
    agree(sent, want, what="What is sent", inputs={"gradient + residual": v})
    if same(owed, gradient - want):
        hint = "The new residual is what was to be sent, less what was:"
        raise Mistake("old-residual-dropped", f"{hint} gradient AND residual count.")
    if same(owed, residual + v - want):
        hint = "The old residual is in the vector already. You add it a second time."
        raise Mistake("residual-twice", hint)
    agree(owed, v - want, what="The new residual", inputs={"gradient + residual": v})


def _pair(value: Any, like: Arrays) -> tuple[Arrays, Arrays]:
    hint = "Return two arrays: what is sent, and the new residual."
    sent, owed = parts(value, 2, "not-a-pair", hint)
    shape = like.shape
    return array(sent, "What is sent", shape=shape), array(owed, "The new residual", shape=shape)


def _largest(v: Arrays, k: int) -> Arrays:
    order = sorted(range(len(v)), key=lambda i: -abs(v[i]))[:k]
    return np.array([v[i] if i in order else 0.0 for i in range(len(v))])


@exercise("async_local_compressed.finish", "When is it over?", "medium", 20, [(1.0,), (3.5,)])
def finish(answer: Any, first: float) -> None:
    """Compare with the rule played through, for several stalenesses."""
    times = np.array(
        [[first, 5.0, 1.0, 1.0, 2.0], [2.0, 1.0, 1.0, 4.0, 1.0], [1.0, 1.0, 3.0, 1.0, 6.0]]
    )
    got = {s: number(call(answer, times, s), "The time") for s in (0, 1, 2, 10)}
    want = {s: _finish(times, s) for s in got}
    alone = float(times.sum(axis=1).max())
    if same(got[0], alone):
        hint = "Your ranks never wait. With s = 0 each step begins when all have finished the last."
        raise Mistake("nobody-waits", hint)
    if len(set(got.values())) == 1:
        hint = "The staleness changes nothing in your answer."
        raise Mistake("staleness-ignored", hint)
    if same(got[1], want[0]) and same(got[2], want[1]):
        hint = "You let ranks be one step less ahead than they may: with s = 1 you wait as with 0."
        raise Mistake("one-step-too-strict", hint)
    if same(got[0], want[1]):
        hint = "With s = 0 your ranks are a step ahead already. Step k needs step k - s - 1 of all."
        raise Mistake("one-step-too-free", hint)
    for s, right in want.items():
        agree(got[s], right, what=f"The time at staleness {s}")


def _finish(times: Arrays, s: int, *, lag: int = 1) -> float:
    ends = np.zeros_like(times)
    for k in range(times.shape[1]):
        for r in range(len(times)):
            begin = ends[r, k - 1] if k else 0.0
            if k >= s + lag:
                begin = max(begin, max(ends[q, k - s - lag] for q in range(len(times))))
            ends[r, k] = begin + times[r, k]
    return float(ends[:, -1].max())


@exercise("async_local_compressed.power_step", "One step of PowerSGD", "hard", 30, [(0,), (1,)])
def power_step(answer: Any, seed: int) -> None:
    """Compare with the projection of the summed matrix onto the range of P, by least squares."""
    rng = np.random.default_rng(seed)
    matrices = [rng.normal(size=(6, 4)) for _ in range(3)]
    q = rng.normal(size=(4, 2))
    found = call(answer, matrices, q)
    found = parts(found, 2, "not-a-pair", "Return the approximation (n, m) and the new q (m, r).")
    total = np.sum(matrices, axis=0)
    got = array(found[0], "The approximation", shape=total.shape)
    p = total @ q
    nearest = p @ np.linalg.lstsq(p, total)[0]
    lengths = p / np.linalg.norm(p, axis=0)
    each = [m @ q @ np.linalg.lstsq(m @ q, m)[0] for m in matrices]
    refuse(
        got,
        ("mean-instead", nearest / 3,
         "You return the mean over the ranks. The sum of their matrices is asked for."),
        ("not-orthonormal", p @ (p.T @ total),
         "P must have orthonormal columns before it is multiplied by its transpose."),
        ("not-at-right-angles", lengths @ (lengths.T @ total),
         "The columns of your P have the length 1, but are not at right angles yet."),
        ("old-q-used", np.linalg.qr(p)[0] @ q.T,
         "P is right, but you multiply it by the q that you were given, not by the new one."),
        ("own-p", np.sum(each, axis=0),
         "Each rank has a P of its own. The P are added BEFORE they are made orthonormal, or the "
         "ranks' factors do not belong together."),
        ("nothing-saved", total,
         "That is the exact sum: it takes all the bytes that were to be saved."),
    )  # fmt: skip
    agree(got, nearest, what="The approximation")
    new = array(found[1], "The new q", shape=q.shape)
    if same(new, q):
        hint = "The new q is the old one. The next step is to start where this one ended."
        raise Mistake("q-not-renewed", hint)
    # q is fixed up to a rotation of its columns: compare what does not depend on it.
    agree(new @ new.T, total.T @ nearest, what="q times q^T")
