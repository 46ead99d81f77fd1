"""Dropout makes the network do without any one of its units: while training, some are switched off.

Chapter: challenges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.layers import Elementwise, Empty, Noise, Params, fresh


def noise(seed: int, epoch: int, step: int) -> np.random.Generator:
    """Return the generator of one training step's noise: a pure function of its arguments.

    Examples
    --------
    >>> bool((noise(0, 3, 1).random(4) == noise(0, 3, 1).random(4)).all())
    True
    """
    # The 1 at the end keeps it apart from the generators of [seed] and [seed, epoch], which decide
    # the first weights and the order of the rows: NumPy ignores zeros at the end of a seed.
    return np.random.default_rng([seed, epoch, step, 1])


@dataclass(frozen=True)
class Dropout(Elementwise):
    r"""While training, drop each input with probability `rate` and scale up the rest.

    .. math:: y = \frac{m}{1 - r} \odot x, \quad m_{ij} \sim \mathrm{Bernoulli}(1 - r)

    Without noise (``rng=None``, prediction) it does nothing. One float64 number is drawn per
    element, row by row, whatever the dtype: whoever holds only some rows can skip the others.

    References: Srivastava et al. 2014 (here in its "inverted" form, scaled while training).

    Parameters
    ----------
    rate : float
        The probability r of dropping, 0 <= r < 1.

    Raises
    ------
    ValueError
        If the rate is outside [0, 1).

    Examples
    --------
    >>> y, mask = Dropout(0.5).forward({}, np.ones((1, 4)), rng=np.random.default_rng(1))
    >>> y
    array([[2., 2., 0., 2.]])

    Notes
    -----
    Chapter: challenges.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate must lie in [0, 1), got {self.rate}.")

    def forward(
        self, p: Params, x: Array, *, rng: Noise | None = None, empty: Empty = fresh
    ) -> tuple[Array, Any]:
        """Return the surviving inputs, scaled, and the cache: the mask, or None."""
        if rng is None:
            return x, None
        mask = (rng.random(x.shape) >= self.rate).astype(x.dtype)
        mask /= 1 - self.rate
        return np.multiply(x, mask, out=empty(x.shape, x.dtype)), mask

    def backward(self, p: Params, cache: Any, dy: Array, *, empty: Empty = fresh) -> Array:
        """Return the gradient of the inputs: zero for the dropped ones."""
        return dy if cache is None else np.multiply(dy, cache, out=empty(dy.shape, dy.dtype))
