"""The tools that the exercises are made of; the exercises themselves: tests/exercises."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import course_lib
from course_lib import exercises
from course_lib.exercises import Exercise, Mistake, Verdict
from course_lib.exercises import exercise as exercise_module
from course_lib.exercises.answers import agree, array, call, number, same
from course_lib.exercises.exercise import exercise


def _exercise(checker: Any) -> Exercise:
    return Exercise("a.b", "A title", "easy", 5, checker)


def _mistake(action: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    with pytest.raises(Mistake) as caught:
        action(*args, **kwargs)
    return caught.value.name, caught.value.hint


def test_the_package_offers_the_exercises() -> None:
    """Loaded on first use, as everything that only some need."""
    assert course_lib.exercises.check is exercises.check


def test_check_prints_the_verdict_and_returns_it(capsys: pytest.CaptureFixture[str]) -> None:
    """And a notebook does not print it again, since it is the last value of its cell."""
    verdict = exercises.check("activations.elu", course_lib.activations.softmax)
    assert capsys.readouterr().out == f"{verdict}\n"
    assert verdict._ipython_display_() is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("verdict", "text", "good"),
    [
        (Verdict("a.b", True), "a.b: passed", True),
        (Verdict("a.b", False, "too-late", "Go."), "a.b: too-late\n  Hint: Go.", False),
        (
            Verdict("a.b", False, "not-yet", "write f"),
            "a.b: not yet (write f, then run this cell again)",
            False,
        ),
    ],
)
def test_a_verdict_is_true_and_reads_as_what_it_says(
    verdict: Verdict, text: str, good: bool
) -> None:
    """One line for good news."""
    assert (str(verdict), bool(verdict)) == (text, good)


def test_a_long_hint_is_wrapped() -> None:
    """A notebook does not wrap what is printed."""
    lines = str(Verdict("a.b", False, "x", "word " * 60)).splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= 88
    assert {line.find("word") for line in lines[1:]} == {len("  Hint: ")}


@pytest.mark.parametrize("answer", [None, ..., {"a": 1, "b": ...}, [1, ...], (...,)])
def test_an_answer_with_something_left_open_is_not_yet_one(answer: Any) -> None:
    """The checker does not even see it."""
    assert _exercise(lambda answer: 1 / 0).judge(answer).mistake == "not-yet"


def _raises() -> None:
    raise NotImplementedError


@pytest.mark.parametrize("answer", [_raises, lambda: None, lambda: ..., lambda: NotImplemented])
def test_a_function_that_returns_nothing_is_not_yet_an_answer(answer: Any) -> None:
    """As the starter is."""
    assert _exercise(lambda answer: call(answer)).judge(answer).mistake == "not-yet"


def test_an_error_in_the_checker_is_no_traceback_for_the_learner() -> None:
    """The answer is of a kind that nobody thought of."""
    verdict = _exercise(lambda answer: answer.shape).judge(3)
    assert verdict.mistake == "not-understood"
    assert "'int' object has no attribute 'shape'" in verdict.hint


@pytest.mark.parametrize("name", ["activations.ellu", "activation.elu"])
def test_an_unknown_name_is_told_the_closest(name: str) -> None:
    """A mistyped name is a mistake of the page, not of the answer: it raises."""
    with pytest.raises(ValueError, match=f"unknown exercise '{name}'.*closest.*activations.elu"):
        exercises.check(name, None)
    with pytest.raises(ValueError, match=r"unknown exercise 'zzz'; exercises.names\(\) lists"):
        exercises.find("zzz")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "test_checking.a",
            {"level": "huge"},
            "has the level 'huge'; there are easy, medium, hard",
        ),
        ("test_checking.a", {"minutes": 0}, "takes 0 minutes; write at least 1"),
        ("losses.a", {}, "stands in test_checking.py; name it 'test_checking.<exercise>'"),
        ("test_checking.a.b", {}, "name it 'test_checking.<exercise>'"),
    ],
)
def test_an_exercise_that_cannot_be_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    """When its file is loaded."""
    with pytest.raises(ValueError, match=message):
        exercise(name, **({"title": "T", "level": "easy", "minutes": 5} | options))(lambda a: None)


def test_two_exercises_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second would replace the first in silence."""
    monkeypatch.setattr("course_lib.exercises.exercise._EXERCISES", {})
    head = exercise("test_checking.a", title="T", level="easy", minutes=5)
    for first, second in ((_raises, _mistake), (_mistake, _raises)):
        exercise_module._EXERCISES.clear()
        head(first)
        head(first)  # the same again, as when a module is loaded anew
        with pytest.raises(ValueError, match="two exercises 'test_checking.a'"):
            head(second)


def test_call_gives_copies_and_hides_warnings() -> None:
    """Nothing that an answer does reaches the checker's own arrays, or stderr."""
    z = np.array([1.0, -1.0])
    with warnings.catch_warnings(record=True) as seen:
        assert np.isnan(call(lambda x: np.sqrt(x), z)[1])
    assert not seen
    rng = np.random.default_rng(0)
    assert call(lambda g: g.random(), rng) == call(lambda g: g.random(), rng)


