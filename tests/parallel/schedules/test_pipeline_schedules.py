"""Pipeline schedules: complete, in order, as long and as full of memory as the papers say."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest

from course_lib.parallel.cost import pipeline_bubble
from course_lib.parallel.schedules import (
    Action,
    ScheduleError,
    check,
    draw,
    gpipe,
    one_f_one_b,
    parse,
    simulate,
    table,
    timeline,
)

KINDS = [gpipe, one_f_one_b]
SIZES = [(p, m) for p in (1, 2, 3, 4, 5, 8) for m in (1, 2, 3, 7, 16)]

both = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
sizes = pytest.mark.parametrize(("p", "m"), SIZES)


@both
@sizes
def test_every_micro_batch_runs_once_forward_and_then_once_backward_on_every_stage(kind, p, m):
    schedule = kind(p, m)
    assert len(schedule) == p
    for stage, actions in enumerate(schedule):
        assert sorted(map(repr, actions)) == sorted(
            f"{stage}{kind}{micro}" for kind in "FB" for micro in range(m)
        )
        for micro in range(m):
            forward, backward = Action(stage, "F", micro), Action(stage, "B", micro)
            assert actions.index(forward) < actions.index(backward)


@both
@sizes
def test_gradients_are_added_in_the_order_of_the_micro_batches(kind, p, m):
    """So GPipe and 1F1B give the same bits."""
    for actions in kind(p, m):
        assert [a.micro for a in actions if a.kind == "B"] == list(range(m))


@both
@sizes
@pytest.mark.parametrize(("forward", "backward"), [(1, 2), (1, 1), (3, 5)])
def test_length_and_bubble_are_those_of_the_formula(kind, p, m, forward, backward):
    run = simulate(kind(p, m), forward=forward, backward=backward)
    assert run.length == (m + p - 1) * (forward + backward)
    assert run.bubble == pipeline_bubble(p, m)
    # All stages do the same work, so each stands idle for the same share.
    assert run.stage_bubbles == pytest.approx([pipeline_bubble(p, m)] * p)


@sizes
def test_activations_in_flight(p, m):
    assert simulate(gpipe(p, m)).in_flight == (m,) * p
    assert simulate(one_f_one_b(p, m)).in_flight == tuple(min(m, p - s) for s in range(p))


@both
@sizes
@pytest.mark.parametrize("send", [0, 3])
def test_in_the_simulation_everything_needed_is_there_and_a_stage_does_one_thing_at_a_time(
    kind, p, m, send
):
    run = simulate(kind(p, m), send=send)
    for action, begin in run.start.items():
        for other in action.needs(p):
            assert run.end[other] + (send if other.stage != action.stage else 0) <= begin
    for actions in run.schedule:
        for before, after in pairwise(actions):
            assert run.end[before] <= run.start[after]
    # Idle time is either before a wait ends, or after the last action.
    for stage, actions in enumerate(run.schedule):
        busy = sum(run.end[a] - run.start[a] for a in actions)
        waited = sum(w.duration for w in run.waits if w.action.stage == stage)
        assert busy + waited == run.end[actions[-1]]


def test_the_stages_of_the_pipeline_wait_for_their_neighbours():
    waits = simulate(gpipe(3, 2)).waits
    assert [(repr(w.action), repr(w.source), w.duration) for w in waits] == [
        ("0B0", "1B0", 6),
        ("1F0", "0F0", 1),
        ("1B0", "2B0", 3),
        ("2F0", "1F0", 2),
    ]


def test_the_slowest_stage_sets_the_pace():
    """Many micro-batches: the length is about m times the slowest stage's pass."""
    m = 200
    run = simulate(one_f_one_b(3, m), forward=[1, 4, 1], backward=[2, 5, 2])
    assert m * 9 <= run.length <= m * 9 + 20
    assert run.stage_bubbles[1] < 0.01 < 0.6 < run.stage_bubbles[0]


def test_slow_messages_cost_1f1b_more_than_gpipe():
    slow = {kind: simulate(kind(4, 8), send=1).length for kind in KINDS}
    assert slow[gpipe] == simulate(gpipe(4, 8)).length + 2 * 3
    assert slow[one_f_one_b] > slow[gpipe]


def test_a_stage_sends_nothing_to_itself():
    """On the last stage backward follows forward at once."""
    assert simulate(gpipe(1, 1), send=100).length == 3
    run = simulate(gpipe(2, 1), send=100)
    assert run.start[Action(1, "B", 0)] == run.end[Action(1, "F", 0)] == 102


# --- text and pictures ---


@both
def test_text_and_back(kind):
    schedule = kind(3, 12)
    assert parse(table(schedule)) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_the_picture_of_gpipe():
    assert timeline(simulate(gpipe(2, 2), backward=1)) == (
        "stage 0 | F0 F1 .  .  B0 B1\nstage 1 | .  F0 F1 B0 B1 ."
    )


