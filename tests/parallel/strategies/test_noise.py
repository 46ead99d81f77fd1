"""A rank's noise is exactly its rows of the noise that the serial run draws."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.parallel import shard
from course_lib.parallel.strategies.local_gradient import RowNoise


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_ranks_together_draw_what_the_serial_run_draws_layer_after_layer(size):
    total, widths = 7, [5, 1, 3]  # with 8 ranks, the last has no rows
    serial = np.random.default_rng([4, 2, 1])
    expected = [serial.random((total, width)) for width in widths]
    drawn = []
    for rank in range(size):
        rows = shard(total, rank, size)
        noise = RowNoise(np.random.default_rng([4, 2, 1]), rows, total)
        drawn.append([noise.random((rows.stop - rows.start, width)) for width in widths])
    for layer, whole in enumerate(expected):
        np.testing.assert_array_equal(np.concatenate([d[layer] for d in drawn]), whole)


def test_other_generators_are_refused():
    with pytest.raises(TypeError, match=r"default_rng \(PCG64\), got one on MT19937"):
        RowNoise(np.random.Generator(np.random.MT19937(0)), slice(0, 1), 2)


def test_the_wrong_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="made for 2 rows, asked for 3"):
        RowNoise(np.random.default_rng(0), slice(0, 2), 5).random((3, 4))
