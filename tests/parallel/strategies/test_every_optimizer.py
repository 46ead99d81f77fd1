"""Every strategy with every option of the optimizers: the serial run, and on from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD, AdaGrad, Adam, AdamW, Nesterov, RMSProp
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    SyncSGD,
    TensorParallel,
    VirtualShards,
    ZeRO1,
    train,
)
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.fingerprints import words
from course_lib.parallel.strategies import STRATEGIES
from tests.parallel.sessions import NET, STEPS, X, Y, assert_equal, run, serial, start

# Each option, and each vector that a state may have.
OPTIMIZERS = [
    SGD(0.1, momentum=0.8, weight_decay=0.01, dampening=0.5),
    SGD(0.1, momentum=0.8, nesterov=True),
    Nesterov(0.05, weight_decay=0.1),
    AdaGrad(0.1, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.1),
    RMSProp(0.01, decay=0.9, eps=1e-2, momentum=0.5, centered=True),
    RMSProp(0.01, centered=True, eps=1e-2, weight_decay=0.1),
    Adam(0.01, beta2=0.8, amsgrad=True, weight_decay=0.1),
    AdamW(0.01, beta2=0.8, amsgrad=True, maximize=True),
]
# With what they promise the serial run, and on how many ranks.
SERIAL = {
    SyncSGD(): 3,
    SyncSGD("ring"): 4,
    VirtualShards(4): 3,
    ZeRO1(): 3,
    ZeRO1("ring"): 4,
    TensorParallel(): 2,
    Pipeline(3, 2): 3,
    Mesh(data=2, pipeline=2, tensor=2, micro_batches=2): 8,
    AsyncParameterServer(0): 2,
    Compressed(PowerSGD(7)): 2,  # of the full rank: nothing is left out
    LocalSGD(4): 1,
}


def test_no_kind_of_strategy_is_missing():
    kinds = {"topk": "powersgd", "int8": "powersgd"}  # all three are Compressed
    assert len({type(strategy) for strategy in SERIAL}) == len(
        {kinds.get(name, name) for name in STRATEGIES} | {"mesh"}
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("strategy", SERIAL, ids=repr)
def test_it_is_the_serial_run_also_from_the_middle_on(strategy, optimizer):
    size, reference = SERIAL[strategy], serial(optimizer)
    whole = run(strategy, size, optimizer)
    # A root of a variance enlarges the roundings of gradients that are added in another order.
    assert_equal(whole, reference, rtol=1e-9)
    assert whole[0].state.keys() == reference.state.keys()
    for name in optimizer.memory:
        scale = np.abs(reference.state[name]).max()
        np.testing.assert_allclose(
            whole[0].state[name], reference.state[name], rtol=0, atol=1e-9 * scale
        )
    half = run(strategy, size, optimizer, last=STEPS + 2)
    assert half[0].state["t"] == STEPS + 2
    again = run(strategy, size, optimizer, first=STEPS + 2, after=half[0])
    assert again[0].theta.tobytes() == whole[0].theta.tobytes()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_local_steps_average_every_vector(optimizer):
    """Two ranks on their own halves: after a round, theta and each vector are their mean."""
    parts = run(LocalSGD(1), 2, optimizer, last=1, rows=np.arange(10))
    own = []
    for rows in (np.arange(5), np.arange(5, 10)):
        theta = start(NET)
        gradient = NET.loss_and_grad(theta, X[rows], Y[rows])[1]
        own.append(optimizer.step(theta, gradient, optimizer.init(theta)))
    np.testing.assert_allclose(parts[0].theta, (own[0][0] + own[1][0]) / 2, rtol=0, atol=1e-12)
    for name in optimizer.memory:
        mean = (own[0][1][name] + own[1][1][name]) / 2
        np.testing.assert_allclose(parts[0].state[name], mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_checkpoint_of_other_options_is_refused_by_name(optimizer, tmp_path):
    plain = type(optimizer)(optimizer.lr)
    options = {"epochs": 1, "batch_size": 10, "seed": 5, "workers": 2, "comm": "inprocess"}
    train(NET, (X, Y), optimizer=plain, checkpoint=tmp_path, **options)
    with pytest.raises(CheckpointMismatch) as refused:
        train(NET, (X, Y), optimizer=optimizer, checkpoint=tmp_path, **options | {"epochs": 2})
    text = str(refused.value)
    assert f"its optimizer is {plain!r}, and here it is {optimizer!r}. Give another" in text
    again = type(optimizer)(optimizer.lr)
    train(NET, (X, Y), optimizer=again, checkpoint=tmp_path, **options | {"epochs": 2})


def test_options_that_are_not_set_are_not_among_the_words():
    """So checkpoints that were written before there were such options are still its own."""
    assert words(SGD(0.1, dampening=0)) == "SGD(lr=0.1, momentum=0.0, weight_decay=0.0)"
    assert words(Adam(0.1, amsgrad=False)) == "Adam(lr=0.1, beta1=0.9, beta2=0.999, eps=1e-08)"
    assert "dampening=0.5" in words(SGD(0.1, dampening=0.5))
