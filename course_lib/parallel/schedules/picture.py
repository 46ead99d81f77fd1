"""A picture of a pipeline at work: one row per stage, time from left to right.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.arrays import check_instance, shown
from course_lib.parallel.schedules.simulation import Simulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def timeline(simulation: Simulation) -> str:
    """Return a picture in text, one cell per unit of time.

    ``F0`` is micro-batch 0 forward, ``B0`` backward, ``--`` a pass that goes on, ``.`` idle.

    Parameters
    ----------
    simulation : Simulation
        From :func:`~course_lib.parallel.schedules.simulate`, with times that are integers.

    Raises
    ------
    ValueError
        If a time is not an integer.

    Examples
    --------
    >>> from course_lib.parallel.schedules import one_f_one_b, simulate
    >>> print(timeline(simulate(one_f_one_b(2, 3))))
    stage 0 | F0 F1 .  .  B0 -- F2 B1 -- .  B2 --
    stage 1 | .  F0 B0 -- F1 B1 -- F2 B2 -- .  .
    """
    _check(simulation, "timeline")
    times = [*simulation.start.values(), *simulation.end.values()]
    if any(time != int(time) for time in times):
        raise ValueError(
            "timeline: simulation must have integers as times, one cell being one unit of time, "
            f"got {shown(times)}; pass integers for forward, backward and send, or use draw."
        )
    micros = [action.micro for action in simulation.start]
    width = len(f"F{max(micros)}")
    lines = []
    for stage, actions in enumerate(simulation.schedule):
        cells = ["."] * int(simulation.length)
        for action in actions:
            begin, end = int(simulation.start[action]), int(simulation.end[action])
            cells[begin:end] = [f"{action.kind}{action.micro}", *["-" * width] * (end - begin - 1)]
        row = " ".join(cell.ljust(width) for cell in cells).rstrip()
        lines.append(f"stage {stage:{len(str(len(simulation.schedule) - 1))}d} | {row}")
    return "\n".join(lines)


def draw(simulation: Simulation, ax: Axes | None = None) -> Axes:
    """Draw a picture with matplotlib: forward passes blue, backward passes orange and hatched.

    Parameters
    ----------
    simulation : Simulation
        From :func:`~course_lib.parallel.schedules.simulate`.
    ax : Axes, optional
        Where to draw; a new figure without it.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from course_lib.parallel.schedules import gpipe, simulate
    >>> ax = draw(simulate(gpipe(2, 3)))
    >>> len(ax.patches), ax.get_xlabel()
    (12, 'time')
    """
    from course_lib.plotting import COLOURS, axes_or_new

    _check(simulation, "draw")
    ax = axes_or_new(ax)
    looks = {"F": (COLOURS[4], "", "forward"), "B": (COLOURS[1], "//", "backward")}
    seen: set[str] = set()
    for action, begin in simulation.start.items():
        colour, hatch, label = looks[action.kind]
        length = simulation.end[action] - begin
        ax.barh(
            action.stage, length, left=begin, height=0.8, color=colour, hatch=hatch,
            edgecolor="white", label="" if label in seen else label,
        )  # fmt: skip
        seen.add(label)
        ax.text(
            begin + length / 2, action.stage, str(action.micro), ha="center", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8},
        )  # fmt: skip
    ax.set_yticks(range(len(simulation.schedule)))
    ax.set_ylabel("stage")
    ax.invert_yaxis()  # stage 0 on top, as in the text
    ax.set_xlabel("time")
    ax.set_xlim(0, simulation.length)
    ax.grid(False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _check(simulation: object, where: str) -> None:
    hint = "make one with simulate(schedule)"
    check_instance(simulation, Simulation, where=where, name="simulation", hint=hint)
