"""Every strategy with another number of ranks from a checkpoint on: what it promises, or refused.

The oracles are simulations of all ranks in one loop, which share no code with the strategies; for
those that promise the serial run it is that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from course_lib import SGD
from course_lib.data import batches
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    Strategy,
    SyncSGD,
    TensorParallel,
    TopK,
    VirtualShards,
    ZeRO1,
    train,
)
from course_lib.parallel.strategies import STRATEGIES
from tests.parallel.sessions import BATCH, NET, SEED, STEPS, X, Y, serial, start

pytestmark = pytest.mark.timeout(110)

LR, EPOCHS, CHANGE, H = 0.1, 3, 5, 4  # the change is in the middle of an epoch and of a round


def steps():
    """The rows of every step."""
    for epoch in range(EPOCHS):
        yield from batches(len(X), BATCH, seed=SEED, epoch=epoch)


def slope(theta, rows, divisor):
    if len(rows) == 0:
        return np.zeros_like(theta)
    return NET.loss_and_grad(theta, X[rows], Y[rows])[1] * len(rows) / divisor


def largest(vector):
    kept = np.zeros_like(vector)
    k = int(np.ceil(0.1 * len(vector)))
    at = sorted(range(len(vector)), key=lambda i: -abs(vector[i]))[:k]
    kept[at] = vector[at]
    return kept


def in_127_steps(vector):
    step = max(map(abs, vector)) / 127  # fewer than 1024 numbers: one block
    return np.array([round(v / step) * step if step else 0.0 for v in vector])


def compressed(compress, before, after):
    theta, held = start(NET), [0.0] * before
    for taken, rows in enumerate(steps()):
        if taken == CHANGE:
            held = [sum(held[r::after]) for r in range(after)]
        wanted = [
            slope(theta, part, len(rows)) + rest
            for part, rest in zip(np.array_split(rows, len(held)), held, strict=True)
        ]
        sent = [compress(vector) for vector in wanted]
        held = [vector - part for vector, part in zip(wanted, sent, strict=True)]
        theta = theta - LR * sum(sent)
    return theta


def local(before, after):
    models, seen, taken_in_round = [start(NET)] * before, np.zeros(before), 0

    def average():
        return sum(n * model for n, model in zip(seen, models, strict=True)) / seen.sum()

    for taken, rows in enumerate(steps()):
        if taken == CHANGE:
            models, seen, taken_in_round = [average()] * after, np.zeros(after), 0
        parts = np.array_split(rows, len(models))
        models = [m - LR * slope(m, p, max(1, len(p))) for m, p in zip(models, parts, strict=True)]
        seen += [len(part) for part in parts]
        taken_in_round += 1
        if taken_in_round == H:
            models, seen, taken_in_round = [average()] * len(models), 0 * seen, 0
    return average() if taken_in_round else models[0]


def like_serial(before, after):
    return serial(SGD(LR)).theta


ABLE = {
    SyncSGD(): like_serial,
    SyncSGD("ring"): like_serial,
    ZeRO1(): like_serial,
    VirtualShards(4): like_serial,
    TensorParallel(): like_serial,
    AsyncParameterServer(0): like_serial,
    Compressed(PowerSGD(7)): like_serial,  # of the full rank: nothing is left out
    Compressed(TopK(0.1)): lambda before, after: compressed(largest, before, after),
    Compressed(Int8()): lambda before, after: compressed(in_127_steps, before, after),
    LocalSGD(H): local,
}
UNABLE = [Pipeline(2, 2), Mesh(data=2), Mesh(tensor=3)]


def test_each_kind_of_strategy_is_among_them():
    texts = {"virtual": "8", "local": "2", "server": "1", "topk": "0.1", "powersgd": "1"}
    texts["pipeline"] = "2:2"
    made = {type(k.make(*filter(None, texts.get(n, "").split(":")))) for n, k in STRATEGIES.items()}
    assert made | {Mesh} == {type(strategy) for strategy in [*ABLE, *UNABLE]}


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 3), (2, 4), (3, 2), (4, 1)])
@pytest.mark.parametrize("strategy", ABLE, ids=repr)
def test_with_more_or_fewer_ranks_it_is_what_it_promises(strategy, before, after, tmp_path):
    options = {
        "strategy": strategy, "optimizer": SGD(LR), "epochs": EPOCHS, "batch_size": BATCH,
        "seed": SEED, "theta": start(NET), "comm": "inprocess",
    }  # fmt: skip
    train(NET, (X, Y), workers=(1, before), checkpoint=tmp_path, every=CHANGE, keep=99, **options)
    point = tmp_path / f"step-{CHANGE:08}.json"
    result = train(NET, (X, Y), workers=(1, after), resume=point, **options)
    assert CHANGE % STEPS and CHANGE % H
    assert len(result.digests) == after
    assert result.replicas_identical
    wanted = ABLE[strategy](before, after)
    np.testing.assert_allclose(result.theta, wanted, rtol=0, atol=1e-12)


@dataclass(frozen=True)
class Mine(Strategy):
    def start(self, comm, job, clock):
        return SyncSGD().start(comm, job, clock)


@pytest.mark.parametrize("workers", [(1, 2), (2, 3), (3, 6)])
@pytest.mark.parametrize("strategy", [*UNABLE, Mine()], ids=repr)
def test_what_can_not_do_with_another_number_says_so_before_it_starts(strategy, workers):
    with pytest.raises(ValueError, match=r"needs \d ranks, got \d|number of ranks change, and"):
        train(
            NET, (X, Y), strategy=strategy, workers=workers, comm="inprocess",
            optimizer=SGD(LR), epochs=1, batch_size=BATCH,
        )  # fmt: skip


def test_a_class_of_ones_own_may_say_that_it_can():
    class Able(Mine):
        elastic = True

    options = {"optimizer": SGD(LR), "epochs": 1, "batch_size": BATCH, "comm": "inprocess"}
    able = train(NET, (X, Y), strategy=Able(), workers=(1, 2), **options)
    assert able.digests == train(NET, (X, Y), workers=2, **options).digests
