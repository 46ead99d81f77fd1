"""What parallel training can give and what it costs, in formulas of a line each.

Times are seconds, memory is bytes, p is the number of ranks. The laws of speed-up, the model of a
channel, its fit to measurements, the traffic and the memory of a rank, and the prediction of a step
stand in files of their own, and are found here too.

Chapters: where the time goes; collectives.
"""

from __future__ import annotations

import math

from course_lib.arrays import check_integer
from course_lib.parallel.alpha_beta import AlphaBeta
from course_lib.parallel.alpha_beta_fit import AlphaBetaFit, fit_alpha_beta
from course_lib.parallel.memory import Memory, zero_memory
from course_lib.parallel.speedup import amdahl, gustafson, karp_flatt
from course_lib.parallel.step_cost import StepCost, predict_step
from course_lib.parallel.traffic import Traffic, traffic

__all__ = [
    "AlphaBeta",
    "AlphaBetaFit",
    "Memory",
    "StepCost",
    "Traffic",
    "amdahl",
    "checkpoint_interval",
    "fit_alpha_beta",
    "gustafson",
    "karp_flatt",
    "pipeline_bubble",
    "predict_step",
    "traffic",
    "zero_memory",
]


def pipeline_bubble(stages: int, micro_batches: int) -> float:
    r"""Return the share of the time that the stages of a pipeline stand idle.

    .. math:: \frac{p - 1}{m + p - 1}

    for p stages that all take the same time and m micro-batches: GPipe and 1F1B alike. (Narayanan
    et al. 2021 divide the idle time by the working time instead, which gives (p - 1) / m.)

    References
    ----------
    Huang et al. 2019 (GPipe), section 2.3.

    Examples
    --------
    >>> pipeline_bubble(stages=4, micro_batches=1), pipeline_bubble(stages=4, micro_batches=12)
    (0.75, 0.2)

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    check_integer(stages, where="pipeline_bubble", name="stages", at_least=1)
    check_integer(micro_batches, where="pipeline_bubble", name="micro_batches", at_least=1)
    return (stages - 1) / (micro_batches + stages - 1)


def checkpoint_interval(checkpoint_seconds: float, mtbf_seconds: float) -> float:
    r"""Return how many seconds to train between checkpoints so as to lose the least time.

    .. math:: T = \sqrt{2 C M}

    Writing more often costs more writing, more seldom more work lost per failure. To first order
    in :math:`C / M`: right while a checkpoint takes much less time than passes between failures.

    Parameters
    ----------
    checkpoint_seconds : float
        :math:`C`: the time to write one, during which nothing is trained.
    mtbf_seconds : float
        :math:`M`: the mean time between failures of the whole gang; p ranks that each fail once
        in F seconds have :math:`M = F / p`.

    Raises
    ------
    ValueError
        If one is not a finite number above 0.

    References
    ----------
    Young 1974; Daly 2006 has the higher orders.

    Examples
    --------
    >>> checkpoint_interval(checkpoint_seconds=2, mtbf_seconds=10_000)
    200.0

    Notes
    -----
    Chapter: when workers die.
    """
    for name, value in (("checkpoint_seconds", checkpoint_seconds), ("mtbf_seconds", mtbf_seconds)):
        if not 0 < value < math.inf:
            raise ValueError(
                f"checkpoint_interval: {name} must be a finite number > 0, got {value!r}."
            )
    return math.sqrt(2 * checkpoint_seconds * mtbf_seconds)