def _double(x: Any) -> Any:
    x *= 2
    return x


@pytest.mark.parametrize("argument", [np.ones(2), [np.ones(2)], {"W": np.ones(2)}, ([np.ones(1)],)])
def test_call_notices_a_changed_argument(argument: Any) -> None:
    """In arrays, lists and dictionaries; a result that shares memory is no change."""

    def change(x: Any) -> Any:
        while not isinstance(x, np.ndarray):
            x = x["W"] if isinstance(x, dict) else x[0]
        return _double(x)

    assert _mistake(call, change, argument)[0] == "input-changed"
    assert call(lambda x: x, argument) is not argument


def test_call_notices_a_changed_list() -> None:
    """Longer, or with another entry."""
    assert _mistake(call, lambda x: x.append(1) or x, [3, 2])[0] == "input-changed"
    assert _mistake(call, lambda x: x.sort() or x, [3, 2])[0] == "input-changed"
    assert _mistake(call, lambda x: x.update(b=1) or x, {"a": 1})[0] == "input-changed"


def test_call_names_what_cannot_be_called() -> None:
    """Not a function; not with these arguments."""
    assert _mistake(call, [1]) == ("not-a-function", "Give the check a function, not a list.")
    name, hint = _mistake(call, _double, 1, 2)
    assert name == "wrong-arguments"
    assert "_double cannot be called as the task says: too many positional arguments" in hint


def test_call_names_the_line_of_an_error() -> None:
    """The learner's own line, also if the error is raised deeper, in somebody else's code."""

    def answer(z: Any) -> Any:
        return np.linalg.inv(z)

    name, hint = _mistake(call, answer, np.zeros((2, 2)))
    assert name == "raises-an-error"
    assert "`return np.linalg.inv(z)`: LinAlgError: Singular matrix." in hint
    assert "Your function stops: ValueError" in _mistake(call, int, "x")[1]


def test_an_error_of_any_length_is_a_hint() -> None:
    """Nobody reads a megabyte."""

    def answer() -> Any:
        raise ValueError("x" * 1_000_000)

    assert 500 < len(_mistake(call, answer)[1]) < 2_000


def test_a_mistake_raised_by_a_helper_of_the_checker_passes_through() -> None:
    """A checker may hand the learner a function of its own that judges."""

    def spy(x: Any) -> Any:
        raise Mistake("asked-too-much", "Once is enough.")

    assert _mistake(call, lambda f: f(1), spy)[0] == "asked-too-much"


def test_numbers_and_arrays_are_recognised() -> None:
    """Also as NumPy scalars and as arrays with one entry."""
    assert number(np.float32(0.5), "It") == number(np.array([0.5]), "It") == 0.5
    assert "not an array of shape (2,)" in _mistake(number, np.zeros(2), "It")[1]
    for value in ("1", None, 1j, [1.0]):
        assert _mistake(number, value, "It")[0] == "not-a-number"
    assert array([[1, 2]], "It").shape == (1, 2)
    for value in ("1", [[1], [1, 2]], [None], 1j):
        assert _mistake(array, value, "It")[0] == "not-numbers"


def test_same_never_raises() -> None:
    """It asks for a typical mistake, before anything is known about the answer."""
    assert same([1.0, np.nan], np.array([1.0, np.nan]))
    assert not same("x", [1.0]) and not same(None, 1.0) and not same([1.0], 1.0)


@pytest.mark.parametrize(
    ("got", "mistake", "hint"),
    [
        ([[1.0, 2.0]], "wrong-shape", "It should have the shape (2,), but yours has (1, 2)."),
        (np.ones(2, np.float32), "wrong-dtype", "the dtype float64, but yours has float32."),
        ([1.0, np.inf], "not-finite", "It for x = 4, n = 3, entry [1]: expected 2, got inf."),
        ([1.0, 2.5], "wrong-values", "It for x = 4, n = 3, entry [1]: expected 2, got 2.5."),
        ([0.5, np.nan], "not-finite", "entry [1]: expected 2, got nan."),
    ],
)
def test_agree_names_the_first_difference(got: Any, mistake: str, hint: str) -> None:
    """With the input that belongs to it."""
    inputs = {"x": np.array([3.0, 4.0]), "n": 3}
    agree([1.0, 2.0], [1.0, 2.0], what="It", inputs=inputs)
    found = _mistake(agree, got, [1.0, 2.0], what="It", inputs=inputs, dtype=np.float64)
    assert found[0] == mistake and found[1].endswith(hint)


def test_agree_compares_numbers_too() -> None:
    """Without an entry to name."""
    hint = "It for mode = fast: expected 2, got 3."
    assert _mistake(agree, 3.0, 2.0, what="It", inputs={"mode": "fast"}) == ("wrong-values", hint)
