"""A pipeline's plan as data: for each stage a list of actions, its forward and backward passes.

The network is cut into stages, one per rank, and the batch into micro-batches. ``2F0`` means: stage
2 runs micro-batch 0 forward; ``2B0``: backward. A schedule is a tuple with the actions of each
stage, in order; when each runs follows from who waits for whom.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from course_lib.arrays import check_instance, check_integer, check_sequence, shown


@dataclass(frozen=True, repr=False)
class Action:
    """One pass of one micro-batch through one stage.

    Parameters
    ----------
    stage : int
        Which stage, from 0.
    kind : {"F", "B"}
        Forward or backward.
    micro : int
        Which micro-batch, from 0.

    Raises
    ------
    ValueError, TypeError
        If the kind is another, or a number is negative or none.

    Examples
    --------
    >>> Action(2, "F", 0)
    2F0
    >>> Action.parse("2F0") == Action(2, "F", 0)
    True
    """

    stage: int
    kind: str
    micro: int

    def __post_init__(self) -> None:
        check_integer(self.stage, where="Action", name="stage", at_least=0)
        check_integer(self.micro, where="Action", name="micro (the micro-batch)", at_least=0)
        if not isinstance(self.kind, str) or self.kind not in ("F", "B"):
            raise ValueError(f"Action: kind must be 'F' or 'B', got {shown(self.kind)}.")

    def __repr__(self) -> str:
        return f"{self.stage}{self.kind}{self.micro}"

    @classmethod
    def parse(cls, text: str) -> Action:
        """Make an action from its text, such as ``"2F0"``."""
        check_instance(text, str, where="Action.parse", name="text")
        match = re.fullmatch(r"(\d+)([FB])(\d+)", text)
        if match is None:
            raise ValueError(
                f"Action.parse: text must be stage, F or B, and micro-batch, as in '2F0'; got "
                f"{shown(text)}."
            )
        stage, kind, micro = match.groups()
        return cls(int(stage), kind, int(micro))

    def needs(self, stages: int) -> tuple[Action, ...]:
        """Return what must have happened before, in a pipeline of so many stages.

        Forward needs the output of the stage before; backward needs this stage's own forward
        pass, whose activations it uses, and the gradient from the stage after.

        Examples
        --------
        >>> Action(1, "F", 5).needs(3), Action(1, "B", 5).needs(3), Action(2, "B", 5).needs(3)
        ((0F5,), (1F5, 2B5), (2F5,))
        """
        stages = check_integer(stages, where="Action.needs", name="stages", at_least=1)
        s, m = self.stage, self.micro
        if self.kind == "F":
            return (Action(s - 1, "F", m),) if s > 0 else ()
        own = Action(s, "F", m)
        return (own, Action(s + 1, "B", m)) if s < stages - 1 else (own,)


Schedule: TypeAlias = tuple[tuple[Action, ...], ...]
"""The actions of each stage, in order."""


def gpipe(stages: int, micro_batches: int) -> Schedule:
    """Run all forward passes, then all backward passes.

    Simple, but every stage keeps the activations of all m micro-batches.

    Parameters
    ----------
    stages, micro_batches : int
        p and m, the parts that the network and the batch are cut into.

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
    """
    _check(stages, micro_batches, "gpipe")
    return tuple(
        tuple(Action(stage, kind, micro) for kind in "FB" for micro in range(micro_batches))
        for stage in range(stages)
    )


def one_f_one_b(stages: int, micro_batches: int) -> Schedule:
    r"""Run a few forward passes, then one forward and one backward in turns, then the rest.

    As fast as GPipe when messages take no time, but stage s of p keeps the activations of at most
    :math:`\min(m, p - s)` micro-batches, however many there are. Parameters and errors are those
    of :func:`gpipe`.

    References
    ----------
    Narayanan et al. 2019 (PipeDream); Narayanan et al. 2021, section 2.2.1 (with a flush after
    each batch, as here).

    Examples
    --------
    >>> print(table(one_f_one_b(stages=2, micro_batches=3)))
    0F0 0F1 0B0 0F2 0B1 0B2
    1F0 1B0 1F1 1B1 1F2 1B2
    """
    _check(stages, micro_batches, "one_f_one_b")
    return tuple(
        tuple(_one_stage(stage, min(stages - 1 - stage, micro_batches), micro_batches))
        for stage in range(stages)
    )


def parse(text: str) -> Schedule:
    """Make a schedule from its text, as :func:`table` shows it: one line per stage.

    Examples
    --------
    >>> parse("0F0 0B0")
    ((0F0, 0B0),)
    """
    check_instance(text, str, where="parse", name="text")
    return tuple(
        tuple(Action.parse(word) for word in line.split()) for line in text.strip().splitlines()
    )


def table(schedule: Sequence[Sequence[Action]], faults: dict[int, str] | None = None) -> str:
    """Return a schedule as text, one line per stage.

    Parameters
    ----------
    schedule : Schedule
        What to show.
    faults : dict, optional
        By stage, what is wrong with it: said at the end of its line.

    Examples
    --------
    >>> print(table(parse("0F0 0F1 0B0 0B1"), {0: "for example"}))
    0F0 0F1 0B0 0B1  <-- ERROR HERE: for example
    """
    schedule = check_schedule(schedule, where="table")
    if faults is not None:
        check_instance(faults, dict, where="table", name="faults")
    width = max((len(repr(a)) for actions in schedule for a in actions), default=0)
    lines = [" ".join(f"{a!r:{width}}" for a in actions) for actions in schedule]
    longest = max(map(len, lines), default=0)
    marks = {stage: f"  <-- ERROR HERE: {what}" for stage, what in (faults or {}).items()}
    return "\n".join(
        f"{line:{longest}}{marks[stage]}" if stage in marks else line.rstrip()
        for stage, line in enumerate(lines)
    )


def check_schedule(schedule: Sequence[Sequence[Action]], *, where: str) -> Schedule:
    """Return what must be a sequence of actions by stage, as tuples.

    Examples
    --------
    >>> check_schedule(["0F0"], where="simulate")
    Traceback (most recent call last):
    ...
    TypeError: simulate: schedule[0] must be a sequence of actions, got '0F0'.
    """
    rows = check_sequence(schedule, where=where, name="schedule", of="stages")
    plan = [
        check_sequence(row, where=where, name=f"schedule[{stage}]", of="actions")
        for stage, row in enumerate(rows)
    ]
    for stage, row in enumerate(plan):
        for action in row:
            check_instance(
                action, Action, where=where, name=f"each of schedule[{stage}]",
                hint="parse makes them of text",
            )  # fmt: skip
    return tuple(map(tuple, plan))


class ScheduleError(ValueError):
    """A schedule that cannot work; the message shows the schedule with the faulty stages marked."""


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
