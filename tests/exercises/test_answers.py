"""What the checkers ask of an answer that may be anything: is it one of these, has it parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from course_lib.exercises import Mistake
from course_lib.exercises.answers import ask, parts, refuse, slopes, truth


def _refused(got: Any, *mistakes: Any, **tolerances: float) -> str:
    with pytest.raises(Mistake) as caught:
        refuse(got, *mistakes, **tolerances)
    return f"{caught.value.name}: {caught.value.hint}"


def test_the_first_mistake_that_fits_is_named() -> None:
    """Two of them may lead to the same value: then their order decides."""
    mistakes = ("one", [1.0, 1.0], "A."), ("two", [2.0, 2.0], "B."), ("again", [2.0, 2.0], "C.")
    assert _refused([2.0, 2.0], *mistakes) == "two: B."
    assert _refused(np.ones(2), *mistakes) == "one: A."


@pytest.mark.parametrize("got", [[1.0, 2.0], 2.0, [[2.0, 2.0]], "2", None, [[2.0], 2.0]])
def test_what_is_no_typical_mistake_goes_on(got: Any) -> None:
    """Also if it has another shape, or is no number at all."""
    refuse(got, ("two", [2.0, 2.0], "B."))
    refuse(got)


def test_the_tolerances_are_those_that_were_asked_for() -> None:
    """One in a million is far away, unless it is said to be close."""
    near = 2.0 * (1 + 1e-6)
    refuse(near, ("two", 2.0, "B."))
    assert _refused(near, ("two", 2.0, "B."), rtol=1e-5) == "two: B."
    refuse(1e-6, ("zero", 0.0, "Z."), rtol=1e-5)
    assert _refused(1e-6, ("zero", 0.0, "Z."), atol=1e-5) == "zero: Z."


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_true_and_false_are_bools_whoever_made_them(value: Any) -> None:
    """NumPy's comparisons return a kind of their own."""
    found = truth(value)
    assert type(found) is bool and found == value


@pytest.mark.parametrize("value", [1, 0.0, "True", None, np.array([True]), []])
def test_what_only_counts_as_true_or_false_is_not(value: Any) -> None:
    """Whoever returns 1 has not decided to say yes."""
    with pytest.raises(Mistake, match="Return True or False, not ") as caught:
        truth(value)
    assert caught.value.name == "not-true-or-false"


@pytest.mark.parametrize("value", [(1, 2), [1, 2], ("a", None)])
def test_a_tuple_or_a_list_of_the_right_length_has_parts(value: Any) -> None:
    """Whatever they are."""
    assert parts(value, 2, "not-a-pair", "Two.") == tuple(value)


@pytest.mark.parametrize("value", [1, "ab", (1,), [1, 2, 3], np.zeros(2), {1: 2, 3: 4}, None])
def test_what_has_no_such_parts_is_the_mistake_that_is_named(value: Any) -> None:
    """An array and a text can be unpacked as well, and are not what was asked for."""
    with pytest.raises(Mistake, match="Two.") as caught:
        parts(value, 2, "not-a-pair", "Two.")
    assert caught.value.name == "not-a-pair"


def test_slopes_are_exact_in_every_digit() -> None:
    """Where differences lose half of them; of an array of any shape, which is left alone."""
    x = np.array([[0.3, -1.2, 2.0], [1e-8, 5.0, -0.7]])
    before = x.copy()
    found = slopes(lambda z: (np.sin(z) * [[1.0], [2.0]]).sum(), x)
    assert np.allclose(found, np.cos(x) * [[1.0], [2.0]], rtol=1e-15, atol=0)
    assert np.array_equal(x, before) and found.dtype == float


def test_the_first_case_that_is_judged_wrongly_is_named() -> None:
    """Later ones are not asked for; whoever judges all of them rightly hears nothing."""
    asked: list[int] = []

    def large(n: int) -> bool:
        asked.append(n)
        return n > 2

    cases = (3, True, "three", "A."), (2, False, "two", "B.")
    ask(large, *cases)
    with pytest.raises(Mistake, match=r"^one: C\.$"):
        ask(large, *cases, (1, True, "one", "C."), (0, True, "zero", "D."))
    assert asked == [3, 2, 3, 2, 1]
    with pytest.raises(Mistake, match="not-true-or-false"):
        ask(lambda n: n, *cases)
