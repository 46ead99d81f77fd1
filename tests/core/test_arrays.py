"""The checks at the door let good input through unchanged and name what is wrong with the rest."""

import numpy as np
import pytest

from course_lib.arrays import check_generator, check_integer, check_matrix
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
