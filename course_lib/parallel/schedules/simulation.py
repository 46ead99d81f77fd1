"""A schedule played through: when each pass starts and ends, who waits for whom, what is kept.

Nothing is computed; every pass takes the time it is said to take, and every stage does its actions
in order, each as soon as what it needs is there. What is wrong with a schedule is found before
anything hangs, and shown where it is.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import check_number, shown
from course_lib.parallel.schedules.plan import (
    Action,
    Schedule,
    ScheduleError,
    check_schedule,
    table,
)


def simulate(
    schedule: Sequence[Sequence[Action]],
    *,
    forward: float | Sequence[float] = 1,
    backward: float | Sequence[float] = 2,
    send: float = 0,
) -> Simulation:
    """Play a schedule through.

    Parameters
    ----------
    schedule : Schedule
        Actions by stage.
    forward, backward : number or one number per stage
        How long a pass takes. A backward pass has about twice the work: the gradients of the
        inputs and those of the weights.
    send : number
        How long a message to a neighbour takes; the sender goes on meanwhile.

    Raises
    ------
    ScheduleError
        As for :func:`check`.
    ValueError
        If a time is not above 0 (for `send`: below 0), or their number is not that of the stages.

    Examples
    --------
    >>> from course_lib.parallel.schedules import gpipe, one_f_one_b
    >>> for schedule in gpipe(4, 8), one_f_one_b(4, 8):
    ...     run = simulate(schedule)
    ...     print(run.length, round(run.bubble, 4), run.in_flight)
    33 0.2727 (8, 8, 8, 8)
    33 0.2727 (4, 3, 2, 1)
    """
    plan = check_schedule(schedule, where="simulate")
    _check_lists(plan)
    stages = len(plan)
    cost = {"F": _costs(forward, stages, "forward"), "B": _costs(backward, stages, "backward")}
    check_number(send, where="simulate", name="send", at_least=0)
    start: dict[Action, float] = {}
    end: dict[Action, float] = {}
    waits: list[list[Wait]] = [[] for _ in plan]
    position = [0] * stages
    free: list[float] = [0] * stages
    progress = True
    while progress:
        progress = False
        for s, actions in enumerate(plan):
            while position[s] < len(actions):
                action = actions[position[s]]
                needs = action.needs(stages)
                if not all(other in end for other in needs):
                    break
                ready = {o: end[o] + (send if o.stage != s else 0) for o in needs}
                last = max(ready, key=lambda o: ready[o], default=None)
                if last is not None and ready[last] > free[s]:
                    waits[s].append(Wait(action, last, ready[last] - free[s]))
                    free[s] = ready[last]
                start[action] = free[s]
                end[action] = free[s] = free[s] + cost[action.kind][s]
                position[s] += 1
                progress = True
    _check_finished(plan, position, end)
    flat = tuple(wait for per_stage in waits for wait in per_stage)
    return Simulation(plan, start, end, flat, tuple(map(_in_flight, plan)))


@dataclass(frozen=True)
class Simulation:
    """How a schedule runs.

    Attributes
    ----------
    schedule : Schedule
        What was run.
    start, end : dict of Action to time
        When each action began and ended, in the units of its cost.
    waits : tuple of Wait
        Who waited for whom, in order of stage and time.
    in_flight : tuple of int
        For each stage, the most micro-batches whose activations it kept at a time.
    """

    schedule: Schedule
    start: dict[Action, float]
    end: dict[Action, float]
    waits: tuple[Wait, ...]
    in_flight: tuple[int, ...]

    @property
    def length(self) -> float:
        """The time from the first start to the last end."""
        return max(self.end.values())

    @property
    def stage_bubbles(self) -> tuple[float, ...]:
        """For each stage, the share of the length that it stood idle."""
        return tuple(1 - self._busy(actions) / self.length for actions in self.schedule)

    @property
    def bubble(self) -> float:
        """The share of all stages' time that was idle."""
        busy = sum(self._busy(actions) for actions in self.schedule)
        # One division, so that equal costs give the bits of the formula.
        room = self.length * len(self.schedule)
        return (room - busy) / room

    def _busy(self, actions: Sequence[Action]) -> float:
        return sum(self.end[a] - self.start[a] for a in actions)


class Wait(NamedTuple):
    """A stage was idle before `action`, because it needed `source`, for so long."""

    action: Action
    source: Action
    duration: float


def check(schedule: Sequence[Sequence[Action]]) -> None:
    """Raise unless the schedule can run to its end and computes every gradient once.

    Parameters
    ----------
    schedule : Schedule
        Actions by stage.

    Raises
    ------
    ScheduleError
        If an action stands at the wrong stage, twice, or not at all, or a backward pass before its
        forward pass; or if stages wait for each other for ever. The message shows the schedule,
        with ``<-- ERROR HERE`` at the stages concerned.

    Examples
    --------
    >>> from course_lib.parallel.schedules import parse
    >>> check(parse("0F0 0F1 0B0"))
    Traceback (most recent call last):
    ...
    course_lib.parallel.schedules.plan.ScheduleError: the schedule is faulty:
    0F0 0F1 0B0  <-- ERROR HERE: 0B1 is missing
    """
    simulate(schedule)


def _in_flight(actions: Sequence[Action]) -> int:
    kept = most = 0
    for action in actions:
        kept += 1 if action.kind == "F" else -1
        most = max(most, kept)
    return most


def _costs(value: Any, stages: int, name: str) -> Sequence[float]:
    single: list[Any] = [value] * stages
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        check_number(value, where="simulate", name=name, above=0)
        return single
    for cost in value:
        check_number(cost, where="simulate", name=f"each of {name}", above=0)
    if len(value) != stages:
        raise ValueError(
            f"simulate: {name} must be a time > 0, or one for each of the {stages} stages; "
            f"got {shown(value)}."
        )
    return list(value)


def _check_lists(schedule: Schedule) -> None:
    """Raise unless every stage runs every micro-batch forward once and then backward once."""
    if not any(schedule):
        raise ScheduleError(
            "the schedule is empty: expected a tuple with the actions of each stage, got "
            f"{shown(schedule)}."
        )
    micros = sorted({action.micro for actions in schedule for action in actions})
    wanted = range(micros[-1] + 1)
    found = {stage: _fault_of(stage, actions, wanted) for stage, actions in enumerate(schedule)}
    faults = {stage: fault for stage, fault in found.items() if fault is not None}
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


def _check_finished(
    schedule: Schedule, position: Sequence[int], done: Mapping[Action, float]
) -> None:
    """Raise if a stage came to `position` only, not to the end of its list: it waits for ever."""
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
