"""A rank's noise is its rows of the noise that the serial run draws; its rounding is its own."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import SGD
from course_lib.layers import noise
from course_lib.parallel import Compressed, Int8, shard
from course_lib.parallel.strategies.local_gradient import RowNoise
from tests.parallel.sessions import NET, NOISY, SEED, STEPS, X, Y, run, start


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_ranks_together_draw_what_the_serial_run_draws_layer_after_layer(size):
    total, widths = 7, [5, 1, 3]  # with 8 ranks, the last has no rows
    serial = np.random.default_rng([4, 2, 1])
    expected = [serial.random((total, width)) for width in widths]
    drawn = []
    for rank in range(size):
        rows = shard(total, rank, size)
        own = RowNoise(np.random.default_rng([4, 2, 1]), rows, total)
        drawn.append([own.random((rows.stop - rows.start, width)) for width in widths])
    for layer, whole in enumerate(expected):
        np.testing.assert_array_equal(np.concatenate([d[layer] for d in drawn]), whole)


def test_other_generators_are_refused():
    with pytest.raises(TypeError, match=r"default_rng \(PCG64\), got one on MT19937"):
        RowNoise(np.random.Generator(np.random.MT19937(0)), slice(0, 1), 2)


def test_the_wrong_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="made for 2 rows, asked for 3"):
        RowNoise(np.random.default_rng(0), slice(0, 2), 5).random((3, 4))


def rounded(size, seed=SEED):
    """What each of 12 steps, over two epochs, takes away from theta, in steps of the rounding.

    All rows are the same one, and the learning rate changes nothing to speak of: but for the
    rounding, all steps and all ranks have the same gradient.
    """
    x, y, lr, thetas = np.repeat(X[:1], 53, axis=0), np.repeat(Y[:1], 53), 1e-7, [start(NET)]
    run(
        Compressed(Int8(), error_feedback=False), size, SGD(lr), x=x, y=y, rows=np.arange(10),
        last=2 * STEPS, seed=seed,
        look=lambda session, step: session._comm.rank or thetas.append(session._theta.copy()),
    )  # fmt: skip
    exact = NET.loss_and_grad(thetas[0], x[:1], y[:1])[1]
    quantum = np.abs(exact).max() / 127 / size
    return -np.diff(thetas, axis=0) / lr / quantum, exact / quantum


def test_rounding_at_random_is_other_in_each_step_and_epoch_on_each_rank_and_for_each_seed():
    steps, exact = rounded(1)
    whole = steps.round()
    np.testing.assert_allclose(steps, whole, rtol=0, atol=0.01)  # 12 times whole numbers
    assert len({step.tobytes() for step in whole}) == len(whole) == 12
    # Right on average, and never off by a whole step.
    assert np.abs(whole - exact).max() < 1.01
    assert np.abs(whole.mean(axis=0) - exact).max() < 4 * 0.5 / np.sqrt(12)
    again, other = rounded(1)[0].round(), rounded(1, seed=SEED + 1)[0].round()
    assert again.tobytes() == whole.tobytes()
    assert not any((other == step).all(axis=1).any() for step in whole)
    # Two ranks that rounded alike would send two even halves: no sum would be odd.
    assert (rounded(2)[0].round() % 2 == 1).mean() > 0.2


def test_rounding_at_random_is_apart_from_the_noise_of_dropout():
    """Of equal numbers a unit would be dropped where its gradient is rounded up."""
    seen = []
    run(
        Compressed(Int8(), error_feedback=False), 2, SGD(0.1), net=NOISY, last=3,
        look=lambda session, taken: seen.append(session._noise(*divmod(taken, STEPS)).random(9)),
    )  # fmt: skip
    dropout = [noise(SEED, *divmod(taken, STEPS)).random(9) for taken in range(3)]
    assert len({numbers.tobytes() for numbers in [*seen, *dropout]}) == 6 + 3
