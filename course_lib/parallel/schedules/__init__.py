"""Pipeline schedules: in which order each stage runs the micro-batches forward and backward.

Both schedules here run the backward passes in the order of the micro-batches, so that they add the
same gradients in the same order and end with the same bits. They differ in memory: a stage keeps
the activations of a micro-batch from its forward to its backward pass.

:func:`check` and :func:`simulate` tell whether and how fast a schedule runs, :func:`timeline` and
:func:`draw` show it; they work for any schedule, also one of your own.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from course_lib.parallel.schedules.picture import draw, timeline
from course_lib.parallel.schedules.plan import (
    Action,
    Schedule,
    ScheduleError,
    gpipe,
    one_f_one_b,
    parse,
    table,
)
from course_lib.parallel.schedules.simulation import Simulation, Wait, check, simulate

__all__ = [
    "Action",
    "Schedule",
    "ScheduleError",
    "Simulation",
    "Wait",
    "check",
    "draw",
    "gpipe",
    "one_f_one_b",
    "parse",
    "simulate",
    "table",
    "timeline",
]
