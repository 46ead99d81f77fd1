"""Numbers that remember how they were made, so that every derivative follows by the chain rule.

Each operation computes a value and, beside it, its local derivatives: one number per operand.
:meth:`Value.backward` then walks the graph of operations once, from the result to its origins.

Chapter: backpropagation.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TypeAlias

Number: TypeAlias = float | int


class Value:
    r"""A number, the operands that it was computed from, and its derivative by each of them.

    For :math:`v = f(u_1, u_2)` it stores the pairs :math:`(u_k, \partial v / \partial u_k)`.
    After ``out.backward()``, ``v.grad`` is :math:`\partial\,out / \partial v` for every v that
    ``out`` depends on.

    Parameters
    ----------
    data : float
        The number.

    Raises
    ------
    TypeError
        If something is no number.
    ValueError, ZeroDivisionError, OverflowError
        If a result is no real number, or too large for one of 64 bits.

    Attributes
    ----------
    data, grad : float
        The number, and the derivative that the last :meth:`backward` found for it.

    Examples
    --------
    >>> w, b = Value(-3.0), Value(1.0)
    >>> loss = (w * 2 + b - 1) ** 2
    >>> loss.backward()
    >>> loss.data, w.grad, b.grad
    (36.0, -24.0, -12.0)

    References
    ----------
    Linnainmaa 1970; Griewank & Walther 2008, chapter 3 (reverse mode).
    """

    __slots__ = ("_edges", "data", "grad")

    def __init__(self, data: Number, _edges: tuple[tuple[Value, float], ...] = ()) -> None:
        self.data = _number(data, "expected a number")
        self.grad = 0.0
        self._edges = _edges

    def __repr__(self) -> str:
        return f"Value(data={self.data:g}, grad={self.grad:g})"

    def __add__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def __sub__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data - other.data, ((self, 1.0), (other, -1.0)))

    def __truediv__(self, other: Value | Number) -> Value:
        other = _value(other)
        if other.data == 0:
            raise ZeroDivisionError(f"Value: {self.data:g} cannot be divided by 0.")
        v = self.data / other.data
        return Value(v, ((self, 1 / other.data), (other, -v / other.data)))

    def __pow__(self, n: Number) -> Value:
        n = _number(n, "write a ** b as (b * a.log()).exp(); the exponent must be a plain number")
        if self.data < 0 and n != int(n):
            raise ValueError(f"Value: {self.data:g} ** {n:g} is not a real number.")
        if self.data == 0 and n < 0:
            raise ZeroDivisionError(f"Value: 0 ** {n:g} would divide by 0.")
        # The derivative of x ** 0 is 0, also at x = 0, where the formula would divide by zero.
        try:
            slope = n * self.data ** (n - 1) if n and (self.data or n >= 1) else 0.0
            return Value(self.data**n, ((self, slope),))
        except OverflowError:
            raise OverflowError(
                f"Value: {self.data:g} ** {n:g} is too large for a float."
            ) from None

    def __neg__(self) -> Value:
        return Value(-self.data, ((self, -1.0),))

    def __rsub__(self, other: Number) -> Value:
        return _value(other) - self

    def __rtruediv__(self, other: Number) -> Value:
        return _value(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def exp(self) -> Value:
        """Return e to the power of this number; its derivative is itself."""
        try:
            v = math.exp(self.data)
        except OverflowError:
            raise OverflowError(f"Value: exp({self.data:g}) is too large for a float.") from None
        return Value(v, ((self, v),))

    def log(self) -> Value:
        """Return the natural logarithm, derivative 1 / x; ValueError unless x > 0."""
        if not self.data > 0:
            raise ValueError(f"Value: log needs a number above 0, got {self.data:g}.")
        return Value(math.log(self.data), ((self, 1 / self.data),))

    def tanh(self) -> Value:
        """Return the hyperbolic tangent a; its derivative is 1 - a^2."""
        a = math.tanh(self.data)
        return Value(a, ((self, 1 - a * a),))

    def sigmoid(self) -> Value:
        """Return the logistic function a; its derivative is a (1 - a)."""
        e = math.exp(-abs(self.data))  # never above 1: nothing overflows, no digit is lost
        a = (1.0 if self.data >= 0 else e) / (1 + e)
        return Value(a, ((self, a * (1 - a)),))

    def relu(self) -> Value:
        """Return max(x, 0); its derivative is 1 for x > 0, else 0."""
        return Value(max(self.data, 0.0), ((self, float(self.data > 0)),))

    def backward(self) -> None:
        """Set ``grad`` of every number in this graph to the derivative of this one by it.

        A number may be handled only when all numbers made from it have been: the paths through
        them must be added up first. The smallest graph that shows it is ``a = 1; b = a + a;
        c = b + b``: dc/da is 4, but a walk that goes on from b at each use of b finds 6.
        Gradients are reset first, so calling it again changes nothing. Numbers outside this
        graph keep what they had.

        Examples
        --------
        >>> a = Value(1.0)
        >>> b = a + a
        >>> c = b + b
        >>> c.backward()
        >>> a.grad
        4.0
        """
        order = self._operands_first()
        for value in order:
            value.grad = 0.0
        self.grad = 1.0
        for value in reversed(order):
            for operand, derivative in value._edges:
                operand.grad += derivative * value.grad

    def _operands_first(self) -> list[Value]:
        """Sort the graph topologically. A stack, not recursion: graphs get 100,000 deep."""
        order: list[Value] = []
        seen: set[Value] = set()
        stack = [(self, False)]
        while stack:
            value, operands_done = stack.pop()
            if operands_done:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                stack.extend((operand, False) for operand, _ in value._edges)
        return order


def _number(x: object, wanted: str) -> float:
    if not isinstance(x, Real):
        raise TypeError(f"Value: {wanted}, got {type(x).__name__}.")
    return float(x)


def _value(x: Value | Number) -> Value:
    return x if isinstance(x, Value) else Value(x)
