"""The solution of every exercise in other forms: right ones pass, wrong ones do not, whoever asks.

What is right stays right as a list, as an array of one number, as a tensor, and whatever NumPy
does about overflow. What is wrong is made of the solution: an argument is ignored, the first result
kept, digits lost.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from course_lib import exercises
from course_lib.exercises.exercise import find

from .pages import solution

NAMES = exercises.names()

# Arguments that an answer need not look at.
NOT_NEEDED = {
    ("challenges.importance", "rng"),  # any shuffle will do
    ("gradient_checking.estimate", "rng"),  # any directions will do
    ("conclusion.together", "loss_and_grads"),  # the same function each time
    ("data_parallel.with_penalty", "rank"),  # all ranks may add equal parts
}

# They are given back what they have returned, so another type of it is their own affair.
GIVEN_BACK = {"dask.block_std", "optimizers.adamax"}


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change what is no list, tuple or dictionary, wherever it stands in one."""
    if isinstance(value, list | tuple):
        return type(value)(_each(part, change) for part in value)
    if type(value) is dict:
        return {key: _each(part, change) for key, part in value.items()}
    return change(value)


def _lists_for_tuples(value: Any) -> Any:
    if isinstance(value, list | tuple):
        other = list if isinstance(value, tuple) else tuple
        return other(_lists_for_tuples(part) for part in value)
    if type(value) is dict:
        return {key: _lists_for_tuples(part) for key, part in value.items()}
    return value


def _lists_for_arrays(value: Any) -> Any:
    return _each(value, lambda part: part.tolist() if isinstance(part, np.ndarray) else part)


def _arrays_for_numbers(value: Any) -> Any:
    numbers = int | float | np.number
    return _each(value, lambda p: np.array(p) if isinstance(p, numbers) and p is not True else p)


def _tensors(value: Any) -> Any:
    import torch

    def tensor(part: Any) -> Any:
        if isinstance(part, float):
            return torch.tensor(part, dtype=torch.float64, requires_grad=True)
        if isinstance(part, np.ndarray | np.number) and part.dtype.kind in "fi":
            return torch.tensor(part, requires_grad=part.dtype.kind == "f")
        return part

    return _each(value, tensor)


def _single(value: Any) -> Any:
    def narrow(part: Any) -> Any:
        if isinstance(part, float):
            return np.float32(part)
        double = isinstance(part, np.ndarray) and part.dtype == np.float64
        return part.astype(np.float32) if double else part

    return _each(value, narrow)


def _returning(answer: Any, change: Callable[[Any], Any]) -> Any:
    """Return the answer, with what it returns, or what it is, in another form."""
    if isinstance(answer, tuple) and all(map(callable, answer)):
        return tuple(_returning(part, change) for part in answer)
    if not callable(answer):
        return change(answer)

    @functools.wraps(answer)
    def changed(*args: Any, **kwargs: Any) -> Any:
        result = answer(*args, **kwargs)
        return result if callable(result) else change(result)

    return changed


FORMS = [_lists_for_tuples, _lists_for_arrays, _arrays_for_numbers, _tensors]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in GIVEN_BACK])
def test_a_right_answer_is_right_in_every_form(name: str, form: Callable[[Any], Any]) -> None:
    """But where the task asks for a number that is no tensor."""
    verdict = find(name).judge(_returning(solution(name), form))
    if (name, form) == ("pytorch_network.in_pieces", _tensors):
        assert verdict.mistake == "loss-still-a-tensor"
    else:
        assert verdict.passed, verdict


def test_what_is_given_back_may_be_a_list() -> None:
    """Theta and the state of Adamax, as a list."""
    answer = solution("optimizers.adamax")
    assert find("optimizers.adamax").judge(lambda *args, **kwargs: list(answer(*args, **kwargs)))


@pytest.mark.parametrize("name", NAMES)
def test_a_check_does_not_ask_what_numpy_does_about_errors(name: str) -> None:
    """With everything raised that can be, the verdict is the same, and the setting stays."""
    with np.errstate(all="raise"):
        verdict = find(name).judge(solution(name))
        assert set(np.geterr().values()) == {"raise"}
    assert verdict.passed, verdict


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_called_by_its_name(name: str) -> None:
    """Where it is not enough; and two numbers that differ do not look the same in the hint."""
    verdict = find(name).judge(_returning(solution(name), _single))
    if not verdict.passed:
        assert verdict.mistake == "too-few-digits", verdict
        assert "float32" in verdict.hint
        for expected, got in re.findall(r"expected (\S+), got ([^\s.]+(?:\.\d+)?)", verdict.hint):
            assert expected != got


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_does_not_pass(name: str, special: float) -> None:
    """In the place of every number, or of the last one alone: a comparison with nan is False."""
    for every in (True, False):
        changed = []

        def spoilt(value: Any, every: bool = every, changed: list[bool] = changed) -> Any:
            result = _each(value, lambda part: _spoilt(part, special, every))
            changed.append(repr(result) != repr(value))
            return result

        verdict = find(name).judge(_returning(solution(name), spoilt))
        assert not (verdict.passed and any(changed))


def _spoilt(value: Any, special: float, every: bool) -> Any:
    if isinstance(value, float):
        return special
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.size:
        return value
    result = value.copy()
    result.flat[slice(None) if every else -1] = special
    return result


def _with_fixed(answer: Any, parameter: str) -> Any:
    """Return the answer with one argument always as it was in the first call."""
    signature, first = inspect.signature(answer), []

    @functools.wraps(answer)
    def fixed(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        first.append(_kept(bound.arguments[parameter]))
        bound.arguments[parameter] = _kept(first[0])
        return answer(*bound.args, **bound.kwargs)

    return fixed


def _kept(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, np.ndarray | list | tuple | dict) else value


FUNCTIONS = [name for name in NAMES if name not in {"neurons.gate", "dask.block_std"}]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_answer_that_ignores_an_argument_does_not_pass(name: str) -> None:
    """Not even if the value that it has in its place is that of the first call."""
    answer = solution(name)
    for parameter in inspect.signature(answer).parameters:
        if (name, parameter) not in NOT_NEEDED:
            verdict = find(name).judge(_with_fixed(answer, parameter))
            assert not verdict.passed, f"{parameter} is ignored"
            assert verdict.hint and verdict.mistake != "not-yet"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_answer_that_keeps_its_first_result_does_not_pass(name: str) -> None:
    """However right that was."""
    answer, kept = solution(name), []

    @functools.wraps(answer)
    def stubborn(*args: Any, **kwargs: Any) -> Any:
        kept.append(kept[0] if kept else answer(*args, **kwargs))
        return kept[0]

    assert not find(name).judge(stubborn).passed
