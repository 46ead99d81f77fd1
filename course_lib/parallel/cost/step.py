"""How long a data-parallel step will take on p ranks, told before it is run.

Chapter: collectives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from course_lib.arrays import check_dtype, check_instance, check_integer, check_number
from course_lib.parallel.cost.channel import AlphaBeta
from course_lib.registry import lookup


@dataclass(frozen=True)
class StepCost:
    """A predicted step.

    Attributes
    ----------
    p : int
        Ranks.
    compute, communication : float
        Seconds of one step, on each rank.
    speedup : float
        How many times as many rows per second as one rank alone.
    """

    p: int
    compute: float
    communication: float
    speedup: float

    @property
    def seconds(self) -> float:
        """The time of one step."""
        return self.compute + self.communication

    @property
    def efficiency(self) -> float:
        """The share of the p ranks that is put to use: speedup / p."""
        return self.speedup / self.p


def predict_step(
    compute_seconds: float,
    p: int,
    n_params: int,
    channel: AlphaBeta,
    *,
    dtype: DTypeLike = np.float64,
    algorithm: str = "ordered",
    scaling: str = "strong",
    repeated_seconds: float = 0.0,
) -> StepCost:
    r"""Predict a synchronous data-parallel step from the serial one.

    .. math:: T_{\text{strong}}(p) = \frac{T_1 - R}{p} + R + T_{\text{all-reduce}}(p, n), \qquad
              T_{\text{weak}}(p) = T_1 + T_{\text{all-reduce}}(p, n)

    and the speed-up is :math:`T_1 / T_{\text{strong}}(p)`, or :math:`p\,T_1 / T_{\text{weak}}(p)`,
    because the weak step does p times the work. Compute and communication are taken to alternate,
    as they do in :class:`~course_lib.parallel.SyncSGD`.

    Parameters
    ----------
    compute_seconds : float
        :math:`T_1`: a step of one rank alone; for weak scaling, on its own part of the batch.
    p : int
        The number of ranks.
    n_params : int
        Numbers in the gradient.
    channel : AlphaBeta
        What carries it.
    dtype : floating-point type
        Of the gradient: decides its bytes n.
    algorithm : str
        How it is added, see :meth:`AlphaBeta.all_reduce`.
    scaling : {"strong", "weak"}
        Whether the global batch stays the same, or grows with p.
    repeated_seconds : float
        :math:`R`: what of :math:`T_1` every rank does in full, such as the optimizer's step.

    Raises
    ------
    ValueError
        If a number is out of range, or a name is not known.

    Examples
    --------
    >>> channel = AlphaBeta(alpha=1e-3, beta=1e-9)
    >>> for p in (1, 2, 4, 8):
    ...     cost = predict_step(0.1, p, 1_000_000, channel, algorithm="ring")
    ...     print(f"{p} ranks: {1e3 * cost.seconds:.1f} ms, {cost.speedup:.2f} times as fast")
    1 ranks: 100.0 ms, 1.00 times as fast
    2 ranks: 60.0 ms, 1.67 times as fast
    4 ranks: 43.0 ms, 2.33 times as fast
    8 ranks: 40.5 ms, 2.47 times as fast
    """
    where = "predict_step"
    p = check_integer(p, where=where, name="p", at_least=1)
    n_params = check_integer(n_params, where=where, name="n_params", at_least=1)
    check_instance(channel, AlphaBeta, where=where, name="channel")
    compute_seconds = check_number(compute_seconds, where=where, name="compute_seconds", above=0)
    repeated_seconds = check_number(
        repeated_seconds, where=where, name="repeated_seconds (a part of compute_seconds)",
        at_least=0, at_most=compute_seconds,
    )  # fmt: skip
    shared = compute_seconds - repeated_seconds
    work, compute = lookup(
        "scaling",
        scaling,
        {"strong": (1, shared / p + repeated_seconds), "weak": (p, compute_seconds)},
    )
    communication = channel.all_reduce(
        p, n_params * check_dtype(dtype, where=where).itemsize, algorithm
    )
    return StepCost(p, compute, communication, work * compute_seconds / (compute + communication))
