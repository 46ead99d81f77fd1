"""Automatic differentiation: the same program in PyTorch, and finite differences, agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from course_lib.autodiff import Value

# One row per operation: the program on Value, on torch, and points where it is smooth.
OPERATIONS = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "add number": (lambda a, b: a + 2 + b, lambda a, b: a + 2 + b),
    "number add": (lambda a, b: 2 + a + b, lambda a, b: 2 + a + b),
    "subtract": (lambda a, b: a - b, lambda a, b: a - b),
    "number subtract": (lambda a, b: (3 - a) - b, lambda a, b: (3 - a) - b),
    "multiply": (lambda a, b: a * b, lambda a, b: a * b),
    "number multiply": (lambda a, b: 3 * a * b * 2, lambda a, b: 3 * a * b * 2),
    "divide": (lambda a, b: a / b, lambda a, b: a / b),
    "number divide": (lambda a, b: 3 / a / (b / 2), lambda a, b: 3 / a / (b / 2)),
    "negate": (lambda a, b: -a * b, lambda a, b: -a * b),
    "square": (lambda a, b: a**2 * b, lambda a, b: a**2 * b),
    "minus third": (lambda a, b: a**-3 * b, lambda a, b: a**-3 * b),
    "root": (lambda a, b: (a * a) ** 0.5 * b, lambda a, b: (a * a) ** 0.5 * b),
    "exp": (lambda a, b: (a * b).exp(), lambda a, b: (a * b).exp()),
    "log": (lambda a, b: (a * a + b * b).log(), lambda a, b: (a * a + b * b).log()),
    "tanh": (lambda a, b: (a * b).tanh(), lambda a, b: (a * b).tanh()),
    "sigmoid": (lambda a, b: (a * b).sigmoid(), lambda a, b: (a * b).sigmoid()),
    "relu": (lambda a, b: (a * b).relu() * a, lambda a, b: (a * b).relu() * a),
    "reused": (lambda a, b: (a * b + a) * (a * b), lambda a, b: (a * b + a) * (a * b)),
}
POINTS = [(0.7, -1.3), (-2.1, -0.4), (1.5, 2.5)]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_value_and_derivatives_equal_those_of_torch(operation, point):
    ours, theirs = OPERATIONS[operation]
    a, b = map(Value, point)
    ours_out = ours(a, b)
    ours_out.backward()
    ta, tb = (torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in point)
    theirs_out = theirs(ta, tb)
    theirs_out.backward()
    # A handful of float64 operations on each side: a few units in the last place.
    assert ours_out.data == pytest.approx(theirs_out.item(), rel=1e-13)
    assert a.grad == pytest.approx(ta.grad.item(), rel=1e-13)
    assert b.grad == pytest.approx(tb.grad.item(), rel=1e-13)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_derivatives_equal_central_differences(operation, point):
    f = OPERATIONS[operation][0]
    a, b = map(Value, point)
    f(a, b).backward()
    h = 1e-5
    da = (f(Value(point[0] + h), b).data - f(Value(point[0] - h), b).data) / (2 * h)
    db = (f(a, Value(point[1] + h)).data - f(a, Value(point[1] - h)).data) / (2 * h)
    # Truncation error h^2 f'''/6, rounding eps/h: about 1e-10 of the scale of f's derivatives.
    error = math.hypot(a.grad - da, b.grad - db)
    assert error <= 1e-7 * max(math.hypot(a.grad, b.grad), 1e-3)


def _network(parameters, x, relu, tanh, exp, log):
    """A 2-3-2 network with cross-entropy, written once for both kinds of numbers."""
    p = iter(parameters)
    hidden = [tanh(next(p) * x[0] + next(p) * x[1] + next(p)) for _ in range(3)]
    scores = [sum((next(p) * h for h in hidden), next(p)) for _ in range(2)]
    return log(exp(scores[0]) + exp(scores[1])) - relu(scores[0]) * 1.5 - scores[1] * 0.5


def test_a_whole_network_written_once_has_the_gradient_of_torch():
    start = np.random.default_rng(0).normal(size=17)
    ours = [Value(float(p)) for p in start]
    loss = _network(ours, [0.3, -0.8], Value.relu, Value.tanh, Value.exp, Value.log)
    loss.backward()
    theirs = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in start]
    reference = _network(theirs, [0.3, -0.8], torch.relu, torch.tanh, torch.exp, torch.log)
    reference.backward()
    assert loss.data == pytest.approx(reference.item(), rel=1e-13)
    np.testing.assert_allclose(
        [p.grad for p in ours], [p.grad.item() for p in theirs], rtol=1e-12, atol=1e-15
    )


def test_a_reused_inner_number_collects_all_paths():
    a = Value(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert (a.grad, b.grad, c.grad) == (4.0, 2.0, 1.0)


def test_backward_twice_gives_the_same_and_a_second_result_starts_afresh():
    a, b = Value(2.0), Value(5.0)
    product = a * b
    product.backward()
    product.backward()
    assert (a.grad, b.grad) == (5.0, 2.0)
    (product + a).backward()
    assert (a.grad, b.grad, product.grad) == (6.0, 2.0, 1.0)


def test_a_diamond_of_depth_60_is_walked_once_per_node():
    # 2^60 paths lead from the end to the start: a walk along paths would never return.
    a = v = Value(1.0)
    for _ in range(60):
        v = v + v
    v.backward()
    assert a.grad == 2.0**60


def test_a_chain_of_100_000_numbers_needs_no_recursion():
    a = v = Value(0.0)
    for _ in range(100_000):
        v = v + 1
    v.backward()
    assert v.data == 100_000 and a.grad == 1.0
    del v  # freeing the chain must not recurse either


def test_sigmoid_and_tanh_saturate_without_overflow():
    for x in (-1000.0, 1000.0):
        v = Value(x)
        s = v.sigmoid()
        s.backward()
        assert s.data == float(x > 0) and v.grad == 0.0
        assert v.tanh().data == math.copysign(1, x)
    assert Value(-40.0).sigmoid().data == pytest.approx(math.exp(-40), rel=1e-14)


def test_the_walk_without_an_order_which_the_docstring_warns_of_finds_6():
    a = Value(1.0)
    b = a + a
    c = b + b
    grad = dict.fromkeys((a, b, c), 0.0) | {c: 1.0}

    def walk(value):
        for operand, derivative in value._edges:
            grad[operand] += derivative * grad[value]
            walk(operand)

    walk(c)
    assert grad[a] == 6.0


def test_numpy_scalars_are_numbers():
    a = Value(np.int64(3))
    (np.float32(2) * a * np.float64(5)).backward()
    assert a.grad == 10.0


def test_relu_and_powers_at_zero():
    zero = Value(0.0)
    for f, slope in ((Value.relu, 0.0), (lambda v: v**0, 0.0), (lambda v: v**1, 1.0)):
        f(zero).backward()
        assert zero.grad == slope


def test_repr_shows_value_and_gradient():
    a = Value(2)
    (a * 3).backward()
    assert repr(a) == "Value(data=2, grad=3)"


def test_what_is_not_a_real_number_is_refused():
    with pytest.raises(TypeError, match="Value: expected a number, got str"):
        Value("1")
    with pytest.raises(TypeError, match="Value: expected a number, got list"):
        Value(1.0) * [1.0]
    with pytest.raises(
        TypeError, match=r"write a \*\* b as .* the exponent must be a plain number, got Value"
    ):
        Value(2.0) ** Value(3.0)
    for negative in (-2.0, -0.5):
        with pytest.raises(ValueError, match=rf"Value: {negative:g} \*\* 0.5 is not a real number"):
            Value(negative) ** 0.5
    with pytest.raises(ValueError, match="log needs a number above 0, got 0"):
        Value(0.0).log()
    with pytest.raises(ZeroDivisionError):
        Value(1.0) / 0
