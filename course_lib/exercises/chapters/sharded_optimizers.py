"""Exercises on the memory of a training step, and on sharing it out.

Chapter: sharded optimizers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib.exercises.answers import agree, array, call, number, parts, refuse, same
from course_lib.exercises.chapters.collectives import run_ranks
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake
from course_lib.parallel import shard
from course_lib.parallel.comm import Comm

Arrays = NDArray[Any]


@exercise("sharded_optimizers.stage_bytes", "Bytes per rank", "easy", 10)
def stage_bytes(answer: Any) -> None:
    """Compare all stages, for a number of parameters that the ranks divide and one they do not."""
    for n, p in ((1200, 4), (1201, 4), (1000, 3)):
        got = [number(call(answer, n, p, stage), f"Stage {stage}") for stage in range(4)]
        part = -(-n // p)
        want = [float(sum(_bytes(n, part, stage))) for stage in range(4)]
        if same(got, [sum(_bytes(n, part, stage, state=8)) for stage in range(4)]):
            hint = "The state has three vectors of 4 bytes: Adam's two, and the float32 weights."
            raise Mistake("master-copy-forgotten", hint)
        if same(got[1:], [want[3]] * 3):
            hint = "You cut everything in every stage. That is stage 3."
            raise Mistake("everything-cut", hint)
        if same(got, [want[0], want[2], want[1], want[3]]) or same(
            got[1], sum(_bytes(n, part, 1, order=(2, 1, 3)))
        ):
            hint = "The largest of the three is cut first: the state. Then the gradient."
            raise Mistake("wrong-order", hint)
        if n % p and any(same(got[3], least) for least in (16 * n / p, 16 * n // p, 16 * (n // p))):
            hint = "A rank cannot keep a quarter of a number. The largest slice decides: round up."
            raise Mistake("not-rounded-up", hint)
        agree(got, want, what="The bytes of stages 0 to 3")


def _bytes(
    n: int, part: int, stage: int, *, state: int = 12, order: tuple[int, int, int] = (1, 2, 3)
) -> tuple[int, int, int]:
    cut = [part if stage >= first else n for first in order]
    return state * cut[0], 2 * cut[1], 2 * cut[2]


@exercise(
    "sharded_optimizers.clip", "Clip what nobody has whole", "medium", 15, [(3.0, 2.0), (-8.0, 0.5)]
)
def clip(answer: Any, first: float, limit: float) -> None:
    """Compare with clipping the whole vector, for a long and for a short gradient."""
    long = [np.array([first, 0.0, 1.0]), np.array([-4.0, 2.0]), np.array([0.5, 5.0])]
    whole = np.concatenate(long)
    norm = math.sqrt(sum(v * v for v in whole))
    got = _joined(call(answer, long, limit), long)
    each = np.concatenate([v * min(1.0, limit / np.linalg.norm(v)) for v in long])
    refuse(
        got,
        ("own-norm", each,
         "Each slice is scaled by its own norm. The norm of ALL slices together decides."),
        ("norms-added", whole * limit / sum(float(np.linalg.norm(v)) for v in long),
         "You add the norms of the slices. It is their squares that add up."),
        ("entries-clipped", np.clip(whole, -limit, limit),
         "You limit single entries. The length of the vector is to be limited."),
        ("root-forgotten", whole * limit / norm**2, "You divide by the square of the norm."),
    )  # fmt: skip
    agree(got, whole * limit / norm, what="The clipped gradient")
    short = _joined(call(answer, long, 100.0), long)
    if not same(short, whole):
        hint = "A gradient shorter than the limit is changed. It must stay as it is."
        raise Mistake("short-one-changed", hint)


def _joined(value: Any, like: list[Arrays]) -> Arrays:
    hint = f"Return a list of {len(like)} arrays, one per slice."
    pairs = zip(parts(value, len(like), "not-slices", hint), like, strict=True)
    return np.concatenate([array(v, "A slice", shape=own.shape) for v, own in pairs])


@exercise(
    "sharded_optimizers.zero_step", "ZeRO with momentum", "hard", 30, [(0.1, 0.9), (0.02, 0.5)]
)
def zero_step(answer: Any, lr: float, momentum: float) -> None:
    """Compare three steps on three ranks with momentum on one, and count what was sent."""
    n, p = 10, 3  # 3 does not divide 10
    theta, velocity = np.linspace(-1, 1, n), np.zeros(n)
    for step in range(3):
        total = sum(_gradient(rank, step, n) for rank in range(p))
        velocity = momentum * velocity + total
        theta = theta - lr * velocity
    found = run_ranks(p, lambda comm: _steps(answer, comm, n, lr, momentum))
    for rank, (own, mine, _) in enumerate(found):
        part = shard(n, rank, p)
        if mine.shape == (n,):
            hint = "The velocity that you return is the whole one. Each rank keeps its slice only."
            raise Mistake("whole-state", hint)
        if same(own[part], theta[part]) and not same(own, theta):
            hint = f"On rank {rank}, only its own slice has moved. The others need it, too."
            raise Mistake("not-gathered", hint)
        if same(own[part], _alone(rank, n, lr, momentum)[part]):
            hint = "Each rank steps by its own gradient. It has to be summed over the ranks."
            raise Mistake("gradient-not-summed", hint)
        agree(own, theta, what=f"theta on rank {rank} after three steps")
        agree(mine, velocity[part], what=f"The velocity of rank {rank}")
    # Two thirds of ten numbers, twice, in three steps; slices of four instead of three: a few more.
    most = max(sent for _, _, sent in found)
    if most > 3 * 8 * 15:
        hint = f"A rank sends {most // 3} bytes per step: the whole gradient travels. Only slice r"
        raise Mistake("too-much-sent", f"{hint} of the sum is needed on rank r (reduce_scatter).")


def _steps(answer: Any, comm: Comm, n: int, lr: float, momentum: float) -> tuple[Any, Any, int]:
    theta: Any = np.linspace(-1, 1, n)
    part = shard(n, comm.rank, comm.size)
    velocity: Any = np.zeros(part.stop - part.start)
    for step in range(3):
        gradient = _gradient(comm.rank, step, n)
        value = call(answer, comm, theta, gradient, velocity, lr=lr, momentum=momentum)
        hint = "Return two arrays: theta (n,), and this rank's velocity."
        value = parts(value, 2, "not-a-pair", hint)
        theta = array(value[0], "theta", shape=(n,))
        velocity = array(value[1], "The velocity")
        if velocity.shape == (n,):
            break
    return theta, velocity, comm.counters.bytes


def _gradient(rank: int, step: int, n: int) -> Arrays:
    return np.random.default_rng([rank, step]).normal(size=n)


def _alone(rank: int, n: int, lr: float, momentum: float) -> Arrays:
    theta, velocity = np.linspace(-1, 1, n), np.zeros(n)
    for step in range(3):
        velocity = momentum * velocity + _gradient(rank, step, n)
        theta = theta - lr * velocity
    return theta
