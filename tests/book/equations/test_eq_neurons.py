"""The equations of the chapter Neurons, as printed there, against course_lib."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from course_lib import SGD
from course_lib.network import Dense
from course_lib.neurons import Neuron, step

CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
AND = Neuron([1, 1], bias=-1.5, activation=step)
OR = Neuron([1, 1], bias=-0.5, activation=step)
NAND = Neuron([-1, -1], bias=1.5, activation=step)


def perceptron(x, y, start, passes):
    """Apply the printed rule; return w, b and the number of corrections."""
    (*w, b), k = start, 0
    w = np.array(w)
    for _ in range(passes):
        before = k
        for x_i, y_i in zip(x, y, strict=True):
            error = int(y_i) - Neuron(w, bias=b, activation=step)(x_i)
            w, b, k = w + error * x_i, b + error, k + abs(error)
        if k == before:
            break
    return w, b, k


@pytest.mark.equation("eq-neurons-simple")
def test_a_neuron_without_bias_is_the_activation_of_a_dot_product():
    assert Neuron([2, -1])([3, 4]) == 2
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=7), rng.normal(size=7)
    assert Neuron(w, activation=math.tanh)(x) == pytest.approx(np.tanh(np.dot(w, x)), rel=1e-12)


@pytest.mark.equation("eq-neurons-bias")
def test_the_bias_is_added_to_the_dot_product():
    rng = np.random.default_rng(1)
    w, x, b = rng.normal(size=7), rng.normal(size=7), -0.75
    assert Neuron(w, bias=b).pre_activation(x) == pytest.approx(np.dot(w, x) + b, rel=1e-12)
    assert Neuron([2, -1], bias=-1)([3, 4]) == 1


@pytest.mark.equation("eq-neurons-one")
def test_the_bias_is_the_weight_of_an_input_that_is_one():
    rng = np.random.default_rng(2)
    w, x, b = rng.normal(size=7), rng.normal(size=7), 1.25
    assert Neuron([*w, b])([*x, 1.0]) == pytest.approx(Neuron(w, bias=b)(x), rel=1e-12)


@pytest.mark.equation("eq-neurons-cosine")
def test_the_sum_is_the_product_of_the_lengths_and_the_cosine():
    # Two arrows drawn with a known angle between them.
    for alpha in np.linspace(0, np.pi, 9):
        w = 2.0 * np.array([math.cos(0.3), math.sin(0.3)])
        x = 5.0 * np.array([math.cos(0.3 + alpha), math.sin(0.3 + alpha)])
        assert Neuron(w)(x) == pytest.approx(2 * 5 * math.cos(alpha), abs=1e-12)


@pytest.mark.equation("eq-neurons-distance")
def test_z_over_the_length_of_w_is_the_distance_to_the_nearest_point_of_the_line():
    w, b = np.array([3.0, 4.0]), -5.0
    line = Neuron(w, bias=b)
    s = np.linspace(-20, 20, 400_001)  # points of the line, 1e-4 apart
    on_line = np.outer(s, [4, -3]) / 5 + np.array([0.6, 0.8])
    assert np.abs(on_line @ w + b).max() < 1e-12
    for x in ([3.0, 1.0], [0.0, 0.0], [-2.0, 0.5]):
        d = line.pre_activation(x) / np.linalg.norm(w)
        nearest = np.linalg.norm(on_line - x, axis=1).min()
        # A point 1e-4 beside the foot is further by at most (1e-4)^2 / (2 d).
        assert abs(d) == pytest.approx(nearest, abs=1e-8)
    assert line.pre_activation([0.0, 0.0]) / 5 == b / 5 == -1


@pytest.mark.equation("eq-neurons-step")
def test_the_step_is_one_from_zero_on():
    z = np.array([-3.0, -1e-300, 0.0, 1e-300, 3.0])
    assert [step(v) for v in z] == np.heaviside(z, 1.0).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.equation("eq-neurons-layer")
def test_a_layer_is_its_neurons_side_by_side():
    rng = np.random.default_rng(3)
    x, W, b = rng.normal(size=(7, 4)), rng.normal(size=(4, 6)), rng.normal(size=6)
    z, _ = Dense(4, 6).forward({"W": W, "b": b}, x)
    assert z.shape == (7, 6)
    for i, j in np.ndindex(7, 6):
        assert z[i, j] == pytest.approx(Neuron(W[:, j], bias=b[j])(x[i]), rel=1e-12, abs=1e-14)


@pytest.mark.equation("eq-neurons-perceptron")
def test_the_rule_walks_the_same_way_as_scikit_learns_perceptron_and_as_sgd():
    from sklearn.linear_model import Perceptron

    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 3))
    y = (x @ [1.0, -2.0, 0.5] > 0.2).astype(int)
    start = np.array([0.1, 0.2, 0.3, 0.4])  # not zero: at z = 0 scikit-learn corrects both classes
    model = Perceptron(shuffle=False, max_iter=3, tol=None)
    theirs = start.copy()  # scikit-learn trains in the arrays that it is given
    model.fit(x, y, coef_init=theirs[None, :3], intercept_init=theirs[3:])
    w, b, k = perceptron(x, y, start, passes=3)
    assert k > 0
    np.testing.assert_allclose(model.coef_[0], w, rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, [b], rtol=1e-12)

    # The step of SGD with learning rate 1, the gradient being -(y - a) (x, 1).
    a = Neuron(start[:3], bias=start[3], activation=step)(x[0])
    error = 1 - y[0] - a  # against the wrong label, so that there is something to correct
    sgd = SGD(1.0)
    by_sgd, _ = sgd.step(start, -error * np.array([*x[0], 1.0]), sgd.init(start))
    by_rule, b, _ = perceptron(x[:1], 1 - y[:1], start, passes=1)
    np.testing.assert_allclose(by_sgd, [*by_rule, b], rtol=1e-14)


@pytest.mark.equation("eq-neurons-bound")
def test_the_corrections_never_exceed_the_bound():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        u = rng.normal(size=4)
        u /= np.linalg.norm(u)
        x = rng.uniform(-1, 1, (60, 3))
        extended = np.column_stack([x, np.ones(60)])
        far = np.abs(extended @ u) > 0.1
        x, extended = x[far], extended[far]
        y = (extended @ u > 0).astype(int)
        w, b, k = perceptron(x, y, np.zeros(4), passes=1000)
        gamma = np.abs(extended @ u).min()
        R = np.linalg.norm(extended, axis=1).max()
        assert 0 < k <= (R / gamma) ** 2
        assert [Neuron(w, bias=b, activation=step)(p) for p in x] == y.tolist()


@pytest.mark.equation("eq-neurons-four")
def test_the_four_inequalities_are_xor_and_have_no_solution():
    from scipy.optimize import linprog

    # They say what they should: a neuron has the answers of XOR exactly if all four hold.
    grid = np.arange(-2, 2.01, 0.5)
    for v, w, b in itertools.product(grid, repeat=3):
        neuron = Neuron([v, w], bias=b, activation=step)
        holds = b < 0 and w + b >= 0 and v + b >= 0 and v + w + b < 0
        assert holds == ([neuron(x) for x in CORNERS] == [0, 1, 1, 0])
    # Scaled by a large number, "< 0" becomes "<= -1". Rows: (w1, w2, b) A^T <= limit.
    A = [[0, 0, 1], [0, -1, -1], [-1, 0, -1], [1, 1, 1]]
    free = [(None, None)] * 3
    assert linprog([0, 0, 0], A_ub=A, b_ub=[-1, 0, 0, -1], bounds=free).status == 2  # infeasible
    # The same machinery does find the inequalities of AND satisfiable.
    A = [[0, 0, 1], [0, 1, 1], [1, 0, 1], [-1, -1, -1]]
    assert linprog([0, 0, 0], A_ub=A, b_ub=[-1, -1, -1, 0], bounds=free).status == 0


@pytest.mark.equation("eq-neurons-xor")
def test_xor_is_and_of_or_and_nand():
    assert [AND([OR(x), NAND(x)]) for x in CORNERS] == [a ^ b for a, b in CORNERS]
