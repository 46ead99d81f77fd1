"""What parallel training can give and what it costs, in formulas of a line each.

Times are seconds, memory is bytes, p is the number of ranks.

Chapters: where the time goes; collectives.
"""

from __future__ import annotations

from course_lib.parallel.cost.channel import (
    AlphaBeta,
    AlphaBetaFit,
    Traffic,
    fit_alpha_beta,
    traffic,
)
from course_lib.parallel.cost.laws import (
    Memory,
    amdahl,
    checkpoint_interval,
    gustafson,
    karp_flatt,
    pipeline_bubble,
    zero_memory,
)
from course_lib.parallel.cost.step import StepCost, predict_step

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
