r"""Measure a channel: :math:`\alpha` and :math:`\beta` from the times of messages of several sizes.

Chapter: collectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.alpha_beta import AlphaBeta


class AlphaBetaFit(NamedTuple):
    """A fitted channel, and how far the measurements are from it.

    Attributes
    ----------
    model : AlphaBeta
        The channel.
    error : float
        Root mean square of the relative errors, (model - measured) / measured: 0.1 means that
        the model is off by 10 % where it was fitted.
    """

    model: AlphaBeta
    error: float


def fit_alpha_beta(measurements: Sequence[tuple[float, float]]) -> AlphaBetaFit:
    r"""Find the channel that comes nearest to measured times, in relative terms.

    .. math:: \min_{\alpha, \beta \ge 0} \; \sum_i
              \left( \frac{\alpha + \beta n_i - t_i}{t_i} \right)^2

    Without the division a 10 MB message would outweigh all small ones, and alpha, which only
    those can tell, would be noise.

    Parameters
    ----------
    measurements : sequence of (bytes, seconds)
        At least two different sizes, best from a few bytes to as large as will be sent. Of
        repeated measurements give the median: interruptions only ever make a message slower.

    Returns
    -------
    AlphaBetaFit
        model and error.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, or a size is negative, or a time not above 0.

    Examples
    --------
    >>> fit_alpha_beta([(0, 1e-3), (1_000_000, 3e-3), (2_000_000, 5e-3)]).model
    AlphaBeta(alpha=0.001, beta=2e-09)

    Notes
    -----
    Chapter: collectives.
    """
    sizes, times = _check(measurements)
    scale = sizes.max()  # else the two columns would differ by a factor of millions
    columns = np.stack([np.ones_like(sizes), sizes / scale], axis=1) / times[:, None]
    # Two unknowns: if one would be negative, the best admissible point has it at zero.
    candidates = [np.linalg.lstsq(columns, np.ones_like(times))[0]]
    if candidates[0].min() < 0:
        first, second = (c.sum() / (c @ c) for c in columns.T)
        candidates = [np.array([first, 0.0]), np.array([0.0, second])]
    errors = [float(np.sqrt(np.mean((columns @ c - 1) ** 2))) for c in candidates]
    best = int(np.argmin(errors))
    alpha, beta = candidates[best] / (1.0, scale)
    return AlphaBetaFit(AlphaBeta(float(alpha), float(beta)), errors[best])


def _check(measurements: Sequence[tuple[float, float]]) -> tuple[Array, Array]:
    table = np.asarray(measurements, dtype=float)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(
            "fit_alpha_beta: measurements must be pairs (bytes, seconds), got an array of shape "
            f"{table.shape}."
        )
    sizes, times = table.T
    if not (np.isfinite(table).all() and (sizes >= 0).all() and (times > 0).all()):
        raise ValueError(
            "fit_alpha_beta: sizes must be >= 0 and times > 0, all finite; a time of 0 means that "
            "the clock is too coarse: time many messages together."
        )
    if len(set(sizes.tolist())) < 2:
        raise ValueError(
            "fit_alpha_beta: one size cannot tell latency from bandwidth; measure at least two."
        )
    return sizes, times
