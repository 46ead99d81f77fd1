"""The checks at the door let good input through unchanged and name what is wrong with the rest."""

from fractions import Fraction

import numpy as np
import pytest

from course_lib.arrays import check_generator, check_integer, check_matrix, check_number, shown
from course_lib.registry import lookup


def test_good_matrices_pass_and_keep_their_dtype() -> None:
    x = np.ones((2, 3), np.float32)
    assert check_matrix(x, 3, where="here") is x
    assert check_matrix([[1, 2]], None, where="here").dtype == np.float64
    assert check_matrix([[True]], 1, where="here").dtype == np.float64


def test_the_first_bad_number_is_named() -> None:
    x = np.zeros((3, 2))
    x[1, 1] = np.inf
    with pytest.raises(ValueError, match="here: x must be finite, got inf at row 1, column 1"):
        check_matrix(x, 2, where="here")


def test_integers_of_python_and_numpy_pass_and_booleans_do_not() -> None:
    assert check_integer(np.int32(3), where="here", name="n", at_least=1) == 3
    assert type(check_integer(np.int32(3), where="here", name="n", at_least=1)) is int
    with pytest.raises(ValueError, match="here: n must be an integer of at least 1, got True"):
        check_integer(True, where="here", name="n", at_least=1)
    with pytest.raises(TypeError, match="got '3'"):
        check_integer("3", where="here", name="n", at_least=1)


def test_a_seed_is_not_a_generator() -> None:
    rng = np.random.default_rng(0)
    assert check_generator(rng, where="here") is rng
    with pytest.raises(TypeError, match="got RandomState; pass"):
        check_generator(np.random.RandomState(0), where="here")


def test_a_name_far_from_all_others_gets_the_list_without_a_guess() -> None:
    with pytest.raises(ValueError, match=r"unknown fruit 'zzz'\. Known: apple\."):
        lookup("fruit", "zzz", {"apple": 1})


@pytest.mark.parametrize("value", [10**400, -(10**400), Fraction(10) ** 400])
def test_a_number_too_large_for_a_float_is_refused_in_few_words(value) -> None:
    with pytest.raises(ValueError, match="here: n must be a finite number, got") as caught:
        check_number(value, where="here", name="n")
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), np.float16(0.25), Fraction(1, 4)])
def test_a_number_of_any_kind_becomes_pythons(value) -> None:
    found = check_number(value, where="here", name="n", above=0, below=1)
    assert (found, type(found)) == (0.25, float)


def test_the_ends_of_a_range_are_in_or_out_as_it_says() -> None:
    def inside(value, **ends) -> bool:
        try:
            return check_number(value, where="here", name="n", **ends) == value
        except ValueError:
            return False

    assert [inside(v, at_least=0, below=1) for v in (-1e-9, 0, 0.5, 1)] == [
        False,
        True,
        True,
        False,
    ]
    opened = [inside(v, above=0, at_most=1) for v in (0, 1e-9, 1, 1 + 1e-9)]
    assert opened == [False, True, True, False]


def test_a_long_text_is_cut_and_an_array_is_told_by_its_shape() -> None:
    assert len(shown("a" * 1000)) == 60
    assert shown(np.zeros((1000, 1000))) == "an array of float64 with shape (1000, 1000)"
    assert shown([1, 2]) == "[1, 2]"
