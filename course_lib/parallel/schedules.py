"""Pipeline schedules: in which order each stage runs the micro-batches forward and backward.

Both schedules here run the backward passes in the order of the micro-batches, so that they add the
same gradients in the same order and end with the same bits. They differ in memory: a stage keeps
the activations of a micro-batch from its forward to its backward pass.

:func:`check` and :func:`simulate` tell whether and how fast a schedule runs, :func:`timeline` and
:func:`draw` show it; they work for any schedule, also one of your own.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from course_lib.arrays import check_integer
from course_lib.parallel.actions import Action, Schedule, ScheduleError, parse, table
from course_lib.parallel.simulation import Simulation, Wait, check, simulate
from course_lib.parallel.timeline import draw, timeline

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


def gpipe(stages: int, micro_batches: int) -> Schedule:
    """Run all forward passes, then all backward passes.

    Simple, but every stage keeps the activations of all m micro-batches.

    Parameters
    ----------
    stages : int
        p, the parts that the network is cut into.
    micro_batches : int
        m, the parts that the batch is cut into.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If a number is below 1.

    References
    ----------
    Huang et al. 2019 (GPipe), figure 2; with the backward passes in the order of the forward ones.

    Examples
    --------
    >>> print(table(gpipe(stages=2, micro_batches=3)))
    0F0 0F1 0F2 0B0 0B1 0B2
    1F0 1F1 1F2 1B0 1B1 1B2

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    _check(stages, micro_batches, "gpipe")
    return tuple(
        tuple(Action(stage, kind, micro) for kind in "FB" for micro in range(micro_batches))
        for stage in range(stages)
    )


def one_f_one_b(stages: int, micro_batches: int) -> Schedule:
    r"""Run a few forward passes, then one forward and one backward in turns, then the rest.

    As fast as GPipe when messages take no time, but stage s of p keeps the activations of at most
    :math:`\min(m, p - s)` micro-batches, however many there are.

    Parameters
    ----------
    stages : int
        p, the parts that the network is cut into.
    micro_batches : int
        m, the parts that the batch is cut into.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If a number is below 1.

    References
    ----------
    Narayanan et al. 2019 (PipeDream); Narayanan et al. 2021, section 2.2.1 (with a flush after
    each batch, as here).

    Examples
    --------
    >>> print(table(one_f_one_b(stages=2, micro_batches=3)))
    0F0 0F1 0B0 0F2 0B1 0B2
    1F0 1B0 1F1 1B1 1F2 1B2

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    _check(stages, micro_batches, "one_f_one_b")
    return tuple(
        tuple(_one_stage(stage, min(stages - 1 - stage, micro_batches), micro_batches))
        for stage in range(stages)
    )


def _one_stage(stage: int, ahead: int, micro_batches: int) -> list[Action]:
    """Run `ahead` forwards, so that the first gradient comes back just when they are done."""
    actions = [Action(stage, "F", micro) for micro in range(ahead)]
    for micro in range(micro_batches):
        if ahead + micro < micro_batches:
            actions.append(Action(stage, "F", ahead + micro))
        actions.append(Action(stage, "B", micro))
    return actions


def _check(stages: int, micro_batches: int, where: str) -> None:
    check_integer(stages, where=where, name="stages", at_least=1)
    check_integer(micro_batches, where=where, name="micro_batches", at_least=1)
