"""One neuron in plain Python: a weighted sum, perhaps a bias, and an activation.

Chapter: neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


def identity(z: float) -> float:
    """Return z unchanged: the neuron is then a linear function of its inputs."""
    return z


def step(z: float) -> int:
    """Fire (1) from the threshold 0 on, else stay silent (0).

    References: McCulloch & Pitts 1943 (all-or-none).

    Examples
    --------
    >>> [step(z) for z in (-0.5, 0.0, 0.5)]
    [0, 1, 1]
    """
    return 1 if z >= 0 else 0


@dataclass(frozen=True)
class Neuron:
    r"""A weighted sum of the inputs, plus a bias, sent through an activation.

    .. math:: z = \sum_i w_i x_i + b, \qquad a = f(z)

    With the step activation the neuron answers on which side of the line (plane, hyperplane)
    :math:`z = 0` a point lies. Without a bias that line goes through the origin; the bias moves
    it, and is the negative of the classical threshold.

    Parameters
    ----------
    weights : sequence of float
        One weight per input, at least one.
    bias : float, optional
        The number added to the sum; None is the neuron without bias.
    activation : callable
        A function of one number, for example :func:`step` or ``math.tanh``.

    Raises
    ------
    ValueError, TypeError
        If there is no weight, or something is no number or no function.

    Examples
    --------
    The gate AND, and the one that no single neuron can be: XOR needs a second layer.

    >>> both = Neuron([1.0, 1.0], bias=-1.5, activation=step)
    >>> [both([a, b]) for a in (0, 1) for b in (0, 1)]
    [0, 0, 0, 1]
    >>> either = Neuron([1.0, 1.0], bias=-0.5, activation=step)
    >>> differ = Neuron([1.0, -1.0], bias=-0.5, activation=step)
    >>> [differ([either([a, b]), both([a, b])]) for a in (0, 1) for b in (0, 1)]
    [0, 1, 1, 0]

    References
    ----------
    McCulloch & Pitts 1943; Rosenblatt 1958; Minsky & Papert 1969 (XOR).
    """

    weights: Sequence[float]
    bias: float | None = None
    activation: Callable[[Any], Any] = identity

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _numbers("weights", self.weights))
        if not self.weights:
            raise ValueError("Neuron: weights must hold at least one number, got none.")
        if self.bias is not None:
            _numbers("bias", (self.bias,))
        if not callable(self.activation):
            raise TypeError(
                f"Neuron: activation must be a function of one number, got {self.activation!r}."
            )

    def pre_activation(self, x: Sequence[float]) -> float:
        """Return z, the weighted sum plus the bias.

        Parameters
        ----------
        x : sequence of float
            As many inputs as there are weights.

        Raises
        ------
        ValueError, TypeError
            If the number of inputs is another, or one is no number.

        Examples
        --------
        >>> Neuron([2.0, -1.0]).pre_activation([3.0, 4.0])
        2.0
        """
        inputs = _numbers("x", x)
        if len(inputs) != len(self.weights):
            raise ValueError(
                f"Neuron: x must hold {len(self.weights)} inputs (one per weight), got "
                f"{len(inputs)}."
            )
        z = 0.0 if self.bias is None else self.bias
        for weight, value in zip(self.weights, inputs, strict=True):
            z += weight * value
        return z

    def __call__(self, x: Sequence[float]) -> Any:
        """Return the activation of the weighted sum."""
        return self.activation(self.pre_activation(x))


def _numbers(name: str, values: Any) -> tuple[Any, ...]:
    """Return the values, or raise TypeError unless one can compute with them as with numbers."""
    is_text = isinstance(values, str | bytes)
    numbers = tuple(values) if isinstance(values, Iterable) and not is_text else (None,)
    try:
        # Also what only behaves so: a Value, whose derivative is wanted, or an array of points.
        for number in numbers:
            _ = number * 1.0
    except TypeError:
        numbers = (1j,)
    if any(isinstance(number, complex) for number in numbers):
        raise TypeError(f"Neuron: {name} must hold real numbers, got {values!r}.")
    return numbers
