"""What can be wrong with a schedule, found before anything hangs, and shown where it is.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from course_lib.parallel.actions import Action, Schedule, ScheduleError, table


def check_lists(schedule: Schedule) -> None:
    """Raise unless every stage runs every micro-batch forward once and then backward once.

    Raises
    ------
    ScheduleError
        If not; the message shows the schedule, with ``<-- ERROR HERE`` at the faulty stages.

    Examples
    --------
    >>> from course_lib.parallel.actions import parse
    >>> check_lists(parse("0F0 0B0"))
    """
    if not any(schedule):
        raise ScheduleError(
            "the schedule is empty; expected a tuple with the actions of each stage."
        )
    micros = sorted({action.micro for actions in schedule for action in actions})
    wanted = range(micros[-1] + 1)
    faults = {}
    for stage, actions in enumerate(schedule):
        fault = _fault_of(stage, actions, wanted)
        if fault is not None:
            faults[stage] = fault
    if faults:
        raise ScheduleError(f"the schedule is faulty:\n{table(schedule, faults)}")


def _fault_of(stage: int, actions: Sequence[Action], wanted: Sequence[int]) -> str | None:
    for action in actions:
        if action.stage != stage:
            return f"{action!r} belongs to stage {action.stage}, this is stage {stage}"
    for action, count in Counter(actions).items():
        if count > 1:
            return f"{action!r} stands here {count} times"
    for micro in wanted:
        forward, backward = Action(stage, "F", micro), Action(stage, "B", micro)
        for action in (forward, backward):
            if action not in actions:
                return f"{action!r} is missing"
        if actions.index(backward) < actions.index(forward):
            return f"{backward!r} stands before {forward!r}, whose activations it needs"
    return None


def check_finished(
    schedule: Schedule, position: Sequence[int], done: Mapping[Action, float]
) -> None:
    """Raise if some stage did not come to the end of its list: stages wait in a circle.

    Parameters
    ----------
    schedule : Schedule
        Actions by stage; each list by itself is in order, see :func:`check_lists`.
    position : sequence of int
        For each stage, how many actions it did before it had to wait for ever.
    done : mapping
        The actions that were done.

    Raises
    ------
    ScheduleError
        The message shows the schedule, and at each stage that stopped, where, and for what it
        waits.
    """
    faults = {}
    for stage, actions in enumerate(schedule):
        if position[stage] < len(actions):
            action = actions[position[stage]]
            missing = [repr(a) for a in action.needs(len(schedule)) if a not in done]
            faults[stage] = f"{action!r} waits for {' and '.join(missing)}"
    if faults:
        raise ScheduleError(
            "the schedule is a deadlock, its stages wait for each other:\n"
            f"{table(schedule, faults)}"
        )