def test_every_row_of_the_picture_has_one_cell_per_unit_of_time():
    rows = timeline(simulate(one_f_one_b(4, 12), send=1)).splitlines()
    assert len(rows) == 4
    cells = [row.split(" | ")[1].split() for row in rows]
    assert {len(c) for c in cells} == {simulate(one_f_one_b(4, 12), send=1).length}
    assert all(sum(cell.startswith("F") for cell in c) == 12 for c in cells)


def test_the_picture_in_text_needs_whole_units():
    with pytest.raises(ValueError, match=r"must have integers as times"):
        timeline(simulate(gpipe(2, 2), forward=0.5))


def test_the_drawing_has_a_bar_per_action_with_its_length():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    run = simulate(gpipe(3, 4), forward=1.5, backward=2.5)
    _, ax = pyplot.subplots()
    assert draw(run, ax) is ax
    assert sorted(bar.get_width() for bar in ax.patches) == [1.5] * 12 + [2.5] * 12
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["forward", "backward"]
    assert ax.get_yticks().tolist() == [0, 1, 2] and ax.yaxis_inverted()  # stage 0 on top
    assert ax.get_xlim() == (0, run.length)
    middles = {(text.get_position(), text.get_text()) for text in ax.texts}
    assert middles == {
        (((run.start[a] + run.end[a]) / 2, a.stage), str(a.micro)) for a in run.start
    }
    pyplot.close("all")


# --- broken schedules ---


def broken(text):
    """The error that checking the schedule raises, which must show it all."""
    with pytest.raises(ScheduleError) as e:
        check(parse(text))
    lines = str(e.value).splitlines()[1:]
    for line, given in zip(lines, text.strip().splitlines(), strict=True):
        assert line.split("  <--")[0].split() == given.split()
    return str(e.value).splitlines()[0], [line.partition("<-- ERROR HERE: ")[2] for line in lines]


def test_a_missing_action_is_shown():
    what, marks = broken("0F0 0F1 0B0 0B1\n1F0 1F1 1B0")
    assert what == "the schedule is faulty:"
    assert marks == ["", "1B1 is missing"]


def test_a_duplicate_is_shown():
    assert broken("0F0 0F0 0B0")[1] == ["0F0 stands here 2 times"]


def test_backward_before_forward_is_shown():
    assert broken("0F0 0B0\n1B0 1F0")[1] == [
        "",
        "1B0 stands before 1F0, whose activations it needs",
    ]


def test_an_action_of_another_stage_is_shown():
    assert broken("0F0 0B0\n0F0 1B0")[1] == ["", "0F0 belongs to stage 0, this is stage 1"]


def test_a_deadlock_is_shown_with_who_waits_for_whom():
    """Stage 0 wants the gradient of micro-batch 0 first, stage 1 the input of micro-batch 1."""
    what, marks = broken("0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1")
    assert what == "the schedule is a deadlock, its stages wait for each other:"
    assert marks == ["0B0 waits for 1B0", "1F1 waits for 0F1"]


def test_each_list_in_order_is_not_enough():
    """A stage that takes the micro-batches in another order than its neighbour: still fine."""
    check(parse("0F0 0F1 0B1 0B0\n1F0 1F1 1B1 1B0"))
    check(parse("0F1 0F0 0B0 0B1\n1F0 1F1 1B0 1B1"))


def test_an_empty_schedule_is_refused():
    with pytest.raises(ScheduleError, match=r"the schedule is empty"):
        check(())


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"gpipe: stages must be .* at least 1, got 0"):
        gpipe(0, 1)
    with pytest.raises(ValueError, match=r"one_f_one_b: micro_batches must be .* at least 1"):
        one_f_one_b(1, 0)
    with pytest.raises(ValueError, match=r"one for each of the 2 stages; got \[1, 2, 3\]"):
        simulate(gpipe(2, 2), forward=[1, 2, 3])
    with pytest.raises(ValueError, match=r"backward must be a finite number > 0, got 0"):
        simulate(gpipe(2, 2), backward=0)
    with pytest.raises(ValueError, match=r"send must be a finite number >= 0, got -1"):
        simulate(gpipe(2, 2), send=-1)
    with pytest.raises(ValueError, match=r"as in '2F0'; got '2X0'"):
        parse("2X0")
    with pytest.raises(ValueError, match=r"kind must be 'F' or 'B', got 'Z'"):
        Action(0, "Z", 1)


@pytest.mark.parametrize("times", [[1, -1], [1, 0], [1, "1"], (1, float("nan"))], ids=str)
def test_each_time_of_a_stage_is_above_0(times):
    with pytest.raises((ValueError, TypeError), match="simulate: each of forward must be .* > 0"):
        simulate(gpipe(2, 2), forward=times)
