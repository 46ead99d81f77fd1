"""A neuron: truth tables, the geometry of its line, and what it cannot do."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import pickle

import numpy as np
import pytest

from course_lib import neurons
from course_lib.activations import relu
from course_lib.autodiff import Value
from course_lib.neurons import Neuron, step

INPUTS = [(0, 0), (0, 1), (1, 0), (1, 1)]
GATES = {
    "and": (Neuron([1.0, 1.0], bias=-1.5, activation=step), lambda a, b: a and b),
    "or": (Neuron([1.0, 1.0], bias=-0.5, activation=step), lambda a, b: a or b),
    "nand": (Neuron([-1.0, -1.0], bias=1.5, activation=step), lambda a, b: not (a and b)),
    "a and not b": (Neuron([1.0, -1.0], bias=-0.5, activation=step), lambda a, b: a and not b),
}


@pytest.mark.parametrize("gate", GATES)
def test_gates_have_their_truth_tables(gate):
    neuron, truth = GATES[gate]
    assert [neuron(x) for x in INPUTS] == [int(truth(*x)) for x in INPUTS]


def test_two_layers_of_gates_make_xor():
    hidden = [GATES["or"][0], GATES["nand"][0]]
    assert [GATES["and"][0]([n(x) for n in hidden]) for x in INPUTS] == [0, 1, 1, 0]


def test_no_neuron_on_a_grid_of_weights_and_biases_is_xor_but_fourteen_tables_occur():
    grid = [-2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0]
    tables = {
        tuple(Neuron([v, w], bias=b, activation=step)(x) for x in INPUTS)
        for v, w, b in itertools.product(grid, repeat=3)
    }
    # Of the 16 Boolean functions of two inputs all but XOR and its negation are separable.
    assert len(tables) == 14
    assert (0, 1, 1, 0) not in tables and (1, 0, 0, 1) not in tables


def test_without_a_bias_the_origin_lies_on_the_line():
    for weights in itertools.product([-1.5, 0.25, 3.0], repeat=3):
        assert Neuron(weights).pre_activation([0.0, 0.0, 0.0]) == 0.0
        assert Neuron(weights, bias=0.75).pre_activation([0.0, 0.0, 0.0]) == 0.75


def test_z_is_the_signed_distance_times_the_length_of_the_weights():
    # The line 3x + 4y - 5 = 0: (3, 4) is 20/5 = 4 beyond it, (0, 0) is 1 before it.
    neuron = Neuron([3.0, 4.0], bias=-5.0)
    assert neuron.pre_activation([3.0, 4.0]) / 5 == 4.0
    assert neuron.pre_activation([0.0, 0.0]) / 5 == -1.0


def test_a_neuron_is_a_row_of_numpys_matrix_product():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=7), rng.normal(size=(4, 7))
    neuron = Neuron(w.tolist(), bias=0.3, activation=math.tanh)
    np.testing.assert_allclose([neuron(row) for row in x], np.tanh(x @ w + 0.3), rtol=1e-14)


def test_any_activation_of_the_package_and_any_kind_of_number_will_do():
    assert float(Neuron([2.0], bias=-1.0, activation=relu)([3.0])) == 5.0
    w = Value(2.0)
    out = Neuron([w], bias=Value(-1.0), activation=Value.tanh)([0.5])
    out.backward()
    assert w.grad == pytest.approx(0.5 * (1 - math.tanh(0.0) ** 2))


def test_the_default_activation_is_the_identity():
    assert Neuron([2.0, -1.0])([3.0, 4.0]) == 2.0
    assert Neuron([2.0, -1.0], bias=1.0)([3.0, 4.0]) == 3.0


def test_neurons_are_values_equal_frozen_and_picklable():
    neuron = GATES["and"][0]
    assert pickle.loads(pickle.dumps(neuron)) == neuron
    with pytest.raises(AttributeError):
        neuron.bias = 0.0


def test_the_file_needs_no_numpy():
    tree = ast.parse(inspect.getsource(neurons))
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert modules == {"__future__", "collections.abc", "dataclasses", "typing"}


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match=r"Neuron: x must hold 2 inputs \(one per weight\), got 3"):
        Neuron([1.0, 1.0])([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Neuron: weights must hold at least one number"):
        Neuron([])


@pytest.mark.parametrize(
    "wrong", [[1j], [2.0, 1j], ["1"], "1", b"1", [None], 1.0, None, [[1.0]], {"a": 1}]
)
def test_what_is_no_number_is_no_weight_and_no_input(wrong):
    with pytest.raises(TypeError, match="Neuron: weights must hold real numbers, got"):
        Neuron(wrong)
    with pytest.raises(TypeError, match="Neuron: x must hold real numbers, got"):
        Neuron([1.0])(wrong)
