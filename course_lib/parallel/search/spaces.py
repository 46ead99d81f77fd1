"""What to search: for each hyper-parameter its choices, or a distribution to draw from.

A space is a dictionary from name to a sequence of choices or a distribution (evenly, by orders of
magnitude, or whole numbers); a configuration is a dictionary from name to one value. The i-th
configuration drawn depends on the seed and on i only, so more draws never change the first ones.

Chapter: search.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from course_lib.arrays import check_instance, check_integer, check_number, shown


@dataclass(frozen=True)
class Distribution(ABC):
    """A range to draw from, between two ends of which `low` is below `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        who = type(self).__name__
        for name in ("low", "high"):
            object.__setattr__(self, name, self._end(getattr(self, name), who, name))
        if not 0 < self.high - self.low < math.inf:
            raise ValueError(
                f"{who}: low must be below high, and the range finite, got {self.low!r} and "
                f"{self.high!r}."
            )

    def _end(self, value: Any, who: str, name: str) -> float | int:
        """Return one end as a number of Python, or raise."""
        return check_number(value, where=who, name=name)

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> float | int:
        """Draw one value, a Python number and not one of NumPy's."""


@dataclass(frozen=True)
class Uniform(Distribution):
    """All values between low and high alike, high excluded.

    Examples
    --------
    >>> 0 <= Uniform(0, 0.5).draw(np.random.default_rng(0)) < 0.5
    True
    """

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform(Distribution):
    """All orders of magnitude alike: for learning rates and other factors.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> below = sum(LogUniform(1e-4, 1).draw(rng) < 1e-2 for _ in range(1000))
    >>> 450 < below < 550  # half of the orders of magnitude, half of the draws
    True
    """

    def _end(self, value: Any, who: str, name: str) -> float:
        return check_number(value, where=who, name=name, above=0)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))


@dataclass(frozen=True)
class Integers(Distribution):
    """All integers from low to high alike, both ends included.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sorted({Integers(1, 3).draw(rng) for _ in range(100)})
    [1, 2, 3]
    """

    def _end(self, value: Any, who: str, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{who}: {name} must be an integer, got {shown(value)}.")
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{who}: {name} must be an integer of 64 bits, got {shown(value)}.")
        return int(value)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw one value."""
        return int(rng.integers(int(self.low), int(self.high), endpoint=True))


Space: TypeAlias = Mapping[str, Sequence[Any] | Distribution]

Config: TypeAlias = dict[str, Any]


def every(space: Space) -> list[Config]:
    """Return all configurations of a space of choices; the last name changes fastest.

    Examples
    --------
    >>> every({"lr": [0.1, 0.01], "width": [8, 16]})  # doctest: +NORMALIZE_WHITESPACE
    [{'lr': 0.1, 'width': 8}, {'lr': 0.1, 'width': 16},
     {'lr': 0.01, 'width': 8}, {'lr': 0.01, 'width': 16}]
    """
    _check(space)
    choices: list[Sequence[Any]] = []
    for name, values in space.items():
        if isinstance(values, Distribution):
            raise ValueError(
                f"grid: {name!r} is a distribution, {values!r}, and has no list of values; give "
                "choices such as [0.1, 0.01], or search at random."
            )
        choices.append(values)
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*choices)]


def sample(space: Space, n: int, *, seed: int) -> list[Config]:
    """Draw n configurations.

    Parameters
    ----------
    space : mapping of str to sequence or Distribution
        Choices, all alike, or a distribution for each name.
    n : int
        How many.
    seed : int
        Decides which.

    Raises
    ------
    ValueError
        If a name has no choices, or a number is out of range.

    References
    ----------
    Bergstra & Bengio 2012: when few of the hyper-parameters matter, which is usual, random draws
    try more different values of those than a grid of the same size.

    Examples
    --------
    >>> from course_lib.parallel.search import LogUniform
    >>> space = {"width": [8, 16, 32], "lr": LogUniform(1e-3, 1e-1)}
    >>> sample(space, 2, seed=0) == sample(space, 5, seed=0)[:2]
    True
    """
    n = check_integer(n, where="sample", name="n", at_least=1)
    seed = check_integer(seed, where="sample", name="seed", at_least=0)
    _check(space)
    generators = (np.random.default_rng([seed, i]) for i in range(n))
    return [{name: _drawn(v, rng) for name, v in space.items()} for rng in generators]


def _drawn(values: Sequence[Any] | Distribution, rng: np.random.Generator) -> Any:
    if isinstance(values, Distribution):
        return values.draw(rng)
    return values[int(rng.integers(len(values)))]


def _check(space: Space) -> None:
    check_instance(space, Mapping, where="search", name="space", hint="such as {'lr': [0.1, 0.01]}")
    for name, values in space.items():
        if isinstance(values, str | bytes) or not isinstance(values, (Sequence, Distribution)):
            raise TypeError(
                f"space: {name!r} must have a list of choices or a distribution, got "
                f"{shown(values)}."
            )
        if isinstance(values, Sequence) and len(values) == 0:
            raise ValueError(f"space: {name!r} has no choices.")
