"""Comparisons: on a clock that we turn by hand, the ratio is exact and the sentence is stable."""

from __future__ import annotations

import re

import pytest

from course_lib.timing import Comparison, compare


class HandClock:
    """Time passes only when a task says so."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def __call__(self):
        return self.now

    def task(self, name, seconds):
        def run():
            self.order.append(name)
            self.now += seconds(self.now) if callable(seconds) else seconds

        return run


def test_runs_take_turns_after_one_unmeasured_run_each():
    clock = HandClock()
    result = compare("a", clock.task("a", 3.0), "b", clock.task("b", 2.0), repeats=4, clock=clock)
    assert "".join(clock.order) == "ab" + "ab" + "ba" + "ab" + "ba"
    assert result.seconds_a == (3.0,) * 4 and result.seconds_b == (2.0,) * 4
    assert result.ratio == 1.5


def test_the_first_slow_run_does_not_count():
    clock = HandClock()
    lazy = clock.task("a", lambda now: 100.0 if now == 0 else 1.0)
    assert compare("a", lazy, "b", clock.task("b", 1.0), clock=clock).ratio == 1.0


def test_a_machine_that_slows_down_does_not_change_the_ratio():
    clock = HandClock()
    a = clock.task("a", lambda now: 2.0 * (1 + now / 1000))
    b = clock.task("b", lambda now: 1.0 * (1 + now / 1000))
    # In blocks (all of a, then all of b) the ratio would be off by several per cent.
    assert compare("a", a, "b", b, repeats=16, clock=clock).ratio == pytest.approx(2, rel=2e-3)


def test_one_disturbed_run_does_not_change_the_median():
    calm = Comparison(("a", "b"), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0))
    disturbed = Comparison(("a", "b"), (2.0, 50.0, 2.0), (1.0, 1.0, 1.0))
    assert disturbed.ratio == calm.ratio == 2.0
    assert disturbed.verdict(at_least=1.5) == calm.verdict(at_least=1.5)


@pytest.mark.parametrize("ratio", [2.2, 3.71, 40.0])
def test_the_verdict_holds_no_measured_digit(ratio):
    said = Comparison(("a", "b"), (ratio,), (1.0,)).verdict(at_least=2)
    assert said == "b is at least 2 times as fast as a."
    assert re.findall(r"\d+", said) == ["2"]


def test_the_verdict_is_honest_when_the_claim_fails():
    slow = Comparison(("old", "new"), (1.0,), (1.0,))
    assert slow.verdict(at_least=2.5) == "new is not 2.5 times as fast as old here."
    assert slow.verdict() == "new is not faster than old here."
    assert Comparison(("old", "new"), (3.0,), (1.0,)).verdict() == "new is faster than old."


def test_a_real_comparison_finds_the_shorter_task():
    result = compare("long", lambda: sum(range(200_000)), "short", lambda: sum(range(2_000)))
    assert result.verdict(at_least=10) == "short is at least 10 times as fast as long."
    assert len(result.ratios) == 15


def test_the_figure_shows_every_run_and_both_medians():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, ax = pyplot.subplots()
    Comparison(("a", "b"), (0.002, 0.003, 0.009), (0.001, 0.001, 0.001)).plot(ax)
    assert [len(line.get_ydata()) for line in ax.lines] == [3, 3]
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([2, 3, 9])
    medians = [c.get_segments()[0][0][1] for c in ax.collections]
    assert medians == pytest.approx([3, 1])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]
    pyplot.close(figure)


def test_too_few_repeats_are_refused():
    with pytest.raises(
        ValueError, match="compare: repeats must be an integer of at least 3, got 2"
    ):
        compare("a", lambda: None, "b", lambda: None, repeats=2)


@pytest.mark.parametrize(
    ("names", "a", "b"),
    [(("a",), (1.0,), (1.0,)), (("a", "b"), (1.0, 2.0), (1.0,)), (("a", "b"), (), ())],
)
def test_a_comparison_has_two_names_and_as_many_times_of_each(names, a, b):
    with pytest.raises(ValueError, match="Comparison: names must be two, and seconds_a and"):
        Comparison(names, a, b)
