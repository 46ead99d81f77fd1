"""Exercises on what DistributedDataParallel does with shares, statistics and buckets.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from course_lib.exercises.answers import agree, call, number, refuse, same
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("ddp_on_dask.scale", "The number to call backward on", "easy", 10, [(2,), (1,)])
def scale(answer: Any, split: int) -> None:
    """Ranks with 4, 2 (or 1) and no rows: the average of their numbers is the global mean."""
    losses = [np.array([1.0, 2.0, 3.0, 5.0]), np.array([10.0, 30.0])[:split], np.zeros(0)]
    losses += [np.zeros(0)] * (2 - split)
    total, ranks = 4 + split, len(losses)
    got = [number(call(answer, own, total, ranks), "The number") for own in losses]
    want = [float(own.sum()) * ranks / total for own in losses]
    if not np.isfinite(got).all():
        hint = "A rank may have no rows. Its number is 0, and yours is not even a number."
        raise Mistake("empty-share", hint)
    if same(got[:2], [own.mean() for own in losses[:2]]):
        hint = "You take each rank's own mean. DDP's average of it is a mean of means."
        raise Mistake("mean-of-own-rows", hint)
    refuse(
        got,
        ("average-forgotten", [own.sum() / total for own in losses],
         "Right if the ranks were added. DDP averages them: something divides once too often."),
        ("not-divided", [own.sum() for own in losses],
         "The sum alone grows with the batch. Who divides by its rows?"),
        ("divided-twice", [own.sum() / total / ranks for own in losses],
         "You divide by the ranks. DDP does that as well, so it has to be undone."),
    )  # fmt: skip
    agree(got, want, what="The number of each rank")


@exercise("ddp_on_dask.share", "Rows without padding", "medium", 15)
def share(answer: Any) -> None:
    """Every row of a batch on one rank, once, and as even as can be; any cut is right."""
    for n, size in ((10, 4), (7, 3), (8, 2), (2, 3)):
        batch = [100 + 3 * i for i in range(n)]
        parts = [call(answer, list(batch), rank, size) for rank in range(size)]
        where = f"Of {n} rows on {size} ranks"
        try:
            parts = [[int(row) for row in part] for part in parts]
        except (TypeError, ValueError):
            raise Mistake("not-rows", "Return a list with some of the numbers of batch.") from None
        taken = Counter(row for part in parts for row in part)
        if set(taken) - set(batch):
            hint = f"{where} you return numbers that are not in the batch: places are not rows."
            raise Mistake("places-not-rows", hint)
        if any(count > 1 for count in taken.values()):
            hint = f"{where} {max(taken, key=lambda row: taken[row])} is used more than once."
            raise Mistake("rows-repeated", f"{hint} That is the padding that we want to avoid.")
        if len(taken) < n:
            hint = f"{where} {n - len(taken)} are on no rank. Where does the remainder go?"
            raise Mistake("rows-dropped", hint)
        sizes = [len(part) for part in parts]
        if max(sizes) - min(sizes) > 1:
            hint = f"{where} the ranks get {sizes}. The slowest rank decides: make them more even."
            raise Mistake("uneven", hint)


@exercise(
    "ddp_on_dask.batch_statistics",
    "The variance of a batch that nobody sees",
    "medium",
    20,
    [(0,), (1,)],
)
def batch_statistics(answer: Any, seed: int) -> None:
    """Shards of unequal size and level, against the statistics of all rows together."""
    rng = np.random.default_rng(seed)
    levels = ((0.0, 7 - seed), (4.0, 2), (-2.0, 5))
    shards = [rng.normal(level, 1 + abs(level), size=n) for level, n in levels]
    n = np.array([len(s) for s in shards])
    means, variances = np.array([s.mean() for s in shards]), np.array([s.var() for s in shards])
    whole = np.concatenate(shards)
    pair = call(answer, n, means, variances)
    if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
        raise Mistake("not-a-pair", "Return two numbers: the mean and the variance.")
    got = [number(part, "Each of the two") for part in pair]
    if same(got[0], means.mean()):
        hint = "Your mean gives a small shard as much weight as a large one."
        raise Mistake("shards-not-weighted", hint)
    agree(got[0], whole.mean(), what="The mean")
    if same(got[1], (n * variances).sum() / n.sum()) or same(got[1], variances.mean()):
        hint = "Your variance knows the spread within the shards. Their means are spread, too."
        raise Mistake("between-forgotten", hint)
    if same(got[1], whole.var(ddof=1)):
        hint = "You divide by N - 1. Normalisation uses the variance of these rows: divide by N."
        raise Mistake("divided-by-n-minus-one", hint)
    spread = (means - means.mean()) ** 2
    if same(got[1], (n * (variances + spread)).sum() / n.sum()):
        hint = "The spread of the means is around the mean of ALL rows,"
        raise Mistake("around-the-wrong-mean", f"{hint} not around their plain mean.")
    agree(got[1], whole.var(), what="The variance")


@exercise(
    "ddp_on_dask.exchange_ends",
    "When the last bucket is home",
    "hard",
    30,
    [(8, 0.5, 0.25), (12, 2.0, 0.5)],
)
def exchange_ends(answer: Any, limit: int, alpha: float, beta: float) -> None:
    """Gradients that fill one, several and no whole buckets; times that binary numbers hold."""
    cases = (
        ([1.0, 2.0, 3.0, 4.0], [4, 4, 4, 4], limit),
        ([1.0, 2.0, 3.0, 4.0], [4, 4, 4, 2], limit),
        ([1.0, 5.0, 5.5, 20.0], [8, 8, 8, 4], limit),
        ([2.0, 3.0], [1, 1], 100),
    )

    def ends(
        ready: list[float], sizes: list[int], limit: int, *,
        queue: bool = True, last: bool = True, at: int = -1, overlap: bool = True,
    ) -> float:  # fmt: skip
        end, bucket, done = 0.0, [], []
        for i, (r, n) in enumerate(zip(ready, sizes, strict=True)):
            bucket.append((r, n))
            full = sum(m for _, m in bucket) >= limit
            if full or (last and i == len(ready) - 1):
                begin = bucket[at][0] if overlap else ready[-1]
                end = max(end if queue else 0.0, begin) + alpha + beta * sum(m for _, m in bucket)
                done.append(end)
                bucket = []
        return max(done, default=0.0)

    def times(**change: Any) -> list[float]:
        return [ends(*case, **change) for case in cases]

    got = [number(call(answer, *case, alpha, beta), "The time") for case in cases]
    refuse(
        got,
        ("no-overlap", times(overlap=False),
         "You wait until backward is over. A full bucket leaves at once."),
        ("buckets-at-once", times(queue=False),
         "Your buckets travel side by side. A bucket waits until the one before it is home."),
        ("ready-at-the-first", times(at=0),
         "A bucket can leave when its LAST gradient is ready, not its first."),
        ("last-bucket-forgotten", times(last=False),
         "At the end a bucket that is not full has to leave as well."),
    )  # fmt: skip
    agree(got, times(), what="The time for each of four backward passes")
